"""Predict depth, surface normals and semantics of panoramas with a trained checkpoint.

    python predict_elite360m.py --checkpoint RUN_OR_FILE --input FILE_OR_FOLDER_OR_PATTERN --out DIR

Writes for each image, at the training size of the network, in the folder structure of the input:

    NAME.json                units, axes and classes of the other files; model, input image, seam scores
    NAME_panel.png           the image and the predictions, with a scale in meters and the class names
    NAME_depth.npy           (H, W) float32, meters along the ray
    NAME_depth.png           (H, W) 16 bits, millimeters along the ray
    NAME_normal.npy          (H, W, 3) float32, unit vectors in the camera frame, toward the camera
    NAME_normal.png          the same in colors
    NAME_labels.png          (H, W) 8-bit class labels
    NAME_labels_colour.png   the same in colors, with a legend
    NAME_points.ply          one colored point per pixel, meters in the camera frame, with normal and label
    NAME_points.glb          the same for viewers, y up; only with --save glb

The camera frame is x right, y down, z forward. Exit codes: 1 when an image could not be predicted, 2 when the command
line or the disk did not allow for any more, 130 when interrupted.
"""

from options.elite360m import predict_parser

if __name__ == "__main__":
    OPTIONS = predict_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prediction import load_elite360m
from prediction.batch import Outcome, predict_all, require_writable
from prediction.inputs import find_jobs
from prediction.result_files import ResultFiles
from training.setup import prepare_device
from utils.distributed import process_group
from utils.errors import UserError, exit_on_user_error
from utils.text import metrics_line

INTERRUPTED = 130  # exit code


def main(options: argparse.Namespace) -> int:
    """Run the command line; returns the exit code: 0, 1 when an image failed, 130 when interrupted."""
    inputs = find_jobs(options.input, Path(options.out))
    prepare_device(tf32=not options.no_tf32)
    outcome = Outcome(failures=inputs.problems)
    with process_group(options.gpu_devices, options.device) as device, terminated_as_interrupted():
        model = load_elite360m(options.checkpoint, device, options.amp, options.compile, options.channels_last)
        files = ResultFiles(model, options.save, options.tta, options.force, options.overwrite)
        files.check(inputs.jobs)
        require_writable(Path(options.out))
        try:
            predict_all(model, inputs.jobs, files, options.tta, options.force, outcome, options.batch_size)
        except KeyboardInterrupt:
            print(f"interrupted: {outcome.counts()} of {len(inputs.jobs)} images: {options.out}", file=sys.stderr)
            return INTERRUPTED
        except UserError:
            report(outcome, options)
            raise
    report(outcome, options)
    if left_out := inputs.left_out_line():
        print(left_out)
    return 1 if outcome.failures else 0


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Context in which SIGTERM acts like Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def report(outcome: Outcome, options: argparse.Namespace) -> None:
    """Print failures, seam scores and counts."""
    for failure in outcome.failures:
        print(f"failed: {failure}", file=sys.stderr)
    if outcome.seams:
        print(f"seam score: {mean_scores(outcome.seams)}")
    if outcome.seams and options.tta > 1:
        print(f"seam score without --tta: {mean_scores(outcome.plain_seams)}")
    print(f"{outcome.counts()}: {options.out}")


def mean_scores(scores: list[dict[str, float]]) -> str:
    """Means over images of a score per task, as text."""
    means = {task: sum(score[task] for score in scores) / len(scores) for task in scores[0]}
    return metrics_line(means)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be valid text
    with exit_on_user_error():
        sys.exit(main(OPTIONS))

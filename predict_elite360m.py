"""Predict depth, surface normals and semantics of panoramas with a trained checkpoint.

    python predict_elite360m.py --checkpoint RUN_OR_FILE --input FILE_OR_FOLDER_OR_PATTERN --out DIR

Writes for each picture, at the size that the network was trained on, in folders like those of the input:

    NAME.json                what the other files mean: units, axes, classes; the model, the picture, seam scores
    NAME_panel.png           the picture and the predictions, with a scale in metres and the names of the classes
    NAME_depth.npy           (H, W) float32, metres along the ray
    NAME_depth.png           (H, W) 16 bits, millimetres along the ray
    NAME_normal.npy          (H, W, 3) float32, unit vectors in the camera frame, to the camera
    NAME_normal.png          the same as colours
    NAME_labels.png          (H, W) 8-bit class labels
    NAME_labels_colour.png   the same as colours, with a legend
    NAME_points.ply          one coloured point per pixel, metres in the camera frame, with normal and label
    NAME_points.glb          the same for viewers, y up; if --save names glb

The camera frame is x right, y down, z forward. Exit code 1 when a picture could not be used, 2 when nothing could.
"""

from utils.options import predict_parser

if __name__ == "__main__":
    OPTIONS = predict_parser().parse_args()  # before torch is imported: --help and wrong flags are answered at once

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from prediction import load_elite360m
from prediction.files import ResultFiles
from prediction.inputs import find_jobs
from prediction.pictures import Picture, read_picture, require_panorama
from utils.distributed import process_group
from utils.errors import UserError, exit_on_user_error
from utils.malloc import tune_malloc
from utils.run_folder import figures_line


def main(options: argparse.Namespace) -> int:
    """Predict as the command line says, and return the exit code: 1 when a picture could not be used, else 0."""
    jobs = find_jobs(options.input, Path(options.out))
    tune_malloc()
    with process_group(options.gpu_devices) as device:
        model = load_elite360m(options.checkpoint, device)
        files = ResultFiles(model, options.save, options.tta, options.overwrite)
        to_do = [job for job in jobs if not files.are_there(job)]
        seams, plain_seams, failures = [], [], []
        for job in tqdm(to_do, unit="image", dynamic_ncols=True):
            try:
                picture = read(job.picture, options.force)
            except UserError as error:
                failures.append(str(error))
                continue
            prediction = model.predict(picture.rgb, options.tta, force=options.force)
            files.write(job, picture, prediction)
            seams.append(prediction.seam)
            plain_seams.append(prediction.plain_seam)
    print(f"{len(seams)} predicted, {len(jobs) - len(to_do)} there already, {len(failures)} failed: {options.out}")
    if seams:
        print(f"seam score: {mean_scores(seams)}")
    if seams and options.tta > 1:
        print(f"seam score without --tta: {mean_scores(plain_seams)}")
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def read(path: Path, force: bool) -> Picture:
    """Read a panorama, or with `force` any picture.

    Raises:
        UserError: when it cannot be read, or is no panorama.
    """
    picture = read_picture(path)
    if not force:
        require_panorama(picture.rgb, path, "--force")
    return picture


def mean_scores(scores: list[dict[str, float]]) -> str:
    """Means over pictures of a score per task, in words."""
    means = {task: sum(score[task] for score in scores) / len(scores) for task in scores[0]}
    return figures_line(means)


if __name__ == "__main__":
    with exit_on_user_error():
        sys.exit(main(OPTIONS))

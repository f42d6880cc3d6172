"""Predict depth, surface normals and semantics of panoramas with a trained checkpoint.

    python predict_elite360m.py --checkpoint RUN_OR_FILE --input FILES_FOLDERS_OR_PATTERNS --out DIR

Writes for each image or video frame, at the training size of the network or --height, in the folder structure of the
input:

    NAME.json                units, axes and classes of the other files; model, input image, seam scores
    NAME_panel.png           the image and the predictions, with a scale in meters and the class names
    NAME_depth.npy           (H, W) float32, meters along the ray
    NAME_depth.png           (H, W) 16 bits, millimeters along the ray
    NAME_normal.npy          (H, W, 3) float32, unit vectors in the camera frame, toward the camera
    NAME_normal.png          the same in colors
    NAME_labels.png          (H, W) 8-bit class labels
    NAME_labels_colour.png   the same in colors, with a legend
    NAME_valid.png           white where pixels are valid, if some are not
    NAME_rgb.png             the panorama, if the image was turned, padded or a cube map (--upright, --vfov, ...)
    NAME_points.ply          one colored point per valid pixel, meters in the camera frame, with normal and label
    NAME_points.glb          the same for viewers, y up; only with --save glb
    NAME_mesh.glb            textured triangles, y up; only with --save mesh

The camera frame is x right, y down, z forward. Exit codes: 1 when an image could not be predicted, 2 when the command
line is wrong or the disk cannot be written to, 130 when interrupted.
"""

from options.panorama_prediction import predict_parser

if __name__ == "__main__":
    OPTIONS = predict_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse
import sys
from pathlib import Path

from prediction import load_elite360m
from prediction.command import predict_files, terminated_as_interrupted
from prediction.cubemap import only_fronts
from prediction.inputs import Inputs, find_all_jobs
from prediction.masks import MaskFiles
from prediction.panorama_files import PanoramaFilePredictor
from prediction.sphere_flags import SphereFlags
from prediction.video import frame_jobs, write_panel_videos
from training.setup import prepare_device
from utils.distributed import process_group
from utils.errors import INTERRUPTED, UserError, exit_on_user_error


def main(options: argparse.Namespace) -> int:
    """Run the command line; returns the exit code, see `predict_files`."""
    if options.video and options.save and "panel" not in options.save:
        raise UserError("--video joins panels: add panel to --save")
    sphere = SphereFlags(options.vfov, options.crop, options.upright, options.force)
    masks = None if options.mask is None else MaskFiles(options.mask)
    inputs = _inputs(options)
    if options.video and not any(job.frame for job in inputs.jobs):
        raise UserError("--video joins the panels of a video's frames, but --input names no video: drop it")
    prepare_device(tf32=not options.no_tf32)
    with process_group(options.gpu_devices, options.device) as device, terminated_as_interrupted():
        model = load_elite360m(options.checkpoint, device, options.amp, options.compile, options.channels_last)
        predictor = PanoramaFilePredictor(
            model, options.tta, sphere, options.height, masks, options.black_bars, options.cubemap
        )
        code = predict_files(
            predictor,
            inputs,
            Path(options.out),
            options.save,
            options.overwrite,
            options.batch_size,
            options.up,
        )
    if options.video and code != INTERRUPTED:
        for path in write_panel_videos(inputs.jobs, options.every):
            print(f"panels joined: {path}")
    return code


def _inputs(options: argparse.Namespace) -> Inputs:
    """The images, and the frames of videos."""
    inputs = find_all_jobs(options.input, Path(options.out), videos=True)
    if options.cubemap:
        inputs = inputs._replace(jobs=only_fronts(inputs.jobs))
    jobs, problems = frame_jobs(inputs.jobs, options.every)
    return inputs._replace(jobs=jobs, problems=[*inputs.problems, *problems])


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be valid text
    with exit_on_user_error():
        sys.exit(main(OPTIONS))

"""Predict boxes, depth, normals and semantics of perspective images with a checkpoint of train_achievement.py.

    python predict_achievement.py --checkpoint RUN_OR_FILE --input FILE_OR_FOLDER_OR_PATTERN --out DIR

Writes the files of predict_elite360m.py for each image, but at the size H x W of the image, and with depth in meters
along the optical axis. Point clouds need a camera: --fov or --intrinsics, else the focal length in EXIF, else NYU v2's;
the .json names its source.

The camera frame is x right, y down, z forward. Exit codes are those of predict_elite360m.py.
"""

from options.achievement import parse_prediction

if __name__ == "__main__":
    OPTIONS = parse_prediction()  # before importing torch, so that --help and wrong flags respond at once

import argparse
import sys
from pathlib import Path

from prediction import load_achievement
from prediction.cameras import CameraFlags
from prediction.command import predict_files, terminated_as_interrupted
from prediction.inputs import find_all_jobs
from prediction.perspective_files import PerspectiveFilePredictor
from training.setup import prepare_device
from utils.distributed import process_group
from utils.errors import exit_on_user_error


def main(options: argparse.Namespace) -> int:
    """Run the command line; returns the exit code, see `predict_files`."""
    inputs = find_all_jobs(options.input, Path(options.out))
    prepare_device(tf32=not options.no_tf32)
    with process_group(options.gpu_devices, options.device) as device, terminated_as_interrupted():
        model = load_achievement(options.checkpoint, device, options.amp, options.compile, options.channels_last)
        predictor = PerspectiveFilePredictor(model, CameraFlags(options.fov, options.intrinsics), options.min_score)
        return predict_files(
            predictor,
            inputs,
            Path(options.out),
            options.save,
            options.overwrite,
            options.batch_size,
            options.up,
        )


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be valid text
    with exit_on_user_error():
        sys.exit(main(OPTIONS))

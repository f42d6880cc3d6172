"""Export a trained network to a file that runs without this program.

    python -m tools.export --checkpoint RUN_OR_FILE --format onnx --out elite360m.onnx
    python -m tools.export --checkpoint RUN_OR_FILE --format torch-export --out elite360m.pt2 --dynamic_batch

Input: ``rgb`` (B, 3, H, W) float32 in [0, 1], resized by area averaging (docs/export.md); the graph normalizes it.
Outputs, for the tasks of the checkpoint:

    depth          (B, 1, H, W) meters along the ray
    normal         (B, 3, H, W) unit vectors in the camera frame (x right, y down, z forward), toward the camera
    segmentation   (B, K, H, W) logits of the classes

The file is written only if its predictions for a sample match those of the network.
"""

from pathlib import Path

from options.elite360m import check_size
from options.panorama_prediction import export_parser

if __name__ == "__main__":
    OPTIONS = export_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse
import json

import torch

from networks.checkpoint import Checkpoint, open_checkpoint
from networks.elite360m import Elite360M
from prediction.export_formats import FORMATS, Format
from prediction.export_graph import traced
from utils.errors import UserError, exit_on_user_error
from utils.files import atomic_path

MAX_DEVIATION = 1e-3  # of the file's predictions from the network's, relative to the largest value


def main(options: argparse.Namespace) -> None:
    """Run the command line."""
    check_size(options.height, options.width)
    file_format, out = FORMATS[options.format], Path(options.out)
    file_format.require(out)
    checkpoint = open_checkpoint(options.checkpoint)
    height, width = options.height or checkpoint.settings.height, options.width or checkpoint.settings.width
    network = checkpoint.build_network().eval()
    program = traced(network, height, width, options.dynamic_batch)
    sample = torch.rand(3 if options.dynamic_batch else 1, 3, height, width)  # not 2, with which the graph was traced
    with atomic_path(out) as temporary:
        file_format.write(program, network.tasks, metadata(checkpoint, height, width), temporary)
        deviations = check(file_format, temporary, network, sample)
    for task, deviation in deviations.items():
        print(f"{task}: deviates by {deviation:.1e} of its largest value")
    print(f"written to {out}")


def metadata(checkpoint: Checkpoint, height: int, width: int) -> dict[str, str]:
    """Metadata for users of the file; lists are JSON."""
    settings = checkpoint.settings
    return {
        "tasks": json.dumps(settings.tasks),
        "height": str(height),
        "width": str(width),
        "rgb": "(B, 3, H, W) float32, R, G and B in [0, 1], resized to H x W by averaging over areas",
        "class_names": json.dumps(settings.class_names),
        "depth_unit": settings.depth_unit,
        "normal_frame": settings.normal_frame,
        "axes": "x right, y down, z forward (the center of the image)",
        "backbone": settings.backbone,
        "dataset": settings.dataset,
        "checkpoint_sha256": checkpoint.sha256,
    }


def check(file_format: Format, path: Path, network: Elite360M, rgb: torch.Tensor) -> dict[str, float]:
    """Maximum deviation of a file from the network by task, relative to the largest value, for a sample (B, 3, H, W).

    Raises:
        UserError: when it is too large.
    """
    with torch.no_grad():
        expected = network(rgb)
    predicted = file_format.run(path, rgb)
    deviations = {}
    for task, values in expected.items():
        deviations[task] = ((predicted[task] - values).abs().max() / values.abs().max()).item()
        if not deviations[task] <= MAX_DEVIATION:  # also for NaN
            raise UserError(
                f"not written: {task} of the exported network deviates by {deviations[task]:.1e} of its largest value, "
                f"more than {MAX_DEVIATION:g}"
            )
    return deviations


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)

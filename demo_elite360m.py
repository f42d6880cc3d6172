"""A local web page to try a trained checkpoint: drop a panorama, look around in it and in its predictions.

    python demo_elite360m.py --checkpoint RUN_OR_FILE

It is served to this machine only, http://127.0.0.1:7860, and makes no network requests. Needs gradio.
"""

from options.panorama_prediction import demo_parser

if __name__ == "__main__":
    OPTIONS = demo_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse

from demo.server import check_gradio, check_port, serve
from prediction import load_elite360m
from training.setup import prepare_device
from utils.distributed import select_device
from utils.errors import exit_on_user_error


def main(options: argparse.Namespace) -> None:
    """Run the command line."""
    check_gradio()
    check_port(options.port)
    device = select_device(options.device, options.gpu_devices, local_rank=None)
    prepare_device()
    serve(load_elite360m(options.checkpoint, device), options.port)


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)

"""Cost of each backbone: parameters, multiply-adds, and time relative to ResNet-18.

    python -m benchmarks.backbones

Prints a table in Markdown, for three tasks and the 13 classes of Stanford2D3D. Runs on the GPU if there is one.
"""

import argparse
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.steps import DEVICE, relative_time, step_of
from datasets.classes import STANFORD2D3D
from networks.backbones import BACKBONES
from networks.elite360m import Elite360M
from options.elite360m import backbone, check_size
from options.parser import Parser, positive
from utils.errors import exit_on_user_error
from utils.malloc import tune_malloc

REFERENCE = "Elite360M_Res18"


def main() -> None:
    """Measure each backbone, alternating with the reference."""
    options = parse()
    check_size(options.height // 2, options.height)  # so the full height is a multiple of 64
    tune_malloc()
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{device}, torch {torch.__version__}; inference of 1 x {options.height} x {2 * options.height}, ", end="")
    print(
        f"training of {options.batch_size} x {options.height // 2} x {options.height}; times relative to {REFERENCE}\n"
    )
    reference = prediction_of(build(REFERENCE), options.height)
    reference_step = step_of(training(REFERENCE, options))
    rows = []
    for name in tqdm(options.backbones):
        network = build(name)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        predict = prediction_of(network, options.height)
        counter = FlopCounterMode(display=False)
        with counter:
            predict()
        inference = relative_time(predict, reference, options.rounds)
        step = relative_time(step_of(training(name, options)), reference_step, options.rounds)
        multiply_adds = counter.get_total_flops() / 2
        rows.append(
            f"| {name} | {parameters / 1e6:.1f} M | {multiply_adds / 1e9:.0f} G | {inference:.2f} | {step:.2f} |"
        )
    print("| backbone | parameters | multiply-adds | inference | training step |\n|---|---|---|---|---|")
    print("\n".join(rows))


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument(
        "--backbones", type=backbone, nargs="+", default=tuple(BACKBONES), metavar="NAME", help="backbones to measure"
    )
    parser.add_argument(
        "--height", type=int, default=512, metavar="PIXELS", help="image height for inference; training uses half of it"
    )
    parser.add_argument("--batch_size", type=positive, default=2, metavar="N", help="batch size for training")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="rounds; medians are reported")
    return parser.parse_args()


def build(name: str) -> Elite360M:
    """A network with random weights, in eval mode."""
    torch.manual_seed(0)
    return Elite360M(name, len(STANFORD2D3D), pretrained=False).to(DEVICE).eval()


def prediction_of(network: Elite360M, height: int) -> Callable[[], object]:
    """A function that runs the network on one panorama."""
    rgb = torch.rand(1, 3, height, 2 * height, device=DEVICE)
    return torch.no_grad()(lambda: network(rgb))


def training(name: str, options: argparse.Namespace) -> list[str]:
    """Training options for a backbone."""
    size = ["--height", str(options.height // 2), "--width", str(options.height)]
    return ["--backbone", name, *size, "--batch_size", str(options.batch_size)]


if __name__ == "__main__":
    with exit_on_user_error():
        main()

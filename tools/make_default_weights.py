"""Write the weights of a training as the small file that `--checkpoint default` loads.

    python -m tools.make_default_weights --checkpoint RUN_OR_FILE

The file is an ordinary checkpoint with kernels and matrices in 16 bits; biases and BatchNorm statistics, a small part
of it, keep 32 bits. It is written only if it is small enough for the repository and its predictions hardly change.
"""

from pathlib import Path

import torch

from networks.checkpoint import DEFAULT_WEIGHTS, Checkpoint, load_checkpoint
from networks.saved_network import find_checkpoint
from options.parser import Parser
from utils.checkpoint_files import load_plain_data, save_content
from utils.errors import UserError, exit_on_user_error
from utils.files import atomic_path

MAX_BYTES = 25_000_000
MAX_DEVIATION = 0.02  # mean difference of the predictions, relative to their mean magnitude


def main() -> None:
    """Run the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", required=True, metavar="PATH", help="checkpoint file, or run folder")
    parser.add_argument("--out", type=Path, default=DEFAULT_WEIGHTS, metavar="FILE", help="file to write")
    options = parser.parse_args()
    with exit_on_user_error():
        write_halved(find_checkpoint(options.checkpoint), options.out)


def write_halved(path: Path, out: Path) -> None:
    """Write a checkpoint with 16-bit weights, and print its size and how much its predictions change.

    Raises:
        UserError: when the file would be too large, or its predictions change too much.
    """
    checkpoint = load_checkpoint(path)
    content = load_plain_data(path, path)
    if "format" not in content:
        raise UserError(f"--checkpoint {path} was not written by this program")
    content["network"] = {key: halved(value) for key, value in content["network"].items()}
    with atomic_path(out) as temporary:
        save_content(content, temporary)
        size = temporary.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"--checkpoint {path}: {size / 1e6:.1f} MB in 16 bits, more than {MAX_BYTES / 1e6:.0f} MB")
        for task, deviation in deviations(checkpoint, load_checkpoint(temporary)).items():
            print(f"{task}: changes by {deviation:.1e} of its mean")
            if not deviation <= MAX_DEVIATION:  # also for NaN
                raise UserError(f"--checkpoint {path}: 16 bits change {task} by {deviation:.1e} of its mean")
    print(f"{size / 1e6:.1f} MB written to {out}")


def halved(tensor: torch.Tensor) -> torch.Tensor:
    """Convert kernels and matrices to 16 bits; other tensors are returned unchanged."""
    return tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor


@torch.no_grad()
def deviations(checkpoint: Checkpoint, other: Checkpoint) -> dict[str, float]:
    """Mean difference of the predictions for a random image by task, relative to the first's mean magnitude."""
    settings = checkpoint.settings
    rgb = torch.rand(1, 3, settings.height, settings.width, generator=torch.Generator().manual_seed(0))
    predicted, changed = (each.build_network().eval()(rgb) for each in (checkpoint, other))
    return {task: ((changed[task] - map_).abs().mean() / map_.abs().mean()).item() for task, map_ in predicted.items()}


if __name__ == "__main__":
    main()

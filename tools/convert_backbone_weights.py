"""Rename the weights of an image classifier to those of a timm model, for `--backbone_weights`.

    python -m tools.convert_backbone_weights --weights efficientnet-lite0-57934424.pth \\
        --timm_model tf_efficientnet_lite0 --out lite0.pth

Both networks must have the same layers in the same order: tensors are matched by position, and all shapes must agree.
"""

from collections.abc import Mapping
from pathlib import Path

import timm
import torch

from options.parser import Parser
from utils.checkpoint_files import load_plain_data, save_content
from utils.errors import UserError, exit_on_user_error
from utils.files import atomic_path
from utils.state_dicts import unwrap


def renamed_in_order(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], source: Path
) -> dict[str, torch.Tensor]:
    """Rename the tensors of a state dict, in order, to the names of another one.

    Args:
        state: weights to rename.
        expected: state dict with the new names and the expected shapes.
        source: file of the weights, for messages.

    Raises:
        UserError: when the number of tensors or a shape differs.
    """
    if len(state) != len(expected):
        raise UserError(f"--weights {source} holds {len(state)} tensors, but --timm_model has {len(expected)}")
    for (old, value), (new, like) in zip(state.items(), expected.items(), strict=True):
        if value.shape != like.shape:
            shapes = f"{old} of shape {tuple(value.shape)} cannot become {new} of shape {tuple(like.shape)}"
            raise UserError(f"--weights {source} does not fit --timm_model: {shapes}")
    return dict(zip(expected, state.values(), strict=True))


def main() -> None:
    """Run the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--weights", required=True, type=Path, metavar="FILE", help="state dict to read")
    parser.add_argument("--timm_model", required=True, metavar="NAME", help="model such as tf_efficientnet_lite0")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write, for --backbone_weights")
    options = parser.parse_args()
    with exit_on_user_error():
        convert(options.weights, options.timm_model, options.out)


def convert(weights: Path, timm_model: str, out: Path) -> None:
    """Write the weights of a file with the names of a timm model.

    Raises:
        UserError: when they cannot be read or do not fit.
    """
    if not weights.is_file():
        raise UserError(f"--weights {weights} does not exist: pass a state dict")
    if not timm.is_model(timm_model):
        raise UserError(f"--timm_model {timm_model}: timm has no such model")
    state = unwrap(load_plain_data(weights, weights))
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"--weights {weights} is not a state dict")
    with torch.device("meta"):  # names and shapes only
        expected = timm.create_model(timm_model).state_dict()
    with atomic_path(out) as temporary:
        save_content(renamed_in_order(state, expected, weights), temporary)
    print(f"{len(expected)} tensors written to {out}")


if __name__ == "__main__":
    main()

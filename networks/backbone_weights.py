"""ImageNet weights of a backbone from a file, for machines without internet."""

from collections.abc import Mapping
from pathlib import Path

import torch

from utils.checkpoint_files import load_plain_data
from utils.errors import UserError
from utils.state_dicts import strip_prefixes, unwrap

FLAG = "--backbone_weights"


def read_backbone_weights(
    path: Path, expected: Mapping[str, torch.Tensor], classifier: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """The weights of a file for a backbone.

    Args:
        path: file of a state dict, or of a dict that holds one under a usual key.
        expected: state dict of the whole classification network; only names and shapes matter.
        classifier: names of its classifier's layers, whose weights are not used: they may be missing, of any shape.

    Returns:
        The weights by their names in `expected`, without the classifier's.

    Raises:
        UserError: when the file cannot be read, holds more than plain data, or its tensors do not fit.
    """
    if not path.is_file():
        raise UserError(f"{FLAG} {path}: there is no such file")
    content = unwrap(load_plain_data(path, path))
    if not isinstance(content, dict) or "format" in content:
        raise UserError(f"{FLAG} {path} is not the state dict of a backbone")

    def of_backbone(tensors: Mapping) -> dict:
        return {key: value for key, value in tensors.items() if not key.startswith(tuple(f"{c}." for c in classifier))}

    found, wanted = of_backbone(strip_prefixes(content)), of_backbone(expected)
    for key in [*wanted, *found]:
        ours, theirs = _shape(wanted, key), _shape(found, key)
        if ours != theirs:
            raise UserError(f"{FLAG} {path} does not fit the backbone: {key} is {theirs} there, but must be {ours}")
    return found


def _shape(tensors: Mapping[str, torch.Tensor], key: str) -> str:
    """The shape of a tensor in words."""
    if key not in tensors:
        return "missing"
    value = tensors[key]
    return f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else "no tensor"

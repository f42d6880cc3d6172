"""ImageNet weights of a backbone: from a file (--backbone_weights), for machines without internet; failed downloads."""

from collections.abc import Mapping
from pathlib import Path

import torch

from utils.checkpoint_files import load_plain_data
from utils.errors import UserError
from utils.state_dicts import strip_prefixes, unwrap

FLAG = "--backbone_weights"
_COUNTER = ".num_batches_tracked"


def read_backbone_weights(
    path: Path, expected: Mapping[str, torch.Tensor], classifier: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """Read the weights of a backbone. BatchNorm's counters of batches may be missing, as in old torchvision weights.

    Args:
        path: file with a state dict, possibly nested under a usual key such as ``state_dict``.
        expected: state dict of the whole classification network; only names and shapes are used.
        classifier: names of its classifier layers, which are ignored: they may be missing or of any shape.

    Returns:
        State dict of the network without the classifier.

    Raises:
        UserError: when the file cannot be read, contains Python objects, or its tensors do not fit.
    """
    if not path.is_file():
        raise UserError(f"{FLAG} {path}: file not found")
    content = unwrap(load_plain_data(path, path))
    if not isinstance(content, dict) or "format" in content:
        raise UserError(f"{FLAG} {path} is not the state dict of a backbone")

    def without_classifier(state: Mapping) -> dict:
        return {key: value for key, value in state.items() if not key.startswith(tuple(f"{c}." for c in classifier))}

    state, wanted = without_classifier(strip_prefixes(content)), without_classifier(expected)
    for key in [*(key for key in wanted if key in state or not key.endswith(_COUNTER)), *state]:
        ours, theirs = _shape(wanted, key), _shape(state, key)
        if ours != theirs:
            raise UserError(f"{FLAG} {path} does not fit the backbone: {key} is {theirs} there, but must be {ours}")
    return state


def download_error(name: str, error: Exception) -> UserError:
    """The error for ImageNet weights of the model `name` that cannot be downloaded."""
    return UserError(
        f"the ImageNet weights of {name} could not be downloaded ({first_line(error)}): connect to the internet once, "
        f"pass a file with {FLAG}, or start from random weights with --no_pretrained"
    )


def first_line(error: Exception) -> str:
    """The first line of an error message, shortened."""
    return str(error).strip().partition("\n")[0][:200]


def _shape(state: Mapping[str, torch.Tensor], key: str) -> str:
    """The shape of a tensor in words."""
    if key not in state:
        return "absent"
    value = state[key]
    return f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else "not a tensor"

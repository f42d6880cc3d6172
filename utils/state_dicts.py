"""State dicts from other programs: unwrapping, stripping prefixes and checking keys and shapes."""

from collections.abc import Iterable
from pathlib import Path

import torch

from utils.errors import UserError

_WRAPPERS = ("model_state_dict", "state_dict", "model", "network")  # keys under which files store a state dict
_LEADING = ("module.", "model.", "network.")  # of DistributedDataParallel, AveragedModel, wrapper modules
_ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")  # torch.compile, FSDP, checkpointing
_COUNTER = "n_averaged"  # of AveragedModel; not a weight
_EXAMPLES = 3  # keys of each kind in a message
_LONGEST_KEY = 44  # characters of a key in a message


def unwrap(content: object) -> object:
    """Unwrap nested dicts (_WRAPPERS) down to the state dict, or the content of a file of this program (``format``)."""
    while isinstance(content, dict):
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)]
        if not inner or "format" in content:
            return content
        content = inner[0]
    return content


def strip_prefixes(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict without the prefixes that DDP, `torch.compile`, FSDP and weight averaging add to its keys."""
    return {_stripped(key): value for key, value in state.items() if key != _COUNTER}


def require_fit(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], source: str | Path, what: str = "the network"
) -> None:
    """Make sure that weights have the expected keys and shapes, and are finite.

    Args:
        state: state dict to check.
        expected: state dict of the module to load it into.
        source, what: file and module, for the message.

    Raises:
        UserError: when keys are missing, unknown, of another shape or not finite; with the number of each kind and
            the first keys.
    """
    problems = {
        "missing": [key for key in expected if key not in state],
        "unknown": [key for key in state if key not in expected],
        "of another shape": [key for key, value in expected.items() if key in state and not _fits(state[key], value)],
        "not finite": [key for key in expected if key in state and not _is_finite(state[key])],
    }
    if any(problems.values()):
        listed = "; ".join(f"{len(keys)} {sort} ({_examples(keys)})" for sort, keys in problems.items() if keys)
        raise UserError(f"the weights in {source} do not fit {what}: {listed}: use another file")


def _stripped(key: object) -> str:
    key = str(key)
    for part in _ANYWHERE:
        key = key.replace(part, "")
    while leading := next((part for part in _LEADING if key.startswith(part)), None):
        key = key.removeprefix(leading)
    return key


def _fits(value: object, expected: torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == expected.shape and not value.is_complex()


def _is_finite(value: object) -> bool:
    return not isinstance(value, torch.Tensor) or bool(value.isfinite().all())


def _examples(keys: Iterable[str]) -> str:
    keys = list(keys)
    shown = [key if len(key) <= _LONGEST_KEY else f"...{key[3 - _LONGEST_KEY :]}" for key in keys[:_EXAMPLES]]
    return ", ".join(shown) + (", ..." if len(keys) > _EXAMPLES else "")

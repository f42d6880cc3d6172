"""CUDA without a GPU: tensors that claim to be on one, and counts of operations that would wait for it.

`pretended_cuda` is torch's FakeTensorMode: tensors have shapes, types and a device, but no values. Operations follow
the rules of that device (mixing devices raises, autocast casts as on CUDA); everything that needs a value raises, as
it would make the host wait. Modules are built on the CPU or the meta device, because their initialization may read
values, and moved by `pretend`. Backward passes are not possible: autograd needs a stream of the device.

`host_waits` counts operations that would wait for a GPU, on tensors of any device: a real training step on the CPU
shows how often the same step would wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from metrics.constants import CACHED
from tasks.view_averaging import turn_back

DEVICE = torch.device("cuda", 0)
# Operations whose output sizes, or callers, depend on values; the last two check values on CUDA.
_WAITING = {
    *("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim"),
    *("unique_consecutive", "bincount", "_linalg_check_errors"),
}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_COPYING = {"_to_copy", "copy_"}
_READING = {torch.Tensor.cpu, torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__}


class HostWaits(TorchDispatchMode):
    """Collects the names of operations for which the host would wait.

    Attributes:
        names: names so far.
    """

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        result = function(*args, **kwargs)
        if name in _WAITING or (name in _INDEXING and _is_masked(args[1])):
            self.names.append(name)
        elif name in _COPYING and _waits_for_copy(name, result, args, kwargs):
            self.names.append(f"{name} to {result.device.type}")
        return result


class _HostReads(TorchFunctionMode):
    """Records calls that read a CPU tensor without an operation."""

    def __init__(self, names: list[str]):
        super().__init__()
        self._names = names

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in _READING and args[0].device.type == "cpu":
            self._names.append(function.__name__)
        return function(*args, **(kwargs or {}))


@contextmanager
def host_waits() -> Iterator[list[str]]:
    """Context that collects the names of operations that would wait if the tensors were on a GPU."""
    waits = HostWaits()
    with waits, _HostReads(waits.names):
        yield waits.names


@contextmanager
def pretended_cuda() -> Iterator[FakeTensorMode]:
    """Context in which tensors can be created on CUDA and moved there with `pretend`; waiting for CUDA raises."""
    mode = FakeTensorMode()
    has_amp = mock.patch(
        "torch.cuda.amp.common.amp_definitely_not_available", return_value=False
    )  # otherwise autocast is off
    has_bf16 = mock.patch("torch.cuda.is_bf16_supported", return_value=True)
    pinned = mock.patch("torch.Tensor.pin_memory", lambda tensor, *_: tensor)  # FakeTensorMode does not support it
    _clear_constants()
    try:
        with has_amp, has_bf16, pinned, mode:
            yield mode
    finally:
        _clear_constants()


def pretend(value, mode: FakeTensorMode):
    """Move a module, a tensor, or a dict or list of them, to the pretended GPU; modules in place."""
    if isinstance(value, nn.Module):
        for module in value.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = nn.Parameter(_pretend_tensor(parameter, mode), parameter.requires_grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = _pretend_tensor(buffer, mode)
        return value
    if isinstance(value, torch.Tensor):
        return _pretend_tensor(value, mode)
    if isinstance(value, dict):
        return {key: pretend(item, mode) for key, item in value.items()}
    if isinstance(value, list):
        return [pretend(item, mode) for item in value]
    return value


def _pretend_tensor(tensor: torch.Tensor, mode: FakeTensorMode) -> FakeTensor:
    with _disable_current_modes():
        shape = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
        return FakeTensor(mode, shape, DEVICE)


def _is_masked(indices) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _waits_for_copy(name: str, result: torch.Tensor, args: tuple, kwargs: dict) -> bool:
    source = args[1] if name == "copy_" else args[0]
    if source.device.type == result.device.type:
        return False
    non_blocking = kwargs.get("non_blocking", args[2] if name == "copy_" and len(args) > 2 else False)
    return result.device.type == "cpu" or not non_blocking


def _clear_constants() -> None:
    for function in (*CACHED, turn_back):
        function.cache_clear()

"""Settings of process and device: which flags of torch are set, and what --deterministic promises."""

import os
from functools import partial

import pytest
import torch

from tests.processes import run_processes
from tests.tiny import tiny_batch, tiny_stepper
from training.setup import nondeterminism_reported, precision_of, prepare_device
from utils.errors import UserError

FAST = {"benchmark": True, "cudnn_tf32": True, "matmul_tf32": True, "cudnn_deterministic": False, "strict": False}
REPEATABLE = {
    "benchmark": False,
    "cudnn_tf32": False,
    "matmul_tf32": False,
    "cudnn_deterministic": True,
    "strict": True,
}


def flags_set_by(settings: dict, *_) -> dict:
    """Everything that `prepare_device` changes, in a new process."""
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    prepare_device(**settings)
    return {
        "benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "strict": torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled(),
        "workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "cuda": torch.cuda.is_initialized(),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "flags", "workspace"),
    [
        ({"deterministic": False, "tf32": True}, FAST, None),
        ({"deterministic": False, "tf32": False}, {**FAST, "cudnn_tf32": False, "matmul_tf32": False}, None),
        ({"deterministic": True, "tf32": True}, REPEATABLE, ":4096:8"),
    ],
    ids=["fast", "float32", "deterministic"],
)
def test_flags(settings, flags, workspace, tmp_path):
    [found] = run_processes(partial(flags_set_by, settings), 1, tmp_path)
    assert found == {**flags, "workspace": workspace, "cuda": False}


@pytest.mark.parametrize("tf32", [True, False])
def test_names_of_precisions(monkeypatch, tf32):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert precision_of(cpu) == "float32"
    assert precision_of(cuda) == ("float32, products in TF32" if tf32 else "float32")
    assert [precision_of(device, "bf16") for device in (cpu, cuda)] == ["bfloat16"] * 2
    assert precision_of(cuda, "fp16") == "float16"


def test_unsuitable_environment_variable(monkeypatch):
    """It is named, and no flag is changed."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)  # it may have been changed by earlier tests
    with pytest.raises(UserError, match="CUBLAS_WORKSPACE_CONFIG"):
        prepare_device(deterministic=True)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


def test_nondeterministic_operation():
    """The error names it and the flag. `put_` has no deterministic form, even on CPUs."""
    stepper = tiny_stepper()
    stepper.objective.network.last_shared_weight.register_hook(
        lambda grad: grad.clone().put_(torch.tensor([0]), torch.tensor([0.0]))
    )
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(UserError, match=r"--deterministic.*put_"):
            stepper.step([tiny_batch([0, 1])])
    finally:
        torch.use_deterministic_algorithms(False)


def test_other_errors_are_unchanged():
    with pytest.raises(RuntimeError, match="shapes"), nondeterminism_reported():
        raise RuntimeError("shapes")

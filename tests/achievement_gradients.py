"""Comparison of the tasks' gradients with those of the released code of Yun & Cho, in a model case."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from networks.released_achievement import released_key

RTOL = 1e-5


def report(name: str, error: float) -> None:
    """Shown with pytest -rP."""
    print(f"{name}: {error:.1e}")


def task_gradients(network: nn.Module, values: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The gradients of each task's loss by our parameter names; zeros for parameters that the loss does not reach."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = []
    for value in values:
        found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        gradients.append(dict(zip(names, found, strict=True)))
    return gradients


def check_losses(golden: SimpleNamespace, rtol: float) -> None:
    """Compare `golden.values`, the losses of the tasks, with the entries ``task_losses`` and ``loss_sum``."""
    theirs = golden.arrays["task_losses"]
    ours = np.array([value.item() for value in golden.values])
    report("losses", (np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-30)).max())
    np.testing.assert_allclose(ours, theirs, rtol=rtol)
    np.testing.assert_allclose(ours.sum(), golden.arrays["loss_sum"], rtol=rtol)


def check_gradient_norms(golden: SimpleNamespace) -> None:
    """Compare, for each parameter, the norm of the sum of `golden.gradients` (see `task_gradients`)."""
    totals = {
        released_key(name): sum(gradients[name] for gradients in golden.gradients).norm().item()
        for name in golden.gradients[0]
    }
    theirs = dict(zip(golden.arrays["grad_keys"].tolist(), golden.arrays["grad_norms"].tolist(), strict=True))
    assert totals.keys() == theirs.keys()
    worst = 0.0
    for key, norm in theirs.items():
        if norm > 1e-6:
            worst = max(worst, abs(totals[key] - norm) / norm)
            assert totals[key] == pytest.approx(norm, rel=RTOL), key
        else:  # zero, up to rounding
            assert totals[key] < 1e-6, key
    report("gradient norms", worst)


def check_shared_gradients(golden: SimpleNamespace) -> None:
    """Compare the inner products of `golden.gradients` over the shared parameters of `golden.network`."""
    shared = {id(parameter) for parameter in golden.network.shared_parameters()}
    names = [name for name, parameter in golden.network.named_parameters() if id(parameter) in shared]
    assert sum(golden.gradients[0][name].numel() for name in names) == golden.arrays["trunk_param_count"]
    rows = [torch.stack([g[name].flatten() for g in golden.gradients]) for name in names]
    ours, theirs = sum(row @ row.T for row in rows).numpy(), golden.arrays["trunk_gram"]
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    report("inner products", error)
    assert error < RTOL

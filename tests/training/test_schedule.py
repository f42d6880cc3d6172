"""Learning rate schedules, against their formulas."""

import math

import pytest
import torch

from training.schedule import Plateau, build_scheduler, rate_factor


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("none", lambda progress: 1),
        ("cosine", lambda progress: (1 + math.cos(math.pi * progress)) / 2),
        ("poly", lambda progress: (1 - progress) ** 0.9),
    ],
)
def test_rates(name, formula):
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=2e-3)
    scheduler = build_scheduler(optimizer, name, num_steps=8)
    for step in range(9):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(2e-3 * formula(step / 8), abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("name", ["none", "cosine", "poly"])
def test_warm_up(name):
    """A straight line from a thousandth to the full rate, then the schedule over the remaining steps."""
    rates = []
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=2.0)
    scheduler = build_scheduler(optimizer, name, num_steps=10, num_warmup_steps=4)
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[:4] == pytest.approx([2 * (0.001 + 0.999 * i / 4) for i in range(4)])
    expected = {
        "none": [2.0] * 6,
        "cosine": [1 + math.cos(math.pi * i / 6) for i in range(6)],
        "poly": [2 * (1 - i / 6) ** 0.9 for i in range(6)],
    }
    assert rates[4:] == pytest.approx(expected[name])


def test_steps():
    """A tenth at each milestone, counted from the beginning, warm-up included."""
    rates = [rate_factor(step, "step", 10, num_warmup_steps=2, milestones=(4, 7)) for step in range(10)]
    assert rates == pytest.approx([0.001, 0.5005, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_a_plateau_has_a_floor():
    plateau = Plateau(factor=0.1, patience=0, lowest=0.05)
    factors = []
    for _ in range(4):
        plateau.validated(0.5)
        factors.append(plateau.factor)
    assert factors == pytest.approx([1, 0.1, 0.05, 0.05])

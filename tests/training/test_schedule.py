import math

import pytest
import torch

from training.schedule import build_scheduler


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

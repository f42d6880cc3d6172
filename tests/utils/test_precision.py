"""Half precision is widened; wider types are unchanged."""

import pytest
import torch

from utils.precision import at_least_float32


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_at_least_float32(given, expected):
    x = torch.ones(2, dtype=given)
    assert at_least_float32(x).dtype == expected
    assert (at_least_float32(x) is x) == (given == expected)

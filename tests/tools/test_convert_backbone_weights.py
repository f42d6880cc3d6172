"""Weights with other names are matched by position."""

from pathlib import Path

import pytest
import torch

from tools.convert_backbone_weights import renamed_in_order
from utils.errors import UserError

THEIRS = {"_stem": torch.ones(2, 3), "_bn.weight": torch.full((2,), 5.0)}


def test_renamed_in_order():
    expected = {"stem.weight": torch.empty(2, 3, device="meta"), "bn.weight": torch.empty(2, device="meta")}
    renamed = renamed_in_order(THEIRS, expected, Path("file"))
    assert list(renamed) == ["stem.weight", "bn.weight"]
    assert torch.equal(renamed["bn.weight"], THEIRS["_bn.weight"])


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"stem.weight": torch.empty(2, 3)}, "2 tensors"),
        ({"stem.weight": torch.empty(2, 3), "bn.weight": torch.empty(3)}, "_bn.weight of shape (2,)"),
    ],
)
def test_other_networks_are_rejected(expected, message):
    with pytest.raises(UserError, match="--weights") as info:
        renamed_in_order(THEIRS, expected, Path("file"))
    assert message in str(info.value)

"""Weights with other names are matched by position."""

from pathlib import Path

import pytest
import timm
import torch

from tools.convert_backbone_weights import convert, renamed_in_order
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


@pytest.mark.parametrize("is_nested", [False, True])
def test_convert(tmp_path, is_nested):
    """State dicts may be nested in a checkpoint."""
    expected = timm.create_model("test_efficientnet").state_dict()
    theirs = {f"layer{number}": value for number, value in enumerate(expected.values())}
    torch.save({"state_dict": theirs, "epoch": 3} if is_nested else theirs, tmp_path / "theirs.pth")
    convert(tmp_path / "theirs.pth", "test_efficientnet", tmp_path / "ours.pth")
    ours = torch.load(tmp_path / "ours.pth", weights_only=True)
    assert list(ours) == list(expected)
    assert all(torch.equal(ours[name], value) for name, value in expected.items())

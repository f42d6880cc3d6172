"""Merging classes to coarser ones."""

import pytest
import torch

from datasets.class_maps import NYU13, MergedBatches, find_class_map
from datasets.nyuv2_classes import NYUV2_13
from datasets.structured3d import Structured3D
from utils.errors import UserError

# Some classes of Structured3D, and their class among the 13 of NYU v2.
EXPECTED = {
    **dict.fromkeys(("wall", "door"), "wall"),
    **dict.fromkeys(("window", "curtain"), "window"),
    **dict.fromkeys(("cabinet", "dresser", "shelves", "otherfurniture"), "furniture"),
    **{"floor": "floor", "bed": "bed", "chair": "chair", "sofa": "sofa", "ceiling": "ceiling", "picture": "picture"},
    **{"television": "tv", "table": "table", "desk": "table"},
}


def test_structured3d_in_13_classes():
    class_map = find_class_map(NYU13, "Struc3D")
    pairs = zip(Structured3D.classes.names, class_map.labels, strict=True)
    merged = {name: NYUV2_13.names[label] for name, label in pairs}
    assert {name: merged[name] for name in EXPECTED} == EXPECTED
    assert class_map.classes is NYUV2_13


def test_shared_names_are_the_same_class():
    class_map = find_class_map(NYU13, "Struc3D")
    for name, label in zip(Structured3D.classes.names, class_map.labels, strict=True):
        assert NYUV2_13.names[label] == name or name not in NYUV2_13.names


def test_merging():
    """Merging commutes with the argmax of logits; -1 is kept."""
    class_map = find_class_map(NYU13, "Struc3D")
    table = torch.tensor(class_map.labels)
    logits = torch.randn(2, 25, 4, 8) - 9  # all negative
    assert torch.equal(class_map.merge_logits(logits).argmax(1), table[logits.argmax(1)])
    labels = torch.randint(-1, 25, (2, 4, 8))
    (batch,) = MergedBatches([{"semantic": labels, "id": "x"}], class_map)
    assert batch["id"] == "x"
    assert torch.equal(batch["semantic"], torch.where(labels < 0, -1, table[labels]))


def test_other_datasets_are_rejected():
    with pytest.raises(UserError, match="--classes nyu13"):
        find_class_map(NYU13, "S2D3D")

"""Pieces cover everything once."""

import pytest
import torch

from utils import pieces as module
from utils.pieces import pieces

CPU = torch.device("cpu")


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
def test_every_row_once(count, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES", 16)
    for entries_each in (1, 5, 16, 1000):
        slices = pieces(count, entries_each, CPU)
        assert [row for piece in slices for row in range(count)[piece]] == list(range(count))
        assert max(piece.stop - piece.start for piece in slices) * entries_each <= max(16, entries_each)


def test_one_piece_on_a_gpu():
    assert pieces(10**9, 10**9, torch.device("cuda")) == [slice(0, 10**9)]


def test_no_rows():
    with pytest.raises(ValueError, match="0 rows"):
        pieces(0, 1, CPU)

"""Chunks cover every row once; exported graphs have one chunk."""

import pytest
import torch
from torch import nn

from utils.chunks import is_exporting, row_chunks
from utils.cpu_kernels import without_cpu_kernels

CPU = torch.zeros(1)


@pytest.mark.parametrize("num_rows", [1, 15, 16, 17, 100])
def test_every_row_once(num_rows, monkeypatch):
    monkeypatch.setattr("utils.chunks.CHUNK_ELEMENTS", 16)
    for elements_per_row in (1, 5, 16, 1000):
        chunks = row_chunks(num_rows, elements_per_row, CPU)
        assert [row for rows in chunks for row in range(num_rows)[rows]] == list(range(num_rows))
        assert max(rows.stop - rows.start for rows in chunks) * elements_per_row <= max(16, elements_per_row)


def test_one_chunk_on_other_devices():
    assert row_chunks(10**9, 10**9, torch.zeros(1, device="meta")) == [slice(0, 10**9)]
    with without_cpu_kernels():
        assert row_chunks(10**9, 10**9, CPU) == [slice(0, 10**9)]


def test_no_rows():
    with pytest.raises(ValueError, match="0 rows"):
        row_chunks(0, 1, CPU)


class Branches(nn.Module):
    def forward(self, x):
        return x + len(row_chunks(40, 1, x)) if is_exporting() else x - len(row_chunks(40, 1, x))


def test_exporting(monkeypatch):
    """Exported graphs have one chunk; compiled ones are for this machine and have several."""
    monkeypatch.setattr("utils.chunks.CHUNK_ELEMENTS", 16)
    x = torch.zeros(3)
    assert torch.equal(Branches()(x), x - 3)
    assert torch.equal(torch.compile(Branches(), backend="eager")(x), x - 3)
    assert torch.equal(torch.export.export(Branches(), (x,)).module()(x), x + 1)

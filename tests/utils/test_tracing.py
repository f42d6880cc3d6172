"""Exported graphs are for any machine, compiled ones for the one at hand."""

import torch
from torch import nn

from utils.tracing import exporting


class Branches(nn.Module):
    def forward(self, x):
        return x + 1 if exporting() else x - 1


def test_exporting():
    x = torch.zeros(3)
    assert torch.equal(Branches()(x), x - 1)
    assert torch.equal(torch.compile(Branches(), backend="eager")(x), x - 1)
    assert torch.equal(torch.export.export(Branches(), (x,)).module()(x), x + 1)

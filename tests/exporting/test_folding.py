"""Constants are worked out once, and nothing else changes."""

import torch
from torch import nn

from exporting.folding import fold_constants


class Small(nn.Module):
    """Two layers; the weights of the first are put in another form, a table is looked up in a constant."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(9, 9)
        self.register_buffer("table", torch.tensor([2, 0, 1]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        code = (torch.arange(4) * 0.5).sin()
        left, right = (self.first.weight * 2).chunk(2)
        hidden = (x[:, self.table] @ torch.cat([right, left]).T + code).relu()
        return self.second(hidden), code


def test_folding():
    network, x = Small(), torch.randn(5, 3)
    with torch.no_grad():
        module = fold_constants(torch.export.export(network, (x,)).run_decompositions({}).module())
        for ours, expected in zip(module(x), network(x), strict=True):
            assert torch.equal(ours, expected)
    assert set(module.state_dict()) == {"folded_0", "folded_1", "second.weight", "second.bias", "table"}
    state = module.state_dict()
    expected = [(torch.arange(4) * 0.5).sin(), (network.first.weight * 2)[[2, 3, 0, 1]].T]
    for value in expected:
        assert any(folded.shape == value.shape and torch.equal(folded, value) for folded in state.values())

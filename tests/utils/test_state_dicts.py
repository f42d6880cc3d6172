"""State dicts of other programs."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from utils.errors import LONGEST_LINE, UserError
from utils.state_dicts import require_fit, strip_prefixes, unwrap

WEIGHT = torch.zeros(2)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "model.", "network."],
)
def test_prefixes(prefix):
    assert strip_prefixes({f"{prefix}erp.weight": WEIGHT}).keys() == {"erp.weight"}


def test_prefixes_of_torch():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    compiled_part = nn.Sequential(network[0], torch.compile(network[1]))
    for module in (AveragedModel(network), torch.compile(network), compiled_part, AveragedModel(compiled_part)):
        assert strip_prefixes(module.state_dict()).keys() == network.state_dict().keys()


def test_similar_names_are_no_prefixes():
    keys = {"erp.module.weight", "modules.weight", "submodule.weight", "models.weight"}
    assert strip_prefixes(dict.fromkeys(keys, WEIGHT)).keys() == keys


@pytest.mark.parametrize("wrapper", ["model_state_dict", "state_dict", "model", "network"])
def test_wrappers(wrapper):
    state = {"weight": WEIGHT}
    assert unwrap(state) is state
    assert unwrap({"epoch": 3, wrapper: state}) is state
    assert unwrap({"state_dict": {wrapper: state, "optimizer": {}}}) is state
    ours = {"format": "ours", "network": state}
    assert unwrap(ours) is ours
    assert unwrap({wrapper: ours}) is ours


@pytest.mark.parametrize("content", [None, 3, [1, 2], {}, WEIGHT, {"model": WEIGHT}])
def test_no_wrapper(content):
    assert unwrap(content) is content


def test_require_fit_counts_and_names_problems():
    expected = {f"layer{i}": WEIGHT for i in range(1000)}
    require_fit(dict(expected), expected, "file.pth")
    state = {f"other{i}": WEIGHT for i in range(500)} | {f"layer{i}": torch.zeros(1) for i in range(2)}
    with pytest.raises(UserError, match=r"file\.pth") as error:
        require_fit(state, expected, "file.pth")
    message = str(error.value)
    assert "998 missing (layer2, layer3, layer4, ...)" in message
    assert "500 unknown (other0, other1, other2, ...)" in message
    assert "2 of another shape (layer0, layer1)" in message
    assert len(message) < LONGEST_LINE
    with pytest.raises(UserError, match=r"1 of another shape \(layer0\)"):
        require_fit({"layer0": "not a tensor"}, {"layer0": WEIGHT}, "file.pth")

"""Weights of the released Elite360M code: parameter names, round trip and errors."""

import re

import pytest
import torch

from networks.elite360m import Elite360M
from networks.released_weights import convert_released_weights, is_released_format, released_architecture, released_key
from utils.errors import UserError


@pytest.fixture(scope="module")
def network():
    return Elite360M(num_classes=5, ico_level=2, pretrained=False)


@pytest.fixture
def released(network):
    """A state dict as the released code saves it from DDP."""
    state = {f"module.{released_key(key)}": value.clone() for key, value in network.state_dict().items()}
    conv = "module.ICO_encoder.ICO_backbone.transition_downs.0.sa.mlp_convs.0.weight"
    state[conv] = state[conv][..., None, None]  # a 1x1 convolution, here a linear layer
    return state | {"module.log_var_list": torch.tensor([0.1, 0.2, 0.3])}


def test_names_are_one_to_one(network):
    names = [released_key(key) for key in network.state_dict()]
    assert len(set(names)) == len(names)


def test_round_trip(network, released):
    assert is_released_format(released)
    assert not is_released_format(network.state_dict())
    assert released_architecture(released) == ("Elite360M_Res18", 5)
    state, log_variances = convert_released_weights(released, network.state_dict())
    assert log_variances.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


def test_problems_are_listed(network, released):
    missing, unknown, wrong = "EI_Fusion.gate_SA_bottle.weight", "unknown_key", "shared_decoder.out.bias"
    del released[f"module.{missing}"]
    released[f"module.{unknown}"] = torch.zeros(1)
    released[f"module.{wrong}"] = torch.zeros(7)
    expected = f"1 missing ({missing}); 1 unknown ({unknown}); 1 of another shape ({wrong})"
    with pytest.raises(UserError, match=re.escape(expected)):
        convert_released_weights(released, network.state_dict())


def test_key_without_released_name():
    with pytest.raises(KeyError, match="new_module"):
        released_key("new_module.weight")

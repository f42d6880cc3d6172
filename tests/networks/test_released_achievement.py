"""Names of the released code of Yun & Cho, and what happens to weights that do not fit."""

import pytest
import torch

from networks.deeplab import DeepLab
from networks.released_achievement import (
    convert_released_weights,
    is_released_format,
    released_architecture,
    released_key,
)
from utils.errors import UserError

ARGUMENTS = {
    "tasks": ("segmentation", "depth"),
    "num_classes": 7,
    "normal_size": 8,
    "skip_connection": 6,
    "output_stride": 32,
}


@pytest.fixture(scope="module", params=["mobilenet_v2", "efficientnet_v2_s"])
def network(request) -> DeepLab:
    return DeepLab(backbone=request.param, pretrained=False, **ARGUMENTS)


@pytest.fixture
def released(network) -> dict[str, torch.Tensor]:
    return {released_key(key): value.clone() for key, value in network.state_dict().items()}


def test_round_trip(network, released):
    state = network.state_dict()
    assert len(released) == len(state)  # no two keys have the same name
    assert is_released_format(released)
    assert not is_released_format(state)
    converted = convert_released_weights({f"module.{key}": value for key, value in released.items()}, state)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[key], state[key]) for key in state)


def test_architecture(network, released):
    found = released_architecture(released)
    backbone = found.pop("backbone")
    assert found == ARGUMENTS
    with torch.device("meta"):
        again = DeepLab(backbone=backbone, pretrained=False, **found)
    assert again.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("backbone.conv1.weight", "backbone.conv_stem.conv.weight"),
        ("backbone.layer1.0.downsample.1.bias", "backbone.layer1.0.downsample.normal.bias"),
        ("backbone.layer3.5.bn2.running_var", "backbone.layer3.5.conv2.normal.running_var"),
        ("backbone.features.0.0.weight", "backbone.features.0.conv.weight"),
        ("backbone.features.1.conv.1.weight", "backbone.features.1.blocks.proj_conv.conv.weight"),
        ("backbone.features.11.conv.1.1.bias", "backbone.features.11.blocks.central_conv.normal.bias"),
        ("backbone.features.18.1.weight", "backbone.features.18.normal.weight"),
        ("backbone.features.1.0.block.0.0.weight", "backbone.features.1.0.blocks.central_conv.conv.weight"),
        ("backbone.features.2.0.block.1.0.weight", "backbone.features.2.0.blocks.proj_conv.conv.weight"),
        ("backbone.features.4.0.block.2.fc1.weight", "backbone.features.4.0.blocks.se.fc1.weight"),
        ("backbone.features.6.14.block.3.1.bias", "backbone.features.6.14.blocks.proj_conv.normal.bias"),
        ("contexts.shared.aspp.pooled.0.weight", "predict.shared_aspp.features.4.1.conv.weight"),
        ("heads.normal.1.bias", "predict.surface_normal.1.bias"),
    ],
)
def test_names(ours, theirs):
    assert released_key(ours) == theirs


def test_names_of_separate_heads_are_not_known():
    with pytest.raises(KeyError):
        released_key("contexts.depth.aspp.pooled.0.weight")


def test_weights_that_do_not_fit(network, released):
    """The message names the file and the keys."""
    del released["predict.depth.1.bias"]
    released["predict.segmentor.1.bias"] = torch.zeros(9)
    released["stranger"] = torch.zeros(1)
    with pytest.raises(UserError) as caught:
        convert_released_weights(released, network.state_dict(), "best.pth")
    message = str(caught.value)
    assert all(part in message for part in ("best.pth", "predict.depth.1.bias", "predict.segmentor.1.bias", "stranger"))
    assert len(message) < 500


@pytest.mark.parametrize("prefix", ["predict.shared_aspp.out_conv", "predict.segmentor.1|predict.depth.1", "backbone"])
def test_other_weights(released, prefix):
    others = {key: value for key, value in released.items() if not key.startswith(tuple(prefix.split("|")))}
    with pytest.raises(UserError, match=r"best\.pth"):
        released_architecture(others, "best.pth")

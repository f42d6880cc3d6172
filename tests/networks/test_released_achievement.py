"""Weights of the released code of Yun & Cho: parameter names, inferred architectures, and weights that do not fit."""

import pytest
import torch

from networks.deeplab import DeepLab
from networks.perspective_network import PerspectiveNetwork
from networks.released_achievement import (
    convert_released_weights,
    is_released_format,
    released_architecture,
    released_key,
)
from networks.vmm import VMM
from utils.errors import UserError

_COMMON = {"tasks": ("segmentation", "depth"), "num_classes": 7, "normal_size": 8}
DEEPLAB = {"arch": "DeepLab", **_COMMON, "skip_connection": 6, "output_stride": 32}
VMM_ALL = {"arch": "VMM", **_COMMON, "tasks": ("detection", "segmentation", "depth")}
CASES = {
    "DeepLab mobilenet_v2": {**DEEPLAB, "backbone": "mobilenet_v2"},
    "DeepLab efficientnet_v2_s": {**DEEPLAB, "backbone": "efficientnet_v2_s"},
    "VMM": {**VMM_ALL, "backbone": "mobilenet_v2", "head_type": "mbconv", "cls_head": "sigmoid"},
    "VMM dsconv": {**VMM_ALL, "backbone": "mobilenet_v2", "head_type": "dsconv", "cls_head": "softmax"},
    "VMM detection": {
        **{**VMM_ALL, "tasks": ("detection",)},
        **{"backbone": "mobilenet_v2", "head_type": "mbconv", "cls_head": "sigmoid"},
    },
}


def build(arch: str, **arguments) -> PerspectiveNetwork:
    return {"DeepLab": DeepLab, "VMM": VMM}[arch](pretrained=False, **arguments)


@pytest.fixture(scope="module", params=CASES)
def case(request) -> tuple[dict, PerspectiveNetwork]:
    return CASES[request.param], build(**CASES[request.param])


@pytest.fixture
def network(case) -> PerspectiveNetwork:
    return case[1]


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


def test_architecture(case, released):
    arguments, network = case
    found = released_architecture(released)
    assert found == arguments
    with torch.device("meta"):
        again = build(**found)
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
        ("transition.2.1.running_mean", "transition.2.normal.running_mean"),
        ("neck.1.down.0.expand.0.weight", "FPN.1.upwards.0.blocks.expand_conv.conv.weight"),
        ("neck.0.down.1.depthwise.1.bias", "FPN.0.upwards.1.blocks.central_conv.normal.bias"),
        ("neck.0.down.1.depthwise.weight", "FPN.0.upwards.1.depthwise.weight"),
        ("neck.0.down.1.pointwise.1.weight", "FPN.0.upwards.1.pointwise.normal.weight"),
        ("heads.detection.boxes.2.project.0.weight", "loc.2.blocks.proj_conv.conv.weight"),
        ("heads.detection.classes.0.pointwise.bias", "conf.0.pointwise.bias"),
        ("heads.segmentation.0.depthwise.weight", "segment.0.depthwise.weight"),
        ("heads.depth.1.project.1.weight", "depth.1.blocks.proj_conv.normal.weight"),
    ],
)
def test_names(ours, theirs):
    assert released_key(ours) == theirs


@pytest.mark.parametrize("key", ["contexts.depth.aspp.pooled.0.weight", "heads.normal.1.project.0.weight"])
def test_unknown_names(key):
    """An ASPP per task, and VMM's head for normals."""
    with pytest.raises(KeyError):
        released_key(key)


def test_weights_that_do_not_fit(network, released):
    """The error names the file and the keys."""
    *_, missing, other = released
    del released[missing]
    released[other] = torch.zeros(9, 9)
    released["unknown_key"] = torch.zeros(1)
    with pytest.raises(UserError) as caught:
        convert_released_weights(released, network.state_dict(), "best.pth")
    message = str(caught.value)
    assert all(part in message for part in ("best.pth", missing[-30:], other[-30:], "unknown_key"))
    assert len(message) < 500


@pytest.mark.parametrize(
    "prefixes",
    [
        ("predict.shared_aspp.out_conv", "transition.0"),
        ("predict.segmentor.1", "predict.depth.1", "conf", "segment", "depth"),
        ("backbone",),
    ],
    ids=["neck", "heads", "backbone"],
)
def test_incomplete_weights(released, prefixes):
    incomplete = {key: value for key, value in released.items() if not key.startswith(prefixes)}
    with pytest.raises(UserError, match=r"best\.pth"):
        released_architecture(incomplete, "best.pth")

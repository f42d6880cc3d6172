"""--backbone_weights: the backbone gets the tensors in a file, or the error names the one that does not fit."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision.models

from networks.erp_encoder import ERPEncoder
from networks.perspective_backbones import build_backbone
from utils.errors import LONGEST_LINE, UserError

LITE = "timm:tf_efficientnet_lite0"


def random_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: torch.rand(value.shape).to(value.dtype) for key, value in model.state_dict().items()}


def save(content: object, folder: Path) -> Path:
    path = folder / "backbone.pth"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def lite() -> dict[str, torch.Tensor]:
    return random_state(timm.create_model("tf_efficientnet_lite0"))


def test_timm_model(lite, tmp_path):
    encoder = ERPEncoder(LITE, pretrained=save({"state_dict": lite}, tmp_path))
    loaded = encoder.backbone.state_dict()
    assert len(loaded) > 200
    assert all(torch.equal(value, lite[key]) for key, value in loaded.items())


def test_renamed_stages(tmp_path):
    """timm's feature extractors rename `stages.0` to `stages_0`."""
    state = random_state(timm.create_model("convnext_tiny"))
    loaded = ERPEncoder("Elite360M_ConvNeXtT", pretrained=save(state, tmp_path)).backbone.state_dict()
    assert torch.equal(loaded["stages_2.blocks.4.gamma"], state["stages.2.blocks.4.gamma"])


@pytest.mark.parametrize("has_counters", [True, False])
def test_torchvision_resnet(tmp_path, has_counters):
    """torchvision's older weights lack BatchNorm's counters of batches."""
    state = random_state(torchvision.models.resnet18())
    counters = {key for key in state if key.endswith("num_batches_tracked")}
    stored = {key: value for key, value in state.items() if has_counters or key not in counters}
    loaded = ERPEncoder("Elite360M_Res18", pretrained=save(stored, tmp_path)).backbone.state_dict()
    assert all(torch.equal(loaded[key], stored[key]) for key in loaded.keys() - (set() if has_counters else counters))


@pytest.mark.parametrize("has_counters", [True, False])
def test_backbone_of_deeplab(tmp_path, has_counters):
    state = random_state(torchvision.models.mobilenet_v2())
    del state["classifier.1.weight"], state["classifier.1.bias"]
    if not has_counters:
        state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    loaded = build_backbone("mobilenet_v2", save(state, tmp_path)).state_dict()
    assert torch.equal(loaded["features.6.conv.2.weight"], state["features.6.conv.2.weight"])


@pytest.mark.parametrize("classes", [None, 7])
def test_classifier_is_ignored(lite, tmp_path, classes):
    state = {key: value for key, value in lite.items() if not key.startswith("classifier.")}
    if classes:
        state |= {"classifier.weight": torch.zeros(classes, 1280), "classifier.bias": torch.zeros(classes)}
    loaded = ERPEncoder(LITE, pretrained=save(state, tmp_path)).backbone.state_dict()
    assert torch.equal(loaded["conv_stem.weight"], lite["conv_stem.weight"])


@pytest.mark.parametrize("fault", ["missing", "shape", "unknown", "no tensor", "no dict", "no file", "code"])
def test_unsuitable_file(lite, tmp_path, fault):
    state, named = dict(lite), ["conv_stem.weight"]
    if fault == "missing":
        del state["conv_stem.weight"]
    elif fault == "shape":
        state["conv_stem.weight"] = torch.zeros(32, 3, 5, 5)
        named += ["(32, 3, 5, 5)", "(32, 3, 3, 3)"]
    elif fault == "unknown":
        state["stem.weight"], named = torch.zeros(1), ["stem.weight"]
    elif fault == "no tensor":
        state["conv_stem.weight"] = 3
    else:
        state, named = {"no dict": [1], "no file": {}, "code": {"run": print}}[fault], []
    path = save(state, tmp_path)
    if fault == "no file":
        path.unlink()
    with pytest.raises(UserError) as info:
        ERPEncoder(LITE, pretrained=path)
    message = str(info.value)
    assert all(part in message for part in [*named, str(path)])
    assert fault == "code" or "--backbone_weights" in message
    assert "\n" not in message
    assert len(message) < LONGEST_LINE

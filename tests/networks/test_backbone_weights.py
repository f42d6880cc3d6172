"""--backbone_weights: the tensors of a file become those of the backbone, or one line says why not."""

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


def written(state: object, folder: Path) -> Path:
    path = folder / "backbone.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def lite() -> dict[str, torch.Tensor]:
    return random_state(timm.create_model("tf_efficientnet_lite0"))


def test_tensors_of_a_timm_model_are_loaded(lite, tmp_path):
    encoder = ERPEncoder(LITE, pretrained=written({"state_dict": lite}, tmp_path))
    loaded = encoder.backbone.state_dict()
    assert len(loaded) > 200
    assert all(torch.equal(value, lite[key]) for key, value in loaded.items())


def test_a_transformers_features_have_other_names(tmp_path):
    """timm flattens the stages of the network of features: `stages.0` becomes `stages_0`."""
    state = random_state(timm.create_model("convnext_tiny"))
    loaded = ERPEncoder("Elite360M_ConvNeXtT", pretrained=written(state, tmp_path)).backbone.state_dict()
    assert torch.equal(loaded["stages_2.blocks.4.gamma"], state["stages.2.blocks.4.gamma"])


def test_the_weights_of_torchvisions_resnet_fit(tmp_path):
    state = random_state(torchvision.models.resnet18())
    loaded = ERPEncoder("Elite360M_Res18", pretrained=written(state, tmp_path)).backbone.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_a_backbone_of_deeplab(tmp_path):
    state = random_state(torchvision.models.mobilenet_v2())
    del state["classifier.1.weight"], state["classifier.1.bias"]
    loaded = build_backbone("mobilenet_v2", written(state, tmp_path)).state_dict()
    assert torch.equal(loaded["features.6.conv.2.weight"], state["features.6.conv.2.weight"])


@pytest.mark.parametrize("classes", [None, 7])
def test_the_classifier_does_not_matter(lite, tmp_path, classes):
    state = {key: value for key, value in lite.items() if not key.startswith("classifier.")}
    if classes:
        state |= {"classifier.weight": torch.zeros(classes, 1280), "classifier.bias": torch.zeros(classes)}
    loaded = ERPEncoder(LITE, pretrained=written(state, tmp_path)).backbone.state_dict()
    assert torch.equal(loaded["conv_stem.weight"], lite["conv_stem.weight"])


@pytest.mark.parametrize("fault", ["missing", "shape", "unknown", "no tensor", "no dict", "no file", "code"])
def test_a_file_that_does_not_fit(lite, tmp_path, fault):
    state, said = dict(lite), ["conv_stem.weight"]
    if fault == "missing":
        del state["conv_stem.weight"]
    elif fault == "shape":
        state["conv_stem.weight"] = torch.zeros(32, 3, 5, 5)
        said += ["(32, 3, 5, 5)", "(32, 3, 3, 3)"]
    elif fault == "unknown":
        state["stem.weight"], said = torch.zeros(1), ["stem.weight"]
    elif fault == "no tensor":
        state["conv_stem.weight"] = 3
    else:
        state, said = {"no dict": [1], "no file": {}, "code": {"run": print}}[fault], []
    path = written(state, tmp_path)
    if fault == "no file":
        path.unlink()
    with pytest.raises(UserError) as info:
        ERPEncoder(LITE, pretrained=path)
    message = str(info.value)
    assert all(part in message for part in [*said, str(path)])
    assert fault == "code" or "--backbone_weights" in message
    assert "\n" not in message
    assert len(message) < LONGEST_LINE

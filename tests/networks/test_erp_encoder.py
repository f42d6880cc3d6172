"""Backbones of the ERP encoder: features, normalization, downloads and errors."""

import http.client
import urllib.error
from collections.abc import Callable

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError

from networks.backbones import BACKBONES, Backbone, folder_of
from networks.erp_encoder import ERPEncoder, _with_out_indices
from utils.colors import IMAGENET_MEAN
from utils.errors import UserError

CHANNELS = {
    "Elite360M_Res18": ([64, 128, 256], 64),
    "Elite360M_Res34": ([64, 128, 256], 64),
    "Elite360M_Res50": ([256, 512, 1024], 128),
    "Elite360M_EffB5": ([40, 64, 176], 64),
    "Elite360M_SwinT": ([96, 192, 384], 128),
    "Elite360M_SwinB": ([128, 256, 512], 128),
    "Elite360M_ConvNeXtT": ([96, 192, 384], 128),
    "timm:vgg11": ([256, 512, 512], 64),
    "timm:hrnet_w18_small": ([128, 256, 512], 128),
    "timm:swinv2_cr_tiny_ns_224": ([96, 192, 384], 128),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_features(name):
    """Strides 4, 8, 16 and 32, even if the sides of the panorama are not multiples of a transformer's window."""
    with torch.device("meta"), torch.no_grad():  # shapes only
        encoder = ERPEncoder(name, pretrained=False).eval()
        skips, bottleneck = encoder(torch.rand(1, 3, 64, 128))
    channels, embed_dim = CHANNELS[name]
    expected = [(1, c, 64 // s, 128 // s) for c, s in zip([*channels, embed_dim], (4, 8, 16, 32), strict=True)]
    assert [tuple(x.shape) for x in (*skips, bottleneck)] == expected
    assert encoder.embed_dim == embed_dim
    assert list(encoder.skip_channels) == channels


def test_resnet_features_are_stages():
    """The skip features are the outputs of the first three stages of the classification network."""
    encoder = ERPEncoder("Elite360M_Res18", pretrained=False).eval()
    classifier = timm.create_model("resnet18").eval()
    classifier.load_state_dict(encoder.backbone.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        x = classifier.maxpool(classifier.act1(classifier.bn1(classifier.conv1(image))))
        expected = [x := layer(x) for layer in (classifier.layer1, classifier.layer2, classifier.layer3)]
        skips, _ = encoder(image)
    for ours, theirs in zip(skips, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["Elite360M_SwinT", "timm:swinv2_tiny_window8_256"])
def test_channels_last_features_are_permuted(name):
    """Permuted, not reshaped."""
    encoder = ERPEncoder(name, pretrained=False).eval()
    image = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        skips, _ = encoder(image)
        channels_last = encoder.backbone(image)
    assert torch.equal(skips[0][0, :, 3, 7], channels_last[0][0, 3, 7])


def test_all_backbones_are_tested():
    assert BACKBONES.keys() <= CHANNELS.keys()


def test_normalization_is_that_of_the_weights():
    with torch.device("meta"):
        assert ERPEncoder("Elite360M_EffB5", pretrained=False).mean == IMAGENET_MEAN
        assert ERPEncoder("timm:tf_efficientnetv2_b0.in1k", pretrained=False).mean == (0.485, 0.456, 0.406)
        assert ERPEncoder("timm:tf_efficientnetv2_s.in1k", pretrained=False).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("timm:vit_tiny_patch16_224", "it has features at strides 16, 16, 16, but none at 4, 8, 32"),
        ("timm:nonsense18", "timm has no such model; similar names: skresnet18"),
        ("timm:resnet18.nonsense", r"timm has no such weights; similar names: resnet18\."),
        ("timm:coatnet_0_rw_224", "cannot be run on panoramas"),
        ("timm:", "choose one of Elite360M_Res18, .*or timm:NAME"),
        ("VGG", "choose one of Elite360M_Res18"),
    ],
)
def test_unsuitable_backbones(name, reason):
    with pytest.raises(UserError, match=reason) as info:
        ERPEncoder(name, pretrained=False)
    assert str(info.value).startswith(f"--backbone {name}: ")
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 500


def test_backbone_that_timm_lacks(monkeypatch):
    """With an old timm, the error for a listed backbone is not a failed download."""
    monkeypatch.setitem(BACKBONES, "Elite360M_Res18", Backbone("resnet_of_tomorrow"))
    with pytest.raises(UserError, match="--backbone Elite360M_Res18: timm has no such model"):
        ERPEncoder("Elite360M_Res18", pretrained=True)


def test_backbone_without_weights():
    with pytest.raises(UserError, match=r"no weights of swinv2_cr_base_224.*--no_pretrained"):
        ERPEncoder("timm:swinv2_cr_base_224", pretrained=True)


class RemoteError(Exception):
    """Stands in for an exception of a download client, which has no common base class with others."""

    __module__ = "httpx2._exceptions"


class DerivedError(RemoteError):
    """Only its base class is in a module of a download client."""


FAILED_DOWNLOADS = [
    ConnectionError("no route to host\nand many more lines"),
    urllib.error.URLError("no route to host"),
    TimeoutError("no route to host"),
    http.client.IncompleteRead(b"", 7),
    LocalEntryNotFoundError("no route to host"),
    SafetensorError("no route to host"),
    RemoteError("no route to host"),
    DerivedError("no route to host" + 1000 * "!"),
]
DEFECTS = [
    TypeError("unexpected keyword argument"),
    RuntimeError("Error(s) in loading state_dict"),
    KeyError("layer1"),
    AttributeError("renamed"),
]


def raising(error: Exception) -> Callable:
    def create_model(*args, pretrained: bool, **kwargs):
        assert pretrained
        raise error

    return create_model


@pytest.mark.parametrize("error", FAILED_DOWNLOADS, ids=lambda error: type(error).__name__)
def test_failed_download(error, monkeypatch):
    """It is an error, not a silent start from random weights."""
    monkeypatch.setattr("timm.create_model", raising(error))
    with pytest.raises(
        UserError, match=r"resnet18\.tv_in1k could not be downloaded .*--backbone_weights.*--no_pretrained"
    ) as info:
        ERPEncoder("Elite360M_Res18", pretrained=True)
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 500


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
def test_defect_is_not_a_failed_download(error, monkeypatch):
    """Other errors keep their type and traceback."""
    monkeypatch.setattr("timm.create_model", raising(error))
    with pytest.raises(type(error)) as info:
        ERPEncoder("Elite360M_Res18", pretrained=True)
    assert info.value is error


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Elite360M_Res18", ["cpu", "cpu"]),
        ("timm:resnet10t", ["meta", "meta", "cpu", "cpu"]),
        ("timm:swinv2_cr_tiny_ns_224", ["meta", "meta", "cpu", "cpu"]),
    ],
)
def test_devices_of_built_models(name, expected, monkeypatch):
    """The feature indices of unlisted models are detected once, without allocating weights."""
    _with_out_indices.cache_clear()
    create, devices = timm.create_model, []

    def record_device(*args, **kwargs) -> torch.nn.Module:
        model = create(*args, **kwargs)
        devices.append(next(model.parameters()).device.type)
        return model

    monkeypatch.setattr("timm.create_model", record_device)
    for _ in range(2):
        ERPEncoder(name, pretrained=False)
    assert devices == expected


def test_backbones_are_deterministic():
    """No stochastic depth and dropout: micro-batches need equal passes in training mode."""
    for name in BACKBONES:
        with torch.device("meta"):
            encoder = ERPEncoder(name, pretrained=False)
        random = [m for m in encoder.modules() if "Drop" in type(m).__name__ and getattr(m, "drop_prob", None)]
        random += [m for m in encoder.modules() if isinstance(m, torch.nn.Dropout) and m.p]
        assert not random, name


def test_folder_names():
    assert folder_of("Elite360M_Res18") == "Elite360M_Res18"
    assert folder_of("timm:resnet26d.bt_in1k") == "timm_resnet26d.bt_in1k"

"""DeepLab: predictions, parameters, the interface to training, and backbones."""

from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
import torchvision.models

from losses.balancing import build_balancing
from losses.perspective import l1_depth_loss, normal_loss, segmentation_loss
from networks.deeplab import ASPP, Context, DeepLab
from networks.perspective_backbones import BACKBONES, DEEP, FINE, MIDDLE, build_backbone
from training.objective import LossTerm, TrainingObjective
from utils.errors import UserError

TASKS = ("segmentation", "depth", "normal")
CHANNELS = {"segmentation": 5, "depth": 1, "normal": 3}


def build(**arguments) -> DeepLab:
    """A DeepLab that is small by default."""
    small = {
        "tasks": TASKS,
        "num_classes": 5,
        "backbone": "mobilenet_v2",
        "normal_size": 8,
        "output_stride": 32,
        "pretrained": False,
    }
    return DeepLab(**(small | arguments))


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({}, 40_825_452),
        ({"tasks": ("segmentation",)}, 39_643_752),
        ({"tasks": ("depth",)}, 39_633_729),
        ({"tasks": ("normal",)}, 39_634_243),
        ({"shared_head": False}, 71_895_660),
        ({"skip_connection": 48}, 41_181_900),
        ({"skip_connection": 48, "backbone": "mobilenet_v2", "output_stride": 32}, 14_173_068),
    ],
)
def test_number_of_parameters(arguments, count):
    """As in the released networks."""
    with torch.device("meta"):
        network = DeepLab(**({"tasks": TASKS, "num_classes": 40, "pretrained": False} | arguments))
    assert num_parameters(network) == count


@pytest.mark.parametrize(
    ("name", "count"), [("resnet50", 23_508_032), ("mobilenet_v2", 2_223_872), ("efficientnet_v2_s", 19_847_248)]
)
def test_backbones(name, count):
    """Number of parameters, and channels and strides in BACKBONES."""
    names = (FINE, MIDDLE, DEEP)
    with torch.device("meta"):
        backbone = build_backbone(name, pretrained=False, features=names)
        features = backbone(torch.zeros(2, 3, 64, 96))
    assert num_parameters(backbone) == count
    for key in names:
        _, channels, stride = getattr(BACKBONES[name], key)
        assert features[key].shape == (2, channels, 64 // stride, 96 // stride)


@pytest.mark.parametrize("skip_connection", [0, 6])
@pytest.mark.parametrize("shared_head", [True, False])
def test_predictions_have_the_size_of_the_image(skip_connection, shared_head):
    """Even if it is not a multiple of the strides."""
    network = build(skip_connection=skip_connection, shared_head=shared_head).eval()
    with torch.no_grad():
        predictions = network(torch.rand(1, 3, 70, 101))
    assert tuple(predictions) == TASKS
    for task, prediction in predictions.items():
        assert prediction.shape == (1, CHANNELS[task], 70, 101)
    torch.testing.assert_close(predictions["normal"].norm(dim=1), torch.ones(1, 70, 101))


@pytest.mark.parametrize(("output_stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (6, 12, 18))])
def test_output_stride(output_stride, rates):
    """It determines only the rates, not the stride of the backbone."""
    network = build(output_stride=output_stride)
    branches = network.contexts["shared"].aspp.branches
    assert [branch[0].dilation for branch in branches] == [(rate, rate) for rate in (1, *rates)]
    assert network.backbone(torch.zeros(2, 3, 64, 64))[DEEP].shape[-2:] == (2, 2)
    assert network(torch.zeros(2, 3, 64, 64))["depth"].shape == (2, 1, 64, 64)


def test_aspp_against_its_formula():
    aspp = ASPP(4, 6, (1, 2)).eval()
    x = torch.randn(2, 4, 5, 7)
    with torch.no_grad():

        def layer(module, x):
            conv, norm, _ = module
            x = F.conv2d(x, conv.weight, padding=(conv.kernel_size[0] // 2) * conv.dilation[0], dilation=conv.dilation)
            x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
            return x.clamp(0, 6)

        pooled = F.interpolate(layer(aspp.pooled, F.adaptive_avg_pool2d(x, 1)), (5, 7), mode="bilinear")
        expected = layer(aspp.project, torch.cat([*(layer(branch, x) for branch in aspp.branches), pooled], dim=1))
        torch.testing.assert_close(aspp(x), expected)
    assert [branch[0].kernel_size[0] for branch in aspp.branches] == [1, 3, 3]


def test_dropout_drops_whole_channels():
    aspp = ASPP(4, 64, (1,)).train()
    with torch.no_grad():
        aspp.project[1].weight.fill_(0.1)
        aspp.project[1].bias.fill_(3)  # so that zeros are from dropout, not from ReLU
        dropped = aspp(torch.randn(4, 4, 5, 7)) == 0
    assert torch.equal(dropped.any((2, 3)), dropped.all((2, 3)))
    assert 0 < dropped.double().mean() < 0.3


def test_skip_connection():
    context = Context(3, 4, 6, (1, 2), 2, torch.nn.ReLU).eval()
    fine, deep = torch.randn(1, 3, 12, 20), torch.randn(1, 4, 3, 5)
    with torch.no_grad():
        joined = context(fine, deep)
        torch.testing.assert_close(
            joined[:, :6], F.interpolate(context.aspp(deep), (12, 20), mode="bilinear", align_corners=False)
        )
        torch.testing.assert_close(joined[:, 6:], context.skip(fine))


@pytest.mark.parametrize("shared_head", [True, False])
def test_shared_and_own_parameters(shared_head):
    """Each parameter is shared or belongs to one task, and only the losses of that task reach it."""
    network = build(shared_head=shared_head, skip_connection=6)
    groups = [network.shared_parameters(), *(network.own_parameters(task) for task in TASKS)]
    assert sorted(id(p) for group in groups for p in group) == sorted(id(p) for p in network.parameters())
    assert any(network.last_shared_weight is parameter for parameter in groups[0])
    assert network.last_shared_weight.ndim == 4
    predictions = network(torch.rand(2, 3, 64, 64))
    for task in TASKS:
        gradients = torch.autograd.grad(
            predictions[task].square().sum(), list(network.parameters()), retain_graph=True, allow_unused=True
        )
        reached = {id(p) for p, grad in zip(network.parameters(), gradients, strict=True) if grad is not None}
        expected = {id(p) for p in (*network.shared_parameters(), *network.own_parameters(task))}
        assert reached == expected


def test_last_shared_weight():
    assert build().last_shared_weight.shape == (8, 40, 1, 1)  # the last layer of the ASPP
    assert build(shared_head=False).last_shared_weight.shape == (1280, 320, 1, 1)  # the backbone's last convolution


def test_16_bits():
    """Predictions are float32 and resized in float32."""
    network = build().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        predictions = network(torch.rand(1, 3, 64, 64))
    assert {prediction.dtype for prediction in predictions.values()} == {torch.float32}
    torch.testing.assert_close(predictions["normal"].norm(dim=1), torch.ones(1, 64, 64))


def test_geometric_mean_without_labels():
    """The gradient is zero in the head of a task without labels, and finite everywhere."""
    network = build()
    terms = {
        "segmentation": LossTerm(segmentation_loss, lambda batch: batch["semantic"] >= 0),
        "depth": LossTerm(l1_depth_loss, lambda batch: batch["depth_mask"]),
        "normal": LossTerm(normal_loss, lambda batch: batch["normal_mask"]),
    }
    objective = TrainingObjective(network, terms, build_balancing("geometric", TASKS)).train()
    batch = {
        "rgb": torch.rand(2, 3, 64, 64),
        "depth": torch.rand(2, 1, 64, 64),
        "depth_mask": torch.zeros(2, 1, 64, 64, dtype=torch.bool),
        "normal": F.normalize(torch.randn(2, 3, 64, 64), dim=1),
        "normal_mask": torch.ones(2, 1, 64, 64, dtype=torch.bool),
        "semantic": torch.randint(0, 5, (2, 64, 64)),
    }
    objective.begin_step([batch])
    losses = objective(batch)
    losses["total"].backward()
    assert losses["depth"] == 0
    assert losses["total"].item() == pytest.approx((losses["segmentation"] * losses["normal"]).sqrt().item())
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert not any(parameter.grad.any() for parameter in network.own_parameters("depth"))
    assert network.last_shared_weight.grad.any()


def test_pretrained(monkeypatch):
    """torchvision's weights are loaded, without the classifier."""
    state = torchvision.models.mobilenet_v2().state_dict()
    urls = []

    def load(url, *args, **kwargs):
        urls.append(url)
        return state

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    backbone = build_backbone("mobilenet_v2", pretrained=True)
    assert urls == [torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V2.url]
    assert backbone.state_dict().keys() == {key for key in state if key.startswith("features.")}
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, state[key])


def test_pretrained_weights_exist():
    for name, backbone in BACKBONES.items():
        assert torchvision.models.get_model_weights(name)[backbone.weights]


def test_failed_download(monkeypatch):
    def load(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    with pytest.raises(UserError, match="--no_pretrained"):
        build_backbone("mobilenet_v2", pretrained=True)


def test_unknown_backbone():
    with pytest.raises(UserError, match="--basenet vgg16"):
        build(backbone="vgg16")

"""Elite360M: predictions, parameters, optional parts and invalid arguments."""

import pytest
import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from losses.balancing.uncertainty import UncertaintyWeighting
from networks.elite360m import Elite360M
from utils.cpu_kernels import without_cpu_kernels
from utils.errors import UserError
from utils.tasks import TASK_NAMES, TASK_VALUES, parse_tasks


def small_network(**settings) -> Elite360M:
    return Elite360M(
        **{"backbone": "timm:test_efficientnet", "num_classes": 5, "ico_level": 2, "pretrained": False, **settings}
    )


@pytest.mark.parametrize(
    ("backbone", "num_classes", "expected"),
    [("Elite360M_Res18", 41, 18_725_669), ("Elite360M_Res34", 13, 28_813_837), ("Elite360M_Res50", 25, 38_280_517)],
)
def test_parameter_counts(backbone, num_classes, expected):
    """In the released code, the three log-variances of the loss belong to the network."""
    modules = (
        small_network(backbone=backbone, num_classes=num_classes),
        UncertaintyWeighting(TASK_NAMES, dict.fromkeys(TASK_NAMES, 1.0)),
    )
    assert sum(p.numel() for module in modules for p in module.parameters()) == expected


def test_outputs():
    network = small_network()
    rgb = torch.rand(2, 3, 64, 128)
    outputs = network(rgb)
    assert outputs["depth"].shape == (2, 1, 64, 128)
    assert outputs["normal"].shape == (2, 3, 64, 128)
    assert outputs["segmentation"].shape == (2, 5, 16, 32), "the loss resizes it"
    shapes = {task: tuple(x.shape) for task, x in outputs["intermediate"].items()}
    assert shapes == {"depth": (2, 1, 4, 8), "normal": (2, 3, 4, 8), "segmentation": (2, 5, 4, 8)}
    outputs = network.eval()(rgb)
    assert outputs["segmentation"].shape == (2, 5, 64, 128)
    assert "intermediate" not in outputs


def test_two_passes_are_identical():
    network = small_network().eval()
    rgb = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        first, second = network(rgb), network(rgb)
    with torch.inference_mode():
        third = network(rgb)
    assert all(torch.equal(first[task], other[task]) for other in (second, third) for task in TASK_NAMES)


class Float32Operations(TorchDispatchMode):
    """Records which operations return float32, except empty tensors, which checkpointing makes in some versions."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        tensors = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor) and x.numel()]
        if any(x.dtype == torch.float32 for x in tensors):
            self.names.add(str(func))
        return out


@pytest.mark.parametrize("fusion", ["b2f", "semantic", "distance"])
@pytest.mark.usefixtures("cpu_kernels")
def test_float64_throughout(fusion):
    network, rgb = small_network(fusion=fusion).double(), torch.rand(2, 3, 32, 64).double()
    for mode in (True, False):
        with Float32Operations() as operations:
            outputs = network.train(mode)(rgb)
        assert not operations.names
        assert all(x.dtype == torch.float64 for x in tree_leaves(outputs))


@pytest.mark.parametrize("training", [True, False])
def test_same_without_cpu_kernels(training):
    """As on a GPU: outputs within 1e-4 of their scale, gradients within 1e-3 of theirs."""
    network, rgb = small_network(), torch.rand(2, 3, 64, 128)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
    network.train(training)

    def outputs_and_gradients() -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
        outputs = tree_leaves(network(rgb))
        loss = sum(x.square().mean() / x.detach().square().mean() + x.mean() for x in outputs)
        return outputs, torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)

    ours, gradients = outputs_and_gradients()
    with without_cpu_kernels():
        plain, plain_gradients = outputs_and_gradients()
    assert all((a - b).abs().max() < 1e-4 * b.abs().max() for a, b in zip(ours, plain, strict=True))
    largest = max(g.norm() for g in plain_gradients if g is not None)
    for a, b in zip(gradients, plain_gradients, strict=True):
        assert b is None or (a - b).norm() < 1e-3 * b.norm() + 1e-5 * largest


def test_normalization():
    """Both encoders get colors with ImageNet mean 0 and standard deviation 1."""
    network = small_network().eval()
    inputs = {}
    network.erp_encoder.register_forward_pre_hook(lambda module, args: inputs.update(erp=args[0]))
    network.icosap_encoder.register_forward_pre_hook(lambda module, args: inputs.update(icosap=args[0]))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(1, 3, 64, 128)
    network(mean + torch.tensor([0.229, 0.0, 0.0])[:, None, None])
    assert torch.allclose(inputs["erp"].mean(dim=(0, 2, 3)), torch.tensor([1.0, 0.0, 0.0]), atol=1e-5)
    assert torch.allclose(inputs["icosap"].mean(dim=(0, 1)), torch.tensor([1.0, 0.0, 0.0]), atol=1e-5)


@pytest.mark.parametrize("value", TASK_VALUES)
def test_task_subsets(value):
    """Only its tasks are predicted, and each parameter gets a gradient."""
    tasks = parse_tasks(value)
    network = small_network(tasks=tasks)
    outputs = network(torch.rand(2, 3, 32, 64))
    assert set(outputs) == {*tasks, "intermediate"}
    assert set(outputs["intermediate"]) == set(tasks)
    sum((x * torch.randn_like(x)).sum() for x in tree_leaves(outputs)).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_initialization():
    """Linear layers: normal with std 0.02, biases 0. Convolutions: torch's defaults."""
    network = small_network(backbone="Elite360M_Res18")
    layers = {
        "attention": network.icosap_encoder.transformers[0].query,
        "gate": network.fusion.semantic_gate,
        "cross-task": network.cross_task.collaborations["depth"].join,
    }
    for name, layer in layers.items():
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1), name
        assert layer.bias is None or not layer.bias.any(), name
    # 1x1 convolutions in the released code: torch's default, uniform up to 1 / sqrt(in_features).
    for transition in network.icosap_encoder.transition_downs:
        for linear in transition.linears:
            assert linear.weight.std().item() == pytest.approx((3 * linear.in_features) ** -0.5, rel=0.1)
            assert linear.bias.any()
    assert (network.erp_encoder.backbone.layer1[0].bn2.weight == 1).all(), "residual branches do not start at zero"


@pytest.mark.parametrize("backbone", ["Elite360M_Res18", "Elite360M_SwinT", "Elite360M_ConvNeXtT"])
def test_pretrained_weights_are_kept(backbone, monkeypatch):
    """Also in the linear layers of transformers."""
    create = timm.create_model

    def create_pretrained(name, pretrained, **arguments):
        model = create(name, pretrained=False, **arguments)
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, 0.5)
        return model

    monkeypatch.setattr("networks.erp_encoder.timm.create_model", create_pretrained)
    network = small_network(backbone=backbone, pretrained=True)
    assert all((parameter == 0.5).all() for parameter in network.erp_encoder.backbone.parameters())


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ({"fusion": "none"}, ("icosap_sampler", "icosap_encoder", "fusion")),
        ({"fusion": "semantic"}, ("fusion.distance_aware", "fusion.semantic_gate")),
        ({"fusion": "distance"}, ("fusion.semantic_aware", "fusion.distance_gate")),
        ({"cross_task": "none"}, ("cross_task.norms",)),
        ({"intermediate": False}, ("intermediate_heads.depth",)),
    ],
)
def test_omitted_parts(parts, missing):
    """They have no modules; all other parameters get gradients, and all tasks are predicted."""
    network = small_network(**parts)
    names = [name for name, _ in network.named_modules()]
    assert all(any(name.startswith(part) for name, _ in small_network().named_modules()) for part in missing)
    assert not [name for name in names if name.startswith(missing)]
    outputs = network(torch.rand(2, 3, 32, 64))
    assert set(outputs) == {*TASK_NAMES, "intermediate"}
    assert set(outputs["intermediate"]) == (set(TASK_NAMES) if parts.get("intermediate", True) else set())
    sum((x * torch.randn_like(x)).sum() for x in tree_leaves(outputs)).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_corrected_b2f_has_the_same_parameters():
    assert small_network(b2f="corrected").state_dict().keys() == small_network().state_dict().keys()


def test_constants_are_not_saved():
    saved = small_network().state_dict()
    assert not [key for key in saved if "neighbors" in key or "faces" in key or key in ("rgb_mean", "rgb_std")]


@pytest.mark.parametrize("shape", [(3, 64, 128), (1, 1, 64, 128), (1, 3, 60, 120), (1, 3, 64, 100), (1, 3, 0, 0)])
def test_wrong_shapes(shape):
    with pytest.raises(ValueError, match="multiples of 32"):
        small_network()(torch.rand(shape))


def test_unknown_backbone():
    with pytest.raises(UserError, match="Elite360M_Res18"):
        small_network(backbone="VGG")

"""VMM: predictions, parameters, its parts against plain formulas, and the interface to training."""

import math

import pytest
import torch
import torch.nn.functional as F

from networks.bifpn import InvertedBottleneck, SeparableConv, TriBiFPN
from networks.detection_head import DetectionHead
from networks.vmm import VMM
from utils.anchors import anchors_per_level
from utils.errors import UserError
from utils.tasks import PERSPECTIVE_TASK_NAMES as TASKS

SIZE = (70, 101)  # not a multiple of the strides
CHANNELS = {"segmentation": 5, "depth": 1, "normal": 3}


def build(**arguments) -> VMM:
    """A VMM that is small by default."""
    small = {"tasks": TASKS, "num_classes": 5, "backbone": "mobilenet_v2", "normal_size": 8, "pretrained": False}
    return VMM(**(small | arguments))


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def released() -> VMM:
    """The network of the paper's experiment on VOC and NYU v2."""
    with torch.device("meta"):
        return VMM(("detection", "segmentation", "depth"), 21, pretrained=False)


def test_number_of_parameters(released):
    """As in the released network."""
    parts = [released.backbone, released.transition, released.neck]
    heads = released.heads
    parts += [heads["detection"].boxes, heads["detection"].classes, heads["segmentation"], heads["depth"]]
    counts = [19_847_248, 31_104, 72_704, 34_248, 52_968, 26_730, 24_130]
    assert [num_parameters(part) for part in parts] == counts
    assert num_parameters(released) == sum(counts) == 20_089_132


@pytest.mark.parametrize(
    ("task", "count"), [("detection", 20_038_272), ("segmentation", 19_977_786), ("depth", 19_975_186)]
)
def test_number_of_parameters_with_a_single_task(task, count):
    with torch.device("meta"):
        assert num_parameters(VMM((task,), 21, pretrained=False)) == count


def test_stochastic_depth(released):
    """It grows to 0.2 over the 40 blocks of the backbone; the first blocks of stages have no residual connection."""
    probabilities = [m.p for name, m in released.backbone.named_modules() if name.endswith("stochastic_depth")]
    first_blocks = (2, 6, 10, 16, 25)
    assert probabilities == pytest.approx([0.2 * i / 40 for i in range(40) if i not in first_blocks])


@pytest.mark.parametrize("head_type", ["mbconv", "dsconv"])
@pytest.mark.parametrize(("cls_head", "num_logits"), [("sigmoid", 4), ("softmax", 5)])
def test_predictions(head_type, cls_head, num_logits):
    network = build(head_type=head_type, cls_head=cls_head).eval()
    with torch.no_grad():
        predictions = network(torch.rand(2, 3, *SIZE))
    assert tuple(predictions) == TASKS
    assert predictions["detection"].shape == (2, sum(anchors_per_level(SIZE)), 4 + num_logits)
    for task, channels in CHANNELS.items():
        assert predictions[task].shape == (2, channels, *SIZE)
    torch.testing.assert_close(predictions["normal"].norm(dim=1), torch.ones(2, *SIZE))


@pytest.mark.parametrize("head_type", ["mbconv", "dsconv"])
def test_order_of_anchors(head_type):
    """By level, row, column, then the three anchors of a location."""
    head = DetectionHead(4, 2, head_type, torch.nn.ReLU6, with_prior=True).eval()
    sizes = [(4, 6), (2, 3), (1, 2)]
    levels = tuple(torch.randn(1, 4, *size) for size in sizes)
    with torch.no_grad():
        found = head(levels)
        start = 0
        for level, (height, width) in enumerate(sizes):
            boxes, logits = (branch[level](levels[level])[0] for branch in (head.boxes, head.classes))
            for row in range(height):
                for col in range(width):
                    for anchor in range(3):
                        index = start + (row * width + col) * 3 + anchor
                        assert torch.equal(found[0, index, :4], boxes[4 * anchor : 4 * anchor + 4, row, col])
                        assert torch.equal(found[0, index, 4:], logits[2 * anchor : 2 * anchor + 2, row, col])
            start += 3 * height * width
    assert found.shape == (1, start, 6)


@pytest.mark.parametrize("head_type", ["mbconv", "dsconv"])
@pytest.mark.parametrize("cls_head", ["sigmoid", "softmax"])
def test_prior_of_classes(head_type, cls_head):
    """With sigmoids, the initial bias corresponds to probabilities of 0.01."""
    head = build(head_type=head_type, cls_head=cls_head).heads["detection"]
    last = [layers.pointwise if head_type == "dsconv" else layers.project[1] for layers in head.classes]
    biases = torch.cat([module.bias for module in last])
    assert torch.allclose(biases, torch.tensor(-math.log(99))) == (cls_head == "sigmoid")


def test_neck_against_its_formula():
    neck = TriBiFPN(lambda: InvertedBottleneck(4, 4, torch.nn.SiLU, stride=2)).eval()
    p3, p4, p5 = torch.randn(1, 4, 8, 12), torch.randn(1, 4, 4, 6), torch.randn(1, 4, 2, 3)
    with torch.no_grad():
        found = neck((p3, p4, p5))

        def up(x):
            return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

        o3 = p3 + up(p4 + up(p5))
        o4 = p4 + up(p5) + neck.down[0](o3)
        o5 = p5 + neck.down[1](o4)
    for ours, expected in zip(found, (o3, o4, o5), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(("activation", "function"), [(torch.nn.ReLU6, F.relu6), (torch.nn.SiLU, F.silu)])
@pytest.mark.parametrize("stride", [1, 2])
def test_inverted_bottleneck_against_its_formula(activation, function, stride):
    block = InvertedBottleneck(3, 5, activation, stride).eval()
    x = 4 * torch.randn(2, 3, 5, 7)
    with torch.no_grad():

        def layer(module, x, **options):
            conv, norm, *_ = module
            assert norm.eps == 1e-5
            x = F.conv2d(x, conv.weight, **options)
            return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

        hidden = function(layer(block.expand, x))
        hidden = function(layer(block.depthwise, hidden, padding=1, stride=stride, groups=6))
        torch.testing.assert_close(block(x), layer(block.project, hidden))


def test_activation_and_head_type():
    """The activation applies to transition, neck and detection head, the head type to neck and detection head."""
    network = build(head_type="dsconv", activation="silu")
    activations = {
        name: {type(m) for m in part.modules() if isinstance(m, (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.SiLU))}
        for name, part in (("transition", network.transition), ("neck", network.neck), *network.heads.items())
    }
    dense = {task: {torch.nn.ReLU6} for task in CHANNELS}
    assert activations == {"transition": {torch.nn.SiLU}, "neck": {torch.nn.SiLU}, "detection": set(), **dense}
    assert {type(down) for neck in network.neck for down in neck.down} == {SeparableConv}
    assert isinstance(network.heads["depth"][1], InvertedBottleneck)
    mbconv = build(activation="relu")
    assert type(mbconv.heads["detection"].boxes[0].expand[2]) is torch.nn.ReLU
    assert num_parameters(mbconv.neck) > num_parameters(network.neck)


@pytest.mark.parametrize("head_type", ["mbconv", "dsconv"])
def test_shared_and_own_parameters(head_type):
    """Each parameter is shared or belongs to one task, and only the losses of that task reach it."""
    network = build(head_type=head_type)
    groups = [network.shared_parameters(), *(network.own_parameters(task) for task in TASKS)]
    assert sorted(id(p) for group in groups for p in group) == sorted(id(p) for p in network.parameters())
    predictions = network(torch.rand(2, 3, 64, 64))
    for task in TASKS:
        gradients = torch.autograd.grad(
            predictions[task].square().sum(), list(network.parameters()), retain_graph=True, allow_unused=True
        )
        reached = {id(p) for p, grad in zip(network.parameters(), gradients, strict=True) if grad is not None}
        expected = {id(p) for p in (*network.shared_parameters(), *network.own_parameters(task))}
        assert reached == expected


@pytest.mark.parametrize("head_type", ["mbconv", "dsconv"])
def test_last_shared_weight(head_type):
    """It is the last convolution that all levels depend on."""
    network = build(head_type=head_type)
    levels = network.neck(tuple(torch.randn(2, 8, size, size) for size in (16, 8, 4)))
    convs = [m.weight for m in network.neck.modules() if isinstance(m, torch.nn.Conv2d)]
    shared = []
    for weight in convs:
        gradients = [torch.autograd.grad(x.sum(), weight, retain_graph=True, allow_unused=True)[0] for x in levels]
        if all(gradient is not None for gradient in gradients):
            shared.append(weight)
    assert network.last_shared_weight is shared[-1]
    assert any(network.last_shared_weight is parameter for parameter in network.shared_parameters())


def test_16_bits():
    """Predictions are float32."""
    network = build().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        predictions = network(torch.rand(1, 3, 64, 64))
    assert {prediction.dtype for prediction in predictions.values()} == {torch.float32}
    torch.testing.assert_close(predictions["normal"].norm(dim=1), torch.ones(1, 64, 64))


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16"])
def test_backbones_without_a_pyramid(backbone):
    with pytest.raises(UserError, match=f"--basenet {backbone}.*--arch VMM"):
        build(backbone=backbone)

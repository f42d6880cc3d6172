"""Checkpoints of DeepLab and VMM; test_checkpoint covers the parts that both programs share."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from networks.achievement_checkpoint import AchievementCheckpoint, AchievementSettings, load_achievement_checkpoint
from networks.checkpoint import ModelSettings, load_checkpoint
from networks.released_achievement import released_key
from networks.saved_network import find_mismatches, save_checkpoint
from utils.errors import LONGEST_LINE, UserError
from utils.tasks import ALONG_AXIS

DEEPLAB = AchievementSettings(
    backbone="mobilenet_v2",
    tasks=("segmentation", "normal"),
    height=48,
    width=64,
    dataset="SyntheticNYU",
    class_names=("wall", "floor", "sofa"),
    class_colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)),
    normal_size=8,
    output_stride=32,
    skip_connection=4,
    source={"classes": 3, "copy": "A", "agreement": 0.9, "axes": None},
)
VMM = replace(
    DEEPLAB,
    **{"arch": "VMM", "tasks": ("detection", "segmentation", "depth"), "activation": "silu", "cls_head": "softmax"},
)


@pytest.fixture(scope="module", params=[DEEPLAB, VMM], ids=lambda settings: settings.arch)
def settings(request) -> AchievementSettings:
    return request.param


@pytest.fixture(scope="module")
def network(settings):
    torch.manual_seed(0)
    return settings.build_network()


@pytest.fixture
def path(settings, network, tmp_path):
    save_checkpoint(tmp_path / "model.pth", settings, network, torch.nn.Identity(), epoch=3, balancing="dwa")
    return tmp_path / "model.pth"


def error_message(function, *arguments) -> str:
    """The message of the UserError that a call raises, a single short line."""
    with pytest.raises(UserError) as info:
        function(*arguments)
    message = str(info.value)
    assert "\n" not in message
    assert len(message) <= LONGEST_LINE
    return message


def test_round_trip(path, settings, network):
    checkpoint = load_achievement_checkpoint(path)
    assert checkpoint.settings == settings
    assert checkpoint.settings.depth_unit == ALONG_AXIS
    assert (checkpoint.epoch, checkpoint.balancing) == (3, "dwa")
    rgb = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        expected = network.eval()(rgb)
        found = checkpoint.build_network().eval()(rgb)
    assert tuple(found) == settings.tasks
    assert all(torch.equal(found[task], expected[task]) for task in found)


def test_checkpoint_of_the_other_program(path, tmp_path):
    message = error_message(load_checkpoint, path)
    assert str(path) in message
    assert "eval_achievement.py" in message
    other = tmp_path / "other.pth"
    elite360m = ModelSettings("Elite360M_Res18", ("depth",), 2, 64, 128, "Synthetic", ("wall",), ((1, 2, 3),))
    save_checkpoint(other, elite360m, torch.nn.Linear(1, 1), torch.nn.Identity(), epoch=1)
    message = error_message(load_achievement_checkpoint, other)
    assert str(other) in message
    assert "eval_elite360m.py" in message


def test_released_weights(settings, network, tmp_path):
    """A state dict of the released code, bare or nested; the other program's error names the right script."""
    state = {released_key(key): value for key, value in network.state_dict().items()}
    for name, content in (("bare.pth", state), ("nested.pth", {"epoch": 3, "model": state})):
        torch.save(content, tmp_path / name)
        checkpoint = load_achievement_checkpoint(tmp_path / name)
        found = checkpoint.settings
        for setting in ("arch", "backbone", "tasks", "normal_size"):
            assert getattr(found, setting) == getattr(settings, setting)
        if settings.arch == "VMM":
            assert (found.head_type, found.cls_head, found.activation) == ("mbconv", "softmax", "relu6")
        else:
            assert (found.output_stride, found.skip_connection) == (32, 4)
        assert len(found.class_names) == 3
        assert (found.height, found.width) == {"VMM": (640, 640), "DeepLab": (480, 640)}[settings.arch]
        built = checkpoint.build_network().state_dict()
        assert all(torch.equal(built[key], value) for key, value in network.state_dict().items())
        assert "eval_achievement.py" in error_message(load_checkpoint, tmp_path / name)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("backbone", "vgg16"),
        ("arch", "EfficientDet"),
        ("head_type", "conv"),
        ("activation", "gelu"),
        ("cls_head", "none"),
        ("output_stride", 4),
        ("skip_connection", -1),
        ("normal_size", 0),
        ("shared_head", "yes"),
        ("height", 0),
        ("source", None),
        ("tasks", ("flow",)),
        ("class_names", ()),
    ],
)
def test_invalid_settings(settings, tmp_path, setting, value):
    check_invalid(replace(settings, **{setting: value}), setting, tmp_path)


def test_invalid_combinations_of_settings(tmp_path):
    """DeepLab has no detection, VMM needs a pyramid, and detection needs classes."""
    check_invalid(replace(DEEPLAB, tasks=("detection", "depth")), "tasks", tmp_path)
    check_invalid(replace(VMM, backbone="resnet50"), "backbone", tmp_path)
    check_invalid(replace(VMM, tasks=("detection",), class_names=(), class_colours=()), "class_names", tmp_path)


def check_invalid(settings: AchievementSettings, setting: str, tmp_path: Path) -> None:
    """Check that a checkpoint with these settings is rejected and that the message names the setting."""
    save_checkpoint(tmp_path / "a.pth", settings, torch.nn.Identity(), torch.nn.Identity(), epoch=3)
    message = error_message(load_achievement_checkpoint, tmp_path / "a.pth")
    assert setting in message
    assert "a.pth" in message


@pytest.mark.parametrize("content", [{"weight": torch.zeros(1)}, [1]])
def test_other_file(tmp_path, content):
    """The message names the script whose checkpoints can be read."""
    torch.save(content, tmp_path / "a.pth")
    for load, script in ((load_achievement_checkpoint, "achievement"), (load_checkpoint, "elite360m")):
        message = error_message(load, tmp_path / "a.pth")
        assert "a.pth" in message
        assert f"train_{script}.py" in message


@pytest.mark.parametrize(
    ("required", "flag"),
    [
        (("resnet50", ("segmentation",), 3), "--basenet"),
        (("mobilenet_v2", ("flow",), 3), "--app"),
        (("mobilenet_v2", ("segmentation",), 40), "classes"),
    ],
)
def test_require(path, settings, required, flag):
    checkpoint = load_achievement_checkpoint(path)
    checkpoint.require("mobilenet_v2", settings.tasks[-1:], 40)
    message = error_message(checkpoint.require, *required)
    assert flag in message
    assert str(path) in message


@pytest.mark.parametrize(
    ("arch", "setting", "value", "flag"),
    [
        ("DeepLab", "tasks", ("normal",), "--app"),
        ("DeepLab", "normal_size", 9, "--normal_size"),
        ("DeepLab", "skip_connection", 0, "--skip_connection"),
        ("DeepLab", "output_stride", 8, "--output_stride"),
        ("DeepLab", "shared_head", False, "--shared_head"),
        ("DeepLab", "class_names", ("a",), "classes"),
        ("DeepLab", "arch", "VMM", "--arch"),
        ("VMM", "arch", "DeepLab", "--arch"),
        ("VMM", "head_type", "dsconv", "--head_type"),
        ("VMM", "activation", "relu", "--activation"),
        ("VMM", "cls_head", "sigmoid", "--cls_head"),
        ("VMM", "class_names", ("a",), "classes"),
    ],
)
def test_require_same_architecture(tmp_path, arch, setting, value, flag):
    """Image size and settings of the other architecture may differ."""
    settings = {"DeepLab": DEEPLAB, "VMM": VMM}[arch]
    checkpoint = AchievementCheckpoint(tmp_path / "model.pth", "", settings, {}, {})
    unused = {"DeepLab": {"head_type": "dsconv"}, "VMM": {"output_stride": 8}}[arch]
    checkpoint.require_same_architecture(replace(settings, height=96, width=96, **unused))
    message = error_message(checkpoint.require_same_architecture, replace(settings, **{setting: value}))
    assert flag in message
    assert "evaluate" not in message, "a remedy of evaluation only"
    assert "model.pth" in message


def test_classes_of_detection(tmp_path):
    """They are compared with the dataset's, also without segmentation."""
    only_detection = replace(VMM, tasks=("detection",))
    checkpoint = AchievementCheckpoint(tmp_path / "model.pth", "", only_detection, {}, {})
    checkpoint.require("mobilenet_v2", ("detection",), 3)
    assert "classes" in error_message(checkpoint.require, "mobilenet_v2", ("detection",), 21)
    other = replace(only_detection, class_names=("background", "floor", "sofa"))
    assert find_mismatches(only_detection, other, ("detection",))["detection"].truth == "background"
    assert not find_mismatches(only_detection, only_detection, ("detection",))

"""Checkpoints of DeepLab; what both programs share is tested in test_checkpoint."""

from dataclasses import replace

import pytest
import torch

from networks.achievement_checkpoint import AchievementSettings, load_achievement_checkpoint
from networks.checkpoint import ModelSettings, load_checkpoint
from networks.released_achievement import released_key
from networks.saved_network import save_checkpoint
from utils.errors import LONGEST_LINE, UserError
from utils.tasks import ALONG_AXIS

SETTINGS = AchievementSettings(
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


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SETTINGS.build_network()


@pytest.fixture
def path(network, tmp_path):
    save_checkpoint(tmp_path / "model.pth", SETTINGS, network, torch.nn.Identity(), epoch=3, balancing="dwa")
    return tmp_path / "model.pth"


def refused(load, *arguments) -> str:
    with pytest.raises(UserError) as info:
        load(*arguments)
    message = str(info.value)
    assert "\n" not in message
    assert len(message) <= LONGEST_LINE
    return message


def test_round_trip(path, network):
    checkpoint = load_achievement_checkpoint(path)
    assert checkpoint.settings == SETTINGS
    assert checkpoint.settings.depth_unit == ALONG_AXIS
    assert (checkpoint.epoch, checkpoint.balancing) == (3, "dwa")
    rgb = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        expected = network.eval()(rgb)
        found = checkpoint.build_network().eval()(rgb)
    assert list(found) == ["segmentation", "normal"]
    assert all(torch.equal(found[task], expected[task]) for task in found)


def test_each_program_refuses_the_checkpoints_of_the_other(path, tmp_path):
    message = refused(load_checkpoint, path)
    assert str(path) in message
    assert "eval_achievement.py" in message
    other = tmp_path / "other.pth"
    settings = ModelSettings("Elite360M_Res18", ("depth",), 2, 64, 128, "Synthetic", ("wall",), ((1, 2, 3),))
    save_checkpoint(other, settings, torch.nn.Linear(1, 1), torch.nn.Identity(), epoch=1)
    message = refused(load_achievement_checkpoint, other)
    assert str(other) in message
    assert "eval_elite360m.py" in message


def test_released_weights(network, tmp_path):
    """A bare state dict of the released code, or in a file with more; the other program refuses it by name."""
    state = {released_key(key): value for key, value in network.state_dict().items()}
    for name, content in (("bare.pth", state), ("whole.pth", {"epoch": 3, "model": state})):
        torch.save(content, tmp_path / name)
        checkpoint = load_achievement_checkpoint(tmp_path / name)
        settings = checkpoint.settings
        assert (settings.backbone, settings.tasks, settings.normal_size) == ("mobilenet_v2", SETTINGS.tasks, 8)
        assert (settings.output_stride, settings.skip_connection, len(settings.class_names)) == (32, 4, 3)
        built = checkpoint.build_network().state_dict()
        assert all(torch.equal(built[key], value) for key, value in network.state_dict().items())
        assert "eval_achievement.py" in refused(load_checkpoint, tmp_path / name)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("backbone", "vgg16"),
        ("arch", "VMM"),
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
def test_unknown_settings(network, tmp_path, setting, value):
    settings = replace(SETTINGS, **{setting: value})
    save_checkpoint(tmp_path / "a.pth", settings, network, torch.nn.Identity(), epoch=3)
    message = refused(load_achievement_checkpoint, tmp_path / "a.pth")
    assert setting in message
    assert "a.pth" in message


def test_a_file_of_something_else(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "a.pth")
    assert "a.pth" in refused(load_achievement_checkpoint, tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("asked", "flag"),
    [
        (("resnet50", ("normal",), 3), "--basenet"),
        (("mobilenet_v2", ("depth",), 3), "--app"),
        (("mobilenet_v2", ("segmentation",), 40), "classes"),
    ],
)
def test_a_checkpoint_of_another_network(path, asked, flag):
    checkpoint = load_achievement_checkpoint(path)
    checkpoint.require("mobilenet_v2", ("normal",), 40)
    message = refused(checkpoint.require, *asked)
    assert flag in message
    assert str(path) in message


@pytest.mark.parametrize(
    ("setting", "value", "flag"),
    [
        ("tasks", ("normal",), "--app"),
        ("normal_size", 9, "--normal_size"),
        ("skip_connection", 0, "--skip_connection"),
        ("output_stride", 8, "--output_stride"),
        ("shared_head", False, "--shared_head"),
        ("class_names", ("a",), "classes"),
    ],
)
def test_weights_to_start_from(path, setting, value, flag):
    checkpoint = load_achievement_checkpoint(path)
    checkpoint.require_same_architecture(replace(SETTINGS, height=96, width=96))
    message = refused(checkpoint.require_same_architecture, replace(SETTINGS, **{setting: value}))
    assert flag in message
    assert str(path) in message

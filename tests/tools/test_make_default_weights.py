"""The file of 16-bit weights, and `default` instead of a path."""

import numpy as np
import pytest
import torch

from networks import checkpoint as checkpoints
from networks.checkpoint import ModelSettings, load_checkpoint, open_checkpoint
from networks.saved_network import save_checkpoint
from options.elite360m import eval_parser
from options.panorama_prediction import demo_parser, export_parser, predict_parser
from prediction import load_elite360m
from tools import make_default_weights
from tools.make_default_weights import write_halved
from utils.errors import UserError

SETTINGS = ModelSettings(
    backbone="timm:test_efficientnet",
    tasks=("depth", "normal"),
    ico_level=2,
    height=32,
    width=64,
    dataset="Synthetic",
    class_names=("floor", "wall"),
    class_colours=((90, 70, 50), (150, 180, 220)),
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "model.pth"
    save_checkpoint(path, SETTINGS, SETTINGS.build_network(), torch.nn.Module(), epoch=3)
    return path


@pytest.fixture
def halved(original, tmp_path, monkeypatch):
    path = tmp_path / "weights" / "default.pth"
    write_halved(original, path)
    monkeypatch.setattr(checkpoints, "DEFAULT_WEIGHTS", path)
    return path


def test_kernels_have_16_bits_and_vectors_32(original, halved):
    before, after = load_checkpoint(original).network, load_checkpoint(halved).network
    assert before.keys() == after.keys()
    for key, value in before.items():
        is_kernel = value.ndim > 1 and value.is_floating_point()
        assert after[key].dtype == (torch.float16 if is_kernel else value.dtype)
        assert torch.equal(after[key], value.half() if is_kernel else value)
    assert halved.stat().st_size < 0.6 * original.stat().st_size


def test_default_is_loaded_in_32_bits(original, halved):
    assert open_checkpoint("default").path == halved
    model = load_elite360m()
    assert model.path == halved
    assert model.settings == SETTINGS
    assert model.epoch == 3
    network = open_checkpoint("default").build_network()
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32, torch.int64}
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    np.testing.assert_allclose(model.predict(image).depth, load_elite360m(original).predict(image).depth, rtol=0.02)


def test_missing_file(halved):
    halved.unlink()
    with pytest.raises(UserError) as info:
        load_elite360m()
    assert str(halved) in str(info.value)
    assert "\n" not in str(info.value)


def test_path_named_default(halved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="default does not exist"):
        open_checkpoint("./default")


def test_large_files_and_changed_predictions_are_rejected(original, tmp_path, monkeypatch):
    monkeypatch.setattr(make_default_weights, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="MB"):
        write_halved(original, tmp_path / "out.pth")
    monkeypatch.undo()
    monkeypatch.setattr(make_default_weights, "halved", torch.zeros_like)
    with pytest.raises(UserError, match="16 bits"):
        write_halved(original, tmp_path / "out.pth")
    assert not list(tmp_path.iterdir())


def test_help_mentions_default():
    for parser in (predict_parser(), demo_parser(), export_parser(), eval_parser()):
        assert "default: the weights in this repository" in " ".join(parser.format_help().split())

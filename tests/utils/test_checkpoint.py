"""Checkpoints: written whole, read safely, refused with one clear line."""

import pickle
from dataclasses import replace

import pytest
import torch

from datasets.classes import STANFORD2D3D
from networks.released_weights import LOG_VARIANCES_KEY, released_key
from tasks import build_objective
from utils.checkpoint import ModelSettings, find_checkpoint, load_checkpoint, save_checkpoint
from utils.errors import UserError

SETTINGS = ModelSettings(
    backbone="Elite360M_Res18",
    tasks=("depth", "normal", "segmentation"),
    ico_level=2,
    height=64,
    width=128,
    dataset="Synthetic",
    class_names=STANFORD2D3D.names,
    class_colours=STANFORD2D3D.colours,
)


@pytest.fixture(scope="module")
def objective():
    return build_objective(SETTINGS.build_network())


@pytest.fixture
def path(objective, tmp_path):
    path = tmp_path / "models" / "weights_last" / "last_model.pth"
    save_checkpoint(path, SETTINGS, objective.network, objective.balancing, epoch=3)
    return path


def test_round_trip(path, objective):
    checkpoint = load_checkpoint(path)
    assert checkpoint.settings == SETTINGS
    assert checkpoint.epoch == 3
    network = checkpoint.build_network().eval()
    rgb = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        expected = objective.network.eval()(rgb)["depth"]
        assert torch.equal(network(rgb)["depth"], expected)
    assert checkpoint.weighting.keys() == {"log_variances"}


def test_found_by_file_run_folder_or_log_dir(path, tmp_path):
    assert find_checkpoint(path) == path
    assert find_checkpoint(tmp_path) == path
    assert find_checkpoint(tmp_path.parent, tmp_path.relative_to(tmp_path.parent)) == path


def test_missing(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        find_checkpoint(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"last_model.pth"):
        find_checkpoint(tmp_path)


def test_code_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    for name, write in (
        ("torch.pth", torch.save),
        ("plain.pth", lambda x, p: p.write_bytes(pickle.dumps(x, protocol=2))),
    ):
        file = tmp_path / name
        # Pickled by torch, and by pickle alone.
        write({"format": "elite360m", "network": Bomb()}, file)
        with pytest.raises(UserError, match=rf"{name}.*could run code"):
            load_checkpoint(file)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kept", [0, 10, 1000, -1000])
def test_truncated(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"last_model.pth.*damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [[1, 2], {"weights": torch.zeros(2)}, torch.zeros(3), {1: 2}])
def test_foreign(tmp_path, content):
    file = tmp_path / "foreign.pth"
    torch.save(content, file)
    with pytest.raises(UserError, match=r"foreign.pth is neither"):
        load_checkpoint(file)


def test_incomplete(path):
    content = torch.load(path, weights_only=True)
    for key in ("settings", "network", "epoch"):
        torch.save({k: v for k, v in content.items() if k != key}, path)
        with pytest.raises(UserError, match=rf"incomplete checkpoint.*{key}"):
            load_checkpoint(path)
    torch.save({**content, "version": 99}, path)
    with pytest.raises(UserError, match="version 99"):
        load_checkpoint(path)


def test_weights_that_do_not_fit(path):
    checkpoint = load_checkpoint(path)
    wrong = replace(checkpoint, settings=replace(SETTINGS, tasks=("depth", "normal")))
    with pytest.raises(UserError, match="do not fit the network") as error:
        wrong.build_network()
    assert "\n" not in str(error.value)


def test_require(path):
    checkpoint = load_checkpoint(path)
    checkpoint.require("Elite360M_Res18", ("depth",), num_classes=41)  # depth knows no classes
    with pytest.raises(UserError, match="holds Elite360M_Res18, not Elite360M_Res50"):
        checkpoint.require("Elite360M_Res50", ("depth",), 13)
    with pytest.raises(UserError, match=r"13 classes apart.*but the dataset has 41"):
        checkpoint.require("Elite360M_Res18", ("segmentation",), 41)
    depth_only = replace(checkpoint, settings=replace(SETTINGS, tasks=("depth",)))
    with pytest.raises(UserError, match="trained for depth, not for normal"):
        depth_only.require("Elite360M_Res18", ("depth", "normal"), 13)


def test_weights_of_the_released_program(tmp_path, objective):
    state = {released_key(key): value for key, value in objective.network.state_dict().items()}
    file = tmp_path / "released.pth"
    torch.save(state | {LOG_VARIANCES_KEY: torch.tensor([0.1, 0.2, 0.3])}, file)
    checkpoint = load_checkpoint(file)
    assert checkpoint.settings.backbone == "Elite360M_Res18"
    assert (checkpoint.settings.height, checkpoint.settings.width, checkpoint.settings.ico_level) == (512, 1024, 4)
    assert len(checkpoint.settings.class_names) == len(set(checkpoint.settings.class_colours)) == 13
    assert checkpoint.weighting["log_variances"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    loaded = checkpoint.build_network().state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in objective.network.state_dict().items())

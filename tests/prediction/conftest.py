"""Small networks of both programs with random weights, and prediction of files with one of them."""

import pytest
import torch

import predict_elite360m
from networks.achievement_checkpoint import AchievementSettings
from networks.checkpoint import ModelSettings
from networks.saved_network import save_checkpoint
from options.panorama_prediction import predict_parser
from prediction import load_achievement, load_elite360m


@pytest.fixture(scope="session")
def settings():
    return ModelSettings(
        backbone="timm:test_efficientnet",
        tasks=("depth", "normal", "segmentation"),
        ico_level=2,
        height=32,
        width=64,
        dataset="Synthetic",
        class_names=("floor", "wall", "door"),
        class_colours=((90, 70, 50), (150, 180, 220), (214, 39, 40)),
    )


@pytest.fixture(scope="session")
def checkpoint(settings, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    save_checkpoint(path, settings, settings.build_network(), torch.nn.Module(), epoch=7)
    return path


@pytest.fixture(scope="session")
def model(checkpoint):
    return load_elite360m(checkpoint)


@pytest.fixture
def predict(checkpoint, tmp_path):
    """Predicts files in this process; returns the exit code."""

    def predict(*arguments) -> int:
        arguments = ["--checkpoint", checkpoint, "--out", tmp_path / "out", *arguments]
        return predict_elite360m.main(predict_parser().parse_args(list(map(str, arguments))))

    return predict


@pytest.fixture(scope="session")
def perspective_settings():
    return AchievementSettings(
        backbone="mobilenet_v2",
        tasks=("segmentation", "depth", "normal"),
        height=48,
        width=64,
        dataset="SyntheticNYU",
        class_names=("wall", "floor", "sofa"),
        class_colours=((150, 180, 220), (90, 70, 50), (227, 119, 194)),
        normal_size=8,
        output_stride=32,
        skip_connection=4,
    )


@pytest.fixture(scope="session")
def perspective_checkpoint(perspective_settings, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "deeplab.pth"
    network = perspective_settings.build_network()
    network.heads["depth"][1].bias.data.fill_(2)  # meters, so that all points are in front of the camera
    save_checkpoint(path, perspective_settings, network, torch.nn.Module(), epoch=7)
    return path


@pytest.fixture(scope="session")
def perspective_model(perspective_checkpoint):
    return load_achievement(perspective_checkpoint)

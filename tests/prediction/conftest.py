"""A small network with random weights, as a checkpoint."""

import pytest
import torch

from networks.checkpoint import ModelSettings
from networks.saved_network import save_checkpoint
from prediction import load_elite360m


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

"""The weights in the repository: size, settings and accuracy."""

import numpy as np
import torch

from datasets.classes import STANFORD2D3D
from datasets.synthetic import SyntheticRooms
from networks.checkpoint import DEFAULT_WEIGHTS, open_checkpoint
from prediction import load_elite360m
from utils.tasks import METERS, TASK_NAMES

ROOMS = 3


def test_file_size_and_settings():
    assert DEFAULT_WEIGHTS.stat().st_size <= 25_000_000
    checkpoint = open_checkpoint("default")
    settings = checkpoint.settings
    assert settings.tasks == TASK_NAMES
    assert (settings.dataset, settings.depth_unit, settings.normal_frame) == ("Synthetic", METERS, "camera")
    assert settings.class_names == STANFORD2D3D.names
    kernels = [value for value in checkpoint.network.values() if value.ndim > 1 and value.is_floating_point()]
    assert {value.dtype for value in kernels} == {torch.float16}


def test_accuracy_on_unseen_rooms():
    model = load_elite360m()
    height, width = model.settings.height, model.settings.width
    rooms = SyntheticRooms("test", ROOMS, height, width, rooms="varied")
    depth_errors, angles, agreement = [], [], []
    for index in range(ROOMS):
        room = rooms.read(index)
        result = model.predict(room.rgb)
        depth_errors.append(np.abs(result.depth / room.depth - 1).mean())
        cosine = (result.normal * room.normal).sum(-1).clip(-1, 1)
        angles.append(np.degrees(np.arccos(cosine)).mean())
        agreement.append((result.labels == room.semantic).mean())
    assert np.mean(depth_errors) < 0.2
    assert np.mean(angles) < 15
    assert np.mean(agreement) > 0.75

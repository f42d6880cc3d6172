"""What the files say where a network means something else by its numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from prediction import load_elite360m
from prediction.files import ResultFiles
from prediction.inputs import Job
from prediction.pictures import Picture
from utils.checkpoint import save_checkpoint
from utils.tasks import RELATIVE


@pytest.fixture
def described(settings, tmp_path):
    """From changes of the settings to the folder of results, and what they say of themselves."""

    def predict(tone_mapped: bool = False, **changes) -> tuple:
        changed = replace(settings, **changes)
        save_checkpoint(tmp_path / "model.pth", changed, changed.build_network(), torch.nn.Module(), epoch=1)
        model = load_elite360m(tmp_path / "model.pth")
        job = Job(tmp_path / "room.hdr", tmp_path / "out" / "room")
        job.picture.touch()
        picture = Picture(np.zeros((32, 64, 3), np.uint8), tone_mapped)
        files = ResultFiles(model, ["depth", "ply"], tta=1, overwrite=False)
        assert not files.are_there(job)
        files.write(job, picture, model.predict(picture.rgb))
        assert files.are_there(job)
        return tmp_path / "out", json.loads((tmp_path / "out" / "room.json").read_text())

    return predict


def test_relative_depth_is_no_metres(described):
    out, told = described(depth_unit=RELATIVE)
    assert told["depth"] == {"unit": RELATIVE, "depth.png": "16 bits, thousandths of the unit"}
    assert RELATIVE.encode() in (out / "room_points.ply").read_bytes()[:300]


def test_normals_of_the_world(described):
    """The points come without them, and the file says in which frame they are."""
    out, told = described(normal_frame="world")
    assert told["normal"]["frame"] == "world"
    header = (out / "room_points.ply").read_bytes().partition(b"end_header\n")[0]
    assert b"property uchar label" in header
    assert b"nx" not in header


def test_tone_mapping_is_told(described):
    assert "Reinhard" in described(tone_mapped=True)[1]["input"]["tone_mapping"]

"""Frames of videos, written by OpenCV."""

import json

import cv2
import numpy as np
import pytest
import trimesh

from prediction.naming import Job
from prediction.video import VideoReader, frame_jobs
from utils.errors import UserError
from visual.drawing import save_image

LEVELS = (20, 70, 120, 170, 220)  # of gray, frame by frame


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "walks" / "walk.avi"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 64))
    for level in LEVELS:
        writer.write(np.full((64, 128, 3), level, np.uint8))
    writer.release()
    return path


def test_frames(video):
    reader = VideoReader(video)
    assert (reader.num_frames, reader.rate) == (5, 10)
    for number in (1, 2, 4, 5, 3):  # the last one is before the current position
        assert abs(int(reader.frame(number).mean()) - LEVELS[number - 1]) <= 2
    with pytest.raises(UserError, match=r"walk.avi: frame 6"):
        reader.frame(6)


def test_jobs(video, tmp_path):
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(bytes(100))
    image = Job(tmp_path / "a.png", tmp_path / "out" / "a")
    jobs, problems = frame_jobs([image, Job(video, tmp_path / "out" / "walk"), Job(damaged, tmp_path / "x")], every=2)
    assert jobs == [image, *(Job(video, tmp_path / "out" / "walk" / f"frame_00000{n}", n) for n in (1, 3, 5))]
    (problem,) = problems
    assert "damaged.mp4" in problem


def test_command(predict, video, tmp_path, capsys):
    """A folder of images and videos; a second run reuses all frames."""
    save_image(video.with_name("room.png"), np.full((32, 64, 3), 90, np.uint8))
    command = ("--input", video.parent, "--save", "depth", "panel", "--every", 2, "--batch_size", 2, "--video")
    assert predict(*command) == 0
    assert "4 predicted" in capsys.readouterr().out
    results = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.npy")}
    assert results == {"room_depth.npy", *(f"walk/frame_00000{number}_depth.npy" for number in (1, 3, 5))}
    assert json.loads((tmp_path / "out/walk/frame_000003.json").read_text())["input"]["frame"] == 3
    panel = cv2.imread(str(tmp_path / "out/walk/frame_000001_panel.png"))
    joined = VideoReader(tmp_path / "out" / "walk_panel.mp4")
    assert (joined.num_frames, joined.rate) == (3, 5)
    assert joined.frame(1).shape[1] == panel.shape[1]
    assert predict(*command) == 0
    assert "0 predicted, 4 exist already" in capsys.readouterr().out


def test_mesh_texture(predict, video, tmp_path):
    """The texture is the frame at its full size."""
    assert predict("--input", video, "--save", "mesh", "--every", 4) == 0
    for frame in (1, 5):
        path = tmp_path / f"out/walk/frame_00000{frame}_mesh.glb"
        (mesh,) = trimesh.load(path).geometry.values()
        texture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
        assert texture.shape == (64, 128, 3)
        assert abs(texture.mean() - LEVELS[frame - 1]) <= 2


def test_video_without_panels(predict, video):
    with pytest.raises(UserError, match=r"--video.*--save"):
        predict("--input", video, "--save", "depth", "--video")

"""Preparing synthetic rooms, in the published encodings of Stanford2D3D, for --dataset S2D3D."""

import functools
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets import build_dataset
from datasets.panorama import Panorama
from datasets.synthetic import SyntheticRooms
from tools import prepare_stanford2d3d

RAW_HEIGHT, HEIGHT = 128, 64
CLASSES = [
    *("beam", "board", "bookcase", "ceiling", "chair", "clutter", "column"),
    *("door", "floor", "sofa", "table", "wall", "window"),
]
INSTANCES = 30  # per class in the list of labels, enough for indices above 255, which need a second channel
SUFFIXES = {"pose": "_pose.json", "rgb": "_rgb.png", "depth": "_depth.png", "semantic": "_semantic.png"}
SUFFIXES["normal"] = "_normals.png"
MODALITIES = ("rgb", "depth", "semantic", "normal")

# From our camera axes (x right, y down, z forward) to possible axes of the owners' camera.
RIGHT_DOWN_FORWARD = np.eye(3)
RIGHT_UP_BACK = np.diag([1.0, -1.0, -1.0])
RIGHT_FORWARD_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])

# Regions of the raw panoramas, in raw pixels.
NO_DEPTH = np.s_[40:60, 20:60]
NO_NORMAL = np.s_[50:80, 100:140]
BLACK = np.s_[100:128, :]
UNKNOWN_COLOR = np.s_[60:70, 150:170]
UNKNOWN_ENTRY = np.s_[60:70, 180:200]


@dataclass
class Raw:
    """A published panorama: its room and its files."""

    room: Panorama
    root: Path
    area: str
    stem: str

    def file(self, modality: str) -> Path:
        return self.root / self.area / "pano" / modality / (self.stem + SUFFIXES[modality])


def write_label_list(path: Path) -> None:
    entries = ["<UNK>_0_<UNK>_0_0"]
    entries += [f"{name}_{i}_office_{i}_1" for name in CLASSES for i in range(INSTANCES)]
    path.write_text(json.dumps(entries))


@functools.cache
def room_of(index: int) -> Panorama:
    return SyntheticRooms("train", index + 1, RAW_HEIGHT, 2 * RAW_HEIGHT).read(index)


def write_raw(
    root: Path, area: str, index: int, axes: np.ndarray = RIGHT_DOWN_FORWARD, transposed: bool = True, yaw: float = 0.6
) -> Raw:
    """Write a room in the owners' format; the camera's right axis is rotated by `yaw` from the building's x axis.

    `axes` and `transposed` define the pose: the matrix, or its transpose, maps from the building to the axes.
    """
    room = room_of(index)
    raw = Raw(room, root, area, f"camera_{index:032x}_office_{index}_frame_equirectangular_domain")
    for modality in SUFFIXES:
        raw.file(modality).parent.mkdir(parents=True, exist_ok=True)

    colors = np.dstack([room.rgb, np.full(room.rgb.shape[:2], 255, np.uint8)])
    colors[BLACK] = 0
    Image.fromarray(colors, "RGBA").save(raw.file("rgb"))

    units = np.rint(room.depth * 512).astype(np.uint16)
    units[NO_DEPTH] = 65535
    Image.fromarray(units).save(raw.file("depth"))

    number = 1 + room.semantic.astype(int) * INSTANCES + np.arange(2 * RAW_HEIGHT) % INSTANCES
    colors = np.dstack([number // 65536, number // 256 % 256, number % 256]).astype(np.uint8)
    colors[UNKNOWN_COLOR] = 13
    colors[UNKNOWN_ENTRY] = 0
    Image.fromarray(colors).save(raw.file("semantic"))

    # Our camera's axes x right, y down, z forward as columns, in a building with z up.
    cos, sin = np.cos(yaw), np.sin(yaw)
    building_from_camera = np.array([[cos, 0, -sin], [sin, 0, cos], [0, -1, 0]])
    colors = np.rint(127.5 * room.normal @ building_from_camera.T + 127.5).astype(np.uint8)
    colors[NO_NORMAL] = 128
    Image.fromarray(colors).save(raw.file("normal"))

    to_axes = axes @ building_from_camera.T
    matrix = np.hstack([to_axes.T if transposed else to_axes, [[1.5], [-2.0], [1.2]]])
    raw.file("pose").write_text(json.dumps({"camera_rt_matrix": matrix.tolist(), "room": "office_1"}))
    return raw


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Runs the tool on tmp_path/raw and tmp_path/out in this process; returns its exit code."""
    raw = tmp_path / "raw"
    raw.mkdir()
    write_label_list(raw / "semantic_labels.json")

    def run(*more: str) -> int:
        arguments = ["--raw", raw, "--out", tmp_path / "out", "--height", HEIGHT, "--num_workers", 0, *more]
        monkeypatch.setattr(sys, "argv", ["prepare_stanford2d3d.py", *map(str, arguments)])
        try:
            prepare_stanford2d3d.main()
        except SystemExit as end:
            return end.code
        return 0

    return run


def sampled(array: np.ndarray) -> np.ndarray:
    """Half the size, by nearest neighbor: centers lie between two raw pixels, of which the later one is taken."""
    return array[1::2, 1::2]


def region_mask(region: tuple[slice, slice]) -> np.ndarray:
    """Mask of a region at half the size."""
    mask = np.zeros((RAW_HEIGHT, 2 * RAW_HEIGHT), bool)
    mask[region] = True
    return sampled(mask)


def outputs(out: Path, raw: Raw) -> list[Path]:
    return [out / raw.area / modality / (raw.stem + SUFFIXES[modality]) for modality in MODALITIES]


def degrees_off(sample: dict, room: Panorama) -> np.ndarray:
    """Angles between the normals of a sample and of its room, where the sample has normals."""
    normal = sample["normal"].permute(1, 2, 0).double().numpy()
    cosines = (normal * sampled(room.normal)).sum(-1)[sample["normal_mask"][0].numpy()]
    return np.degrees(np.arccos(cosines.clip(-1, 1)))


def test_round_trip(tool, tmp_path, capsys):
    rooms = {"train": write_raw(tmp_path / "raw", "area_1", 0), "test": write_raw(tmp_path / "raw", "area_5b", 1)}
    assert tool() == 0
    printed = capsys.readouterr().out
    assert "2 panoramas prepared, 0 skipped (exist already), 0 unusable" in printed
    assert "normals: 2 panoramas with the transpose of camera_rt_matrix and axes (x, y, z), median angle" in printed
    for split, raw in rooms.items():
        dataset = build_dataset("S2D3D", str(tmp_path / "out"), split, HEIGHT, 2 * HEIGHT)
        assert [files.rgb for files in dataset.files] == [f"{raw.area}/rgb/{raw.stem}_rgb.png"]
        sample = dataset[0]

        means = raw.room.rgb.reshape(HEIGHT, 2, 2 * HEIGHT, 2, 3).mean(axis=(1, 3))
        means[region_mask(BLACK)] = 0
        assert np.abs(sample["rgb"].permute(1, 2, 0).numpy() * 255 - means).max() <= 1

        depth, known = sample["depth"][0].numpy(), sample["depth_mask"][0].numpy()
        np.testing.assert_array_equal(known, ~region_mask(NO_DEPTH))
        assert np.abs(depth - sampled(raw.room.depth))[known].max() <= 0.5 / 512 + 1e-6
        assert not depth[~known].any()

        ignored = region_mask(BLACK) | region_mask(UNKNOWN_COLOR) | region_mask(UNKNOWN_ENTRY)
        labels = np.where(ignored, -1, sampled(raw.room.semantic))
        np.testing.assert_array_equal(sample["semantic"].numpy(), labels)

        np.testing.assert_array_equal(sample["normal_mask"][0].numpy(), ~region_mask(NO_NORMAL))
        assert degrees_off(sample, raw.room).max() < 1
        stored = np.array(Image.open(outputs(tmp_path / "out", raw)[3]))
        assert not stored[region_mask(NO_NORMAL)].any()


def test_sizes_and_types(tool, tmp_path):
    raw = write_raw(tmp_path / "raw", "area_3", 0)
    assert tool() == 0
    images = [np.array(Image.open(path)) for path in outputs(tmp_path / "out", raw)]
    size = (HEIGHT, 2 * HEIGHT)
    assert [image.shape for image in images] == [(*size, 3), size, size, (*size, 3)]
    assert [image.dtype for image in images] == [np.uint8, np.uint16, np.uint8, np.uint8]
    assert (images[1][region_mask(NO_DEPTH)] == 65535).all()
    assert set(np.unique(images[2])) <= {*range(13), 255}


@pytest.mark.parametrize("yaw", [0.6, -2.3])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize(
    ("axes", "names"),
    [
        (RIGHT_DOWN_FORWARD, "(x, y, z)"),
        (RIGHT_UP_BACK, "(x, -y, -z)"),
        (RIGHT_FORWARD_UP, "(x, -z, y)"),
    ],
)
def test_pose_conventions(tool, tmp_path, capsys, axes, names, transposed, yaw):
    raw = write_raw(tmp_path / "raw", "area_1", 0, axes, transposed, yaw)
    assert tool() == 0
    matrix = "the transpose of camera_rt_matrix" if transposed else "camera_rt_matrix itself"
    assert f"normals: 1 panoramas with {matrix} and axes {names}, median angle to the depth" in capsys.readouterr().out
    sample = build_dataset("S2D3D", str(tmp_path / "out"), "train", HEIGHT, 2 * HEIGHT)[0]
    assert degrees_off(sample, raw.room).max() < 1


def test_normals_away_from_the_camera(tool, tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", "area_1", 0)
    Image.fromarray(255 - np.array(Image.open(raw.file("normal")))).save(raw.file("normal"))
    assert tool() == 0
    assert "the transpose of camera_rt_matrix and axes (-x, -y, -z), median angle" in capsys.readouterr().out
    sample = build_dataset("S2D3D", str(tmp_path / "out"), "train", HEIGHT, 2 * HEIGHT)[0]
    assert degrees_off(sample, raw.room).max() < 1


@pytest.mark.parametrize("yaw", [0.0, 0.001, -0.001])
def test_documented_convention_wins_ties(tool, tmp_path, capsys, yaw):
    write_raw(tmp_path / "raw", "area_1", 0, RIGHT_FORWARD_UP, transposed=False, yaw=yaw)  # nearly the identity
    assert tool() == 0
    assert "1 panoramas with the transpose of camera_rt_matrix and axes (x, -z, y)" in capsys.readouterr().out


def test_resuming(tool, tmp_path, capsys):
    first, second = (write_raw(tmp_path / "raw", "area_1", index) for index in (0, 1))
    assert tool() == 0
    files = outputs(tmp_path / "out", first) + outputs(tmp_path / "out", second)
    content = [path.read_bytes() for path in files]
    written = [path.stat().st_mtime_ns for path in files]
    assert tool() == 0
    assert [path.stat().st_mtime_ns for path in files] == written
    capsys.readouterr()

    files[5].unlink()
    assert tool() == 0
    assert "1 panoramas prepared, 1 skipped (exist already), 0 unusable" in capsys.readouterr().out
    assert [path.read_bytes() for path in files] == content
    assert [path.stat().st_mtime_ns for path in files[:4]] == written[:4]


def truncate(raw: Raw) -> Path:
    path = raw.file("semantic")
    path.write_bytes(path.read_bytes()[:-600])
    return path


def scratch(raw: Raw) -> Path:
    path = raw.file("depth")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(20) + content[middle + 20 :])
    return path


def remove_pose(raw: Raw) -> Path:
    raw.file("pose").unlink()
    return raw.file("pose")


def remove_rgb(raw: Raw) -> Path:
    raw.file("rgb").unlink()
    return raw.file("rgb")


def damage_pose(raw: Raw) -> Path:
    raw.file("pose").write_text('{"camera_rt_matrix": [[1, 0')
    return raw.file("pose")


def stretch_rotation(raw: Raw) -> Path:
    raw.file("pose").write_text(json.dumps({"camera_rt_matrix": (1.1 * np.eye(3, 4)).tolist()}))
    return raw.file("pose")


def mirror_rotation(raw: Raw) -> Path:
    raw.file("pose").write_text(json.dumps({"camera_rt_matrix": (-np.eye(3, 4)).tolist()}))
    return raw.file("pose")


def crop_depth(raw: Raw) -> Path:
    depth = np.array(Image.open(raw.file("depth")))
    Image.fromarray(depth[32:96, 64:192]).save(raw.file("depth"))
    return raw.file("depth")


def crop_width(raw: Raw) -> Path:
    Image.open(raw.file("rgb")).crop((0, 0, 200, RAW_HEIGHT)).save(raw.file("rgb"))
    return raw.file("rgb")


def turn_a_little(raw: Raw) -> Path:
    """A pose whose heading is off by 35 degrees: level surfaces still fit."""
    path = raw.file("pose")
    matrix = np.array(json.loads(path.read_text())["camera_rt_matrix"])
    cos, sin = np.cos(np.radians(35)), np.sin(np.radians(35))
    matrix[:, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ matrix[:, :3]
    path.write_text(json.dumps({"camera_rt_matrix": matrix.tolist()}))
    return raw.file("normal")


def turn_normals(raw: Raw) -> Path:
    """Normals that fit no pose: upside down and shifted."""
    colors = np.array(Image.open(raw.file("normal")))
    Image.fromarray(np.roll(colors[::-1], 37, axis=1)).save(raw.file("normal"))
    return raw.file("normal")


def lose_depth(raw: Raw) -> Path:
    Image.fromarray(np.full((RAW_HEIGHT, 2 * RAW_HEIGHT), 65535, np.uint16)).save(raw.file("depth"))
    return raw.file("normal")


def gray_semantic(raw: Raw) -> Path:
    Image.open(raw.file("semantic")).convert("L").save(raw.file("semantic"))
    return raw.file("semantic")


def color_depth(raw: Raw) -> Path:
    shutil.copy(raw.file("rgb"), raw.file("depth"))
    return raw.file("depth")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "is truncated"),
        (scratch, "is damaged"),
        (remove_pose, "is missing"),
        (remove_rgb, "is missing"),
        (damage_pose, "holds no camera_rt_matrix, or is damaged"),
        (stretch_rotation, "camera_rt_matrix"),
        (mirror_rotation, "camera_rt_matrix"),
        (crop_depth, "is 128x64, but its RGB"),
        (crop_width, "is 200x128: an ERP image is twice as wide as high"),
        (turn_a_little, "the normals do not fit the depth"),
        (turn_normals, "the normals do not fit the depth"),
        (lose_depth, "too few pixels have both a normal and a depth"),
        (gray_semantic, "holds 8-bit gray pixels: expected 8-bit color"),
        (color_depth, "holds 8-bit color pixels: expected 16-bit gray"),
    ],
)
def test_unusable_panorama(tool, tmp_path, capsys, damage, reason):
    """It is named with the reason, and nothing of it is written."""
    bad, good = write_raw(tmp_path / "raw", "area_1", 0), write_raw(tmp_path / "raw", "area_1", 1)
    path = damage(bad)
    assert tool() == 1
    printed = capsys.readouterr()
    assert "1 panoramas prepared, 0 skipped (exist already), 1 unusable" in printed.out
    line = next(line for line in printed.err.splitlines() if line.startswith("not used: "))
    assert str(path) in line
    assert reason in line
    written = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written == sorted(outputs(tmp_path / "out", good))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        ("[1, 2", "is not a JSON file"),
        ("[]", "expected a list of strings"),
        ("{}", "expected a list of strings"),
        ("[1, 2]", "expected a list of strings"),
        ('["<UNK>_0_<UNK>_0_0", "lamp_1_office_1_1"]', "'lamp_1_office_1_1' does not begin with a known class"),
    ],
)
def test_unusable_label_list(tool, tmp_path, capsys, content, message):
    write_raw(tmp_path / "raw", "area_1", 0)
    path = tmp_path / "raw" / "semantic_labels.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert tool() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert str(path) in line
    assert message in line
    assert not (tmp_path / "out").exists()


def test_label_list_option(tool, tmp_path):
    write_raw(tmp_path / "raw", "area_1", 0)
    (tmp_path / "raw" / "semantic_labels.json").rename(tmp_path / "labels.json")
    assert tool("--semantic_labels", str(tmp_path / "labels.json")) == 0


def test_no_panorama(tool, capsys):
    assert tool() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --raw ")
    assert "holds no published panoramas" in line


def test_raw_is_required(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["prepare_stanford2d3d.py", "--out", "there"])
    with pytest.raises(SystemExit) as end:
        prepare_stanford2d3d.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "--raw" in line


@pytest.mark.slow  # a process that imports torch
def test_worker_process(tool, tmp_path, capsys):
    rooms = [write_raw(tmp_path / "raw", "area_1", index) for index in range(3)]
    remove_pose(rooms[1])
    assert tool("--num_workers", "1") == 1
    assert f"not used: {rooms[1].file('pose')} is missing" in capsys.readouterr().err
    dataset = build_dataset("S2D3D", str(tmp_path / "out"), "train", HEIGHT, 2 * HEIGHT)
    assert len(dataset) == 2
    for sample, raw in zip((dataset[0], dataset[1]), (rooms[0], rooms[2]), strict=True):
        assert sample["normal"].dtype == torch.float32
        assert degrees_off(sample, raw.room).max() < 1

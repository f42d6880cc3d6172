"""Preparing archives of Structured3D for --dataset Struc3D."""

import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import build_dataset
from datasets.preparation.synthetic_layouts import Struc3D, encode
from datasets.synthetic import SyntheticRooms
from tools import prepare_structured3d

HEIGHT = 32
FILES = {"rgb": "rgb_rawlight", "depth": "depth", "semantic": "semantic", "normal": "normal"}
ROOMS = {  # by archive
    "Structured3D_panorama_00.zip": ["00000/485142", "00000/485150"],
    "Structured3D_panorama_01.zip": ["01155/495082", "03000/7", "03250/2001"],  # the first scene is invalid
}


@pytest.fixture(scope="module")
def images():
    room = SyntheticRooms("train", 1, HEIGHT, 2 * HEIGHT).read(0)
    return encode(room, Struc3D())


@pytest.fixture
def raw(images, tmp_path) -> Path:
    data = {}
    for kind, image in images.items():
        stored = image[..., ::-1] if image.ndim == 3 else image
        data[kind] = cv2.imencode(".png", np.ascontiguousarray(stored))[1].tobytes()
    (tmp_path / "raw").mkdir()
    for name, rooms in ROOMS.items():
        with zipfile.ZipFile(tmp_path / "raw" / name, "w") as archive:
            for room in rooms:
                scene, _, number = room.partition("/")
                folder = f"Structured3D/scene_{scene}/2D_rendering/{number}/panorama"
                archive.writestr(f"{folder}/camera_xyz.txt", "0 0 0")
                for kind, file in FILES.items():
                    archive.writestr(f"{folder}/full/{file}.png", data[kind] + number.encode())
                    archive.writestr(f"{folder}/empty/{file}.png", b"not needed")
                archive.writestr(f"{folder}/full/albedo.png", b"not needed")
    return tmp_path / "raw"


def run(raw: Path, *more: str) -> int:
    arguments = ["--raw", str(raw), "--out", str(raw.parent / "out"), "--num_workers", "0", *more]
    return prepare_structured3d.main(arguments)


def written(raw: Path) -> set[str]:
    files = (path.relative_to(raw.parent / "out").parts for path in (raw.parent / "out").rglob("*.png"))
    return {f"{scene[6:]}/{room}/{name}" for scene, _, room, _, _, name in files}


def corrupt(raw: Path, archive: str, member: str) -> None:
    """Change a byte of a member, so that its checksum is wrong."""
    path = raw / archive
    with zipfile.ZipFile(path) as opened:
        info = opened.getinfo(member)
    data = bytearray(path.read_bytes())
    data[info.header_offset + 30 + len(member) + 20] ^= 1
    path.write_bytes(data)


def test_rooms(raw, images, capsys):
    assert run(raw) == 0
    rooms = ["00000/485142", "00000/485150", "03000/7", "03250/2001"]
    assert written(raw) == {f"{room}/{file}.png" for room in rooms for file in FILES.values()}
    output = capsys.readouterr().out
    assert output.splitlines()[0].startswith("4 rooms written, 0 skipped")
    assert "1 in invalid scenes" in output
    assert "train: 2 of 18334 rooms\nval: 1 of 1776 rooms\ntest: 1 of 1691 rooms\n" in output
    for split, number in (("train", 2), ("val", 1), ("test", 1)):
        dataset = build_dataset("Struc3D", str(raw.parent / "out"), split=split, height=HEIGHT, width=2 * HEIGHT)
        assert len(dataset) == number
        assert np.array_equal(dataset.read(0).rgb, images["rgb"])
        assert np.array_equal(dataset.read(0).depth, images["depth"])


def test_existing_rooms_are_skipped(raw, capsys):
    assert run(raw) == 0
    (raw.parent / "out" / "scene_03000/2D_rendering/7/panorama/full/depth.png").unlink()
    capsys.readouterr()
    assert run(raw) == 0
    assert capsys.readouterr().out.startswith("1 rooms written, 3 skipped")
    assert len(written(raw)) == 16


def test_damaged_member(raw, capsys):
    """Its room is omitted completely, and reported with file and archive."""
    member = "Structured3D/scene_00000/2D_rendering/485150/panorama/full/depth.png"
    corrupt(raw, "Structured3D_panorama_00.zip", member)
    assert run(raw) == 1
    assert {name.rpartition("/")[0] for name in written(raw)} == {"00000/485142", "03000/7", "03250/2001"}
    output = capsys.readouterr().out
    assert re.search(r"omitted: scene_00000/2D_rendering/485150.*depth\.png in Structured3D_panorama_00\.zip", output)
    assert "train: 1 of 18334" in output


def test_damaged_archive(raw, capsys):
    path = raw / "Structured3D_panorama_01.zip"
    path.write_bytes(path.read_bytes()[:-40])
    assert run(raw) == 1
    assert {name.partition("/")[0] for name in written(raw)} == {"00000"}
    assert re.search(r"archive not used: .*Structured3D_panorama_01\.zip", capsys.readouterr().out)


def test_missing_member(raw, capsys):
    member = "scene_00001/2D_rendering/1/panorama/full/rgb_rawlight.png"
    with zipfile.ZipFile(raw / "Structured3D_panorama_02.zip", "w") as archive:
        archive.writestr(member, b"")
    assert run(raw) == 1
    assert "scene_00001/2D_rendering/1/panorama/full/depth.png is in no archive" in capsys.readouterr().out


def test_only_maps_of_task(raw):
    assert run(raw, "--only", "depth") == 0
    assert {name.rpartition("/")[2] for name in written(raw)} == {"rgb_rawlight.png", "depth.png"}
    assert run(raw, "--only", "depth_normal") == 0
    assert {name.rpartition("/")[2] for name in written(raw)} == {"rgb_rawlight.png", "depth.png", "normal.png"}


def test_nothing_to_prepare(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        prepare_structured3d.main(["--raw", str(tmp_path), "--out", str(tmp_path / "out")])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "--raw" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()

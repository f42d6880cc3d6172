"""What the files say, and which are trusted."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from networks.saved_network import save_checkpoint
from prediction import load_elite360m
from prediction.input_image import InputImage, read_image
from prediction.naming import Job
from prediction.panorama_files import PanoramaFilePredictor
from prediction.result_files import ResultFiles
from prediction.sphere_flags import SphereFlags
from utils.errors import UserError
from utils.provenance import sha256
from utils.tasks import RELATIVE


@pytest.fixture
def described(settings, tmp_path):
    """From changes of the settings to the folder of results, and what they say of themselves."""

    def predict(tone_mapped: bool = False, **changes) -> tuple:
        changed = replace(settings, **changes)
        save_checkpoint(tmp_path / "model.pth", changed, changed.build_network(), torch.nn.Module(), epoch=1)
        model = load_elite360m(tmp_path / "model.pth")
        job = Job(tmp_path / "room.hdr", tmp_path / "out" / "room")
        job.image.touch()
        picture = InputImage(np.zeros((32, 64, 3), np.uint8), (64, 32), tone_mapped, sha256(job.image))
        files = ResultFiles(PanoramaFilePredictor(model), ["depth", "ply"], overwrite=False)
        assert not files.are_there(job)
        files.write(job, picture, model.predict(picture.rgb))
        assert files.are_there(job)
        return tmp_path / "out", json.loads((tmp_path / "out" / "room.json").read_text())

    return predict


def test_relative_depth_is_no_metres(described):
    out, description = described(depth_unit=RELATIVE)
    assert description["depth"] == {"unit": RELATIVE, "depth.png": "16 bits, thousandths of the unit"}
    assert RELATIVE.encode() in (out / "room_points.ply").read_bytes()[:300]


def test_normals_of_the_world(described):
    """The points come without them, and the file says in which frame they are."""
    out, description = described(normal_frame="world")
    assert description["normal"]["frame"] == "world"
    header = (out / "room_points.ply").read_bytes().partition(b"end_header\n")[0]
    assert b"property uchar label" in header
    assert b"nx" not in header


def test_tone_mapping_is_told(described):
    assert "Reinhard" in described(tone_mapped=True)[1]["input"]["tone_mapping"]


@pytest.fixture
def job(tmp_path):
    job = Job(tmp_path / "room.bmp", tmp_path / "out" / "room")
    save_bmp(job.image, 0)
    return job


def save_bmp(path, grey: int, size=(32, 64)) -> None:
    """All of one size in bytes."""
    height, width = size
    header = b"BM" + (54 + 3 * height * width).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    shape = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    path.write_bytes(
        header + (40).to_bytes(4, "little") + shape + b"\1\0\x18\0" + bytes(24) + bytes([grey]) * 3 * height * width
    )


@pytest.fixture
def files(model):
    """From values of --save, and other options, to the files."""

    def files(*kinds: str, tta: int = 1, force: bool = False, overwrite: bool = False) -> ResultFiles:
        return ResultFiles(PanoramaFilePredictor(model, tta, SphereFlags(force=force)), list(kinds), overwrite)

    return files


def write(model, files: ResultFiles, job: Job, force: bool = False) -> None:
    picture = read_image(job.image)
    files.write(job, picture, model.predict(picture.rgb, force=force))


def description_of(job: Job) -> dict:
    return json.loads(job.result(".json").read_text())


def test_a_changed_picture_is_not_there(model, files, job):
    write(model, files("depth"), job)
    assert files("depth").are_there(job)
    save_bmp(job.image, 200)
    assert not files("depth").are_there(job)
    write(model, files("depth"), job)
    assert files("depth").are_there(job)
    assert description_of(job)["input"]["sha256"] == sha256(job.image)


def test_a_picture_elsewhere(model, files, job, tmp_path):
    """The same content may have moved; another content is somebody's."""
    write(model, files("depth"), job)
    moved = job._replace(image=tmp_path / "moved.bmp")
    save_bmp(moved.image, 0)
    assert files("depth").are_there(moved)
    save_bmp(moved.image, 1)
    with pytest.raises(UserError, match=r"room\.json .*moved\.bmp.* --overwrite"):
        files("depth").are_there(moved)
    assert not files("depth", overwrite=True).are_there(moved)


def test_relative_paths_depend_on_the_folder(model, files, job, tmp_path, monkeypatch):
    """The same command in another folder is about another image."""
    for name, grey in (("here", 0), ("there", 9)):
        (tmp_path / name).mkdir()
        save_bmp(tmp_path / name / "room.bmp", grey)
    job = job._replace(image=Path("room.bmp"))
    monkeypatch.chdir(tmp_path / "here")
    write(model, files("depth"), job)
    monkeypatch.chdir(tmp_path / "there")
    with pytest.raises(UserError, match=r"room_?.*\.json"):
        files("depth").are_there(job)


def test_stretched_results_are_there_with_force_only(model, files, job):
    save_bmp(job.image, 3, size=(64, 64))
    write(model, files("depth", force=True), job, force=True)
    assert files("depth", force=True).are_there(job)
    assert not files("depth").are_there(job)


def test_results_of_an_image_a_pixel_off_are_there(model, files, job):
    """Without --force; the program says that it was resized."""
    save_bmp(job.image, 3, size=(31, 64))
    write(model, files("depth"), job)
    assert files("depth").are_there(job)
    description = description_of(job)
    assert description["input"]["stretched"]
    note, *_ = PanoramaFilePredictor(model).summary([description])
    assert note == f"note: 1 a pixel or two off 2:1 and resized, such as {job.image} is 64x31"


def test_another_meaning_of_the_values_is_another_origin(model, files, job):
    """Of the same file of weights, if the program says something else about them."""
    write(model, files("depth"), job)
    content = description_of(job)
    for section, key, value in (
        ("model", "sha256", "0"),
        ("depth", "unit", "feet"),
        ("model", "normal_frame", "world"),
    ):
        changed = content | {section: content[section] | {key: value}}
        job.result(".json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=r"room\.json .*--overwrite"):
            files("depth").check([job])
        files("depth", overwrite=True).check([job])
    moved = content | {"model": content["model"] | {"checkpoint": "elsewhere.pth"}}
    job.result(".json").write_text(json.dumps(moved))
    assert files("depth").are_there(job)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"input": 3}', "\x00", "[" * 100_000])
def test_another_programs_description(files, job, text):
    job.stem.parent.mkdir()
    job.result(".json").write_text(text)
    with pytest.raises(UserError, match=r"room\.json .*--overwrite"):
        files("depth").check([job])


def test_only_files_that_are_named_are_trusted(model, files, job):
    """A file of a killed run lies there, but in no description."""
    write(model, files("labels"), job)
    for ending in ("_depth.npy", "_depth.png"):
        job.result(ending).write_bytes(b"of a killed run")
    assert not files("depth").are_there(job)
    write(model, files("depth"), job)
    assert files("depth", "labels").are_there(job), "other files of the same picture stay"
    assert np.load(job.result("_depth.npy")).shape == (32, 64)


def test_an_incomplete_set_is_not_there(model, files, job):
    write(model, files("depth", "panel"), job)
    job.result("_panel.png").unlink()
    assert files("depth").are_there(job)
    assert not files("depth", "panel").are_there(job)
    job.result(".json").unlink()
    assert not files("depth").are_there(job), "whose it is is not known"


def test_files_of_a_replaced_picture_go(model, files, job):
    """No .json would say what they are."""
    write(model, files("depth", "panel"), job)
    job.result("_notes.txt").touch()
    save_bmp(job.image, 200)
    write(model, files("depth"), job)
    assert {path.name for path in job.stem.parent.iterdir()} == {
        "room.json",
        "room_depth.npy",
        "room_depth.png",
        "room_notes.txt",
    }


def test_an_interrupted_replacement_is_not_trusted(model, files, job, monkeypatch):
    """The description of the earlier files goes first."""
    write(model, files("depth", "panel"), job)
    save_bmp(job.image, 200)

    replace_file = os.replace

    def interrupt(source, target):
        if Path(target) == job.result("_panel.png"):
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr("prediction.result_files.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(model, files("depth", "panel"), job)
    save_bmp(job.image, 0)
    assert not files("depth", "panel").are_there(job)
    assert not list(job.stem.parent.glob(".*"))


def test_earlier_files_stay_when_new_ones_cannot_be_written(model, files, job, monkeypatch):
    write(model, files("depth", "panel"), job)
    before = {path: path.read_bytes() for path in job.stem.parent.iterdir()}

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("prediction.result_files.save_image", fail)
    save_bmp(job.image, 200)
    with pytest.raises(UserError, match=r"room\.bmp .*Input/output error"):
        write(model, files("depth", "panel"), job)
    assert {path: path.read_bytes() for path in job.stem.parent.iterdir()} == before


def test_names_as_long_as_can_be(model, files, job):
    for length in (245, 246):
        long = job._replace(stem=job.stem.with_name("x" * length))
        if length == 245:  # with "_depth.npy" 255
            files("depth").require_names(long)
            write(model, files("depth"), long)
            assert files("depth").are_there(long)
        else:
            with pytest.raises(UserError, match=r"room\.bmp.* too long"):
                files("depth").require_names(long)


def test_a_folder_in_the_way(files, job):
    job.result("_depth.png").mkdir(parents=True)
    with pytest.raises(UserError, match=r"room_depth\.png is a folder"):
        files("depth").require_names(job)


def test_a_missing_package_is_named_at_once(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(UserError, match=r"--save glb .*trimesh"):
        files("glb")
    with pytest.raises(UserError, match=r"--save mesh .*trimesh"):
        files("mesh")
    files("depth")


def test_the_texture_of_a_mesh_is_the_whole_picture(model, files, job):
    save_bmp(job.image, 90, size=(100, 200))
    picture = read_image(job.image)
    files("mesh").write(job, picture, model.predict(picture.rgb))
    (mesh,) = trimesh.load(job.result("_mesh.glb")).geometry.values()
    texture = mesh.visual.material.baseColorTexture
    assert (texture.size, texture.getpixel((0, 0))[:3]) == ((200, 100), (90, 90, 90))

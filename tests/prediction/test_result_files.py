"""Contents of the result files, and which existing ones are reused."""

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
    """Writes results with changed settings; returns their folder and the content of the .json."""

    def write(tone_mapped: bool = False, **changes) -> tuple:
        changed = replace(settings, **changes)
        save_checkpoint(tmp_path / "model.pth", changed, changed.build_network(), torch.nn.Module(), epoch=1)
        model = load_elite360m(tmp_path / "model.pth")
        job = Job(tmp_path / "room.hdr", tmp_path / "out" / "room")
        job.image.touch()
        image = InputImage(np.zeros((32, 64, 3), np.uint8), (64, 32), tone_mapped, sha256(job.image))
        files = ResultFiles(PanoramaFilePredictor(model), ["depth", "ply"], overwrite=False)
        assert not files.are_current(job)
        files.write(job, image, model.predict(image.rgb))
        assert files.are_current(job)
        return tmp_path / "out", json.loads((tmp_path / "out" / "room.json").read_text())

    return write


def test_relative_depth(described):
    out, description = described(depth_unit=RELATIVE)
    assert description["depth"] == {"unit": RELATIVE, "depth.png": "16 bits, thousandths of the unit"}
    assert RELATIVE.encode() in (out / "room_points.ply").read_bytes()[:300]


def test_normals_in_a_world_frame(described):
    """Their frame is in the .json; points have no normals."""
    out, description = described(normal_frame="world")
    assert description["normal"]["frame"] == "world"
    header = (out / "room_points.ply").read_bytes().partition(b"end_header\n")[0]
    assert b"property uchar label" in header
    assert b"nx" not in header


def test_tone_mapping(described):
    assert "Reinhard" in described(tone_mapped=True)[1]["input"]["tone_mapping"]


@pytest.fixture
def job(tmp_path):
    job = Job(tmp_path / "room.bmp", tmp_path / "out" / "room")
    save_bmp(job.image, 0)
    return job


def save_bmp(path, gray: int, size=(32, 64)) -> None:
    """Images of the same size have files of the same size."""
    height, width = size
    header = b"BM" + (54 + 3 * height * width).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    shape = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    path.write_bytes(
        header + (40).to_bytes(4, "little") + shape + b"\1\0\x18\0" + bytes(24) + bytes([gray]) * 3 * height * width
    )


@pytest.fixture
def files(model):
    """Creates `ResultFiles` from values of --save and other options."""

    def files(*kinds: str, tta: int = 1, force: bool = False, overwrite: bool = False) -> ResultFiles:
        return ResultFiles(PanoramaFilePredictor(model, tta, SphereFlags(force=force)), list(kinds), overwrite)

    return files


def write(model, files: ResultFiles, job: Job, force: bool = False) -> None:
    image = read_image(job.image)
    files.write(job, image, model.predict(image.rgb, force=force))


def description_of(job: Job) -> dict:
    return json.loads(job.result(".json").read_text())


def test_changed_image(model, files, job):
    write(model, files("depth"), job)
    assert files("depth").are_current(job)
    save_bmp(job.image, 200)
    assert not files("depth").are_current(job)
    write(model, files("depth"), job)
    assert files("depth").are_current(job)
    assert description_of(job)["input"]["sha256"] == sha256(job.image)


def test_image_with_another_path(model, files, job, tmp_path):
    """The same content was moved; another content is another image."""
    write(model, files("depth"), job)
    moved = job._replace(image=tmp_path / "moved.bmp")
    save_bmp(moved.image, 0)
    assert files("depth").are_current(moved)
    save_bmp(moved.image, 1)
    with pytest.raises(UserError, match=r"room\.json .*moved\.bmp.* --overwrite"):
        files("depth").are_current(moved)
    assert not files("depth", overwrite=True).are_current(moved)


def test_relative_paths_depend_on_the_folder(model, files, job, tmp_path, monkeypatch):
    """The same path in another folder is another image."""
    for name, gray in (("here", 0), ("there", 9)):
        (tmp_path / name).mkdir()
        save_bmp(tmp_path / name / "room.bmp", gray)
    job = job._replace(image=Path("room.bmp"))
    monkeypatch.chdir(tmp_path / "here")
    write(model, files("depth"), job)
    monkeypatch.chdir(tmp_path / "there")
    with pytest.raises(UserError, match=r"room_?.*\.json"):
        files("depth").are_current(job)


def test_stretched_images_need_force(model, files, job):
    save_bmp(job.image, 3, size=(64, 64))
    write(model, files("depth", force=True), job, force=True)
    assert files("depth", force=True).are_current(job)
    assert not files("depth").are_current(job)


def test_image_one_pixel_off(model, files, job):
    """It needs no --force; a note reports that it was resized."""
    save_bmp(job.image, 3, size=(31, 64))
    write(model, files("depth"), job)
    assert files("depth").are_current(job)
    description = description_of(job)
    assert description["input"]["stretched"]
    note, *_ = PanoramaFilePredictor(model).summary([description])
    assert note.startswith("note: 1 resized")
    assert f"{job.image} (64x31)" in note


def test_changed_meaning_needs_overwrite(model, files, job):
    """Results are not reused if weights, units or frames differ. The path of the checkpoint does not matter."""
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
    assert files("depth").are_current(job)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"input": 3}', "\x00", "[" * 100_000])
def test_json_of_another_program(files, job, text):
    job.stem.parent.mkdir()
    job.result(".json").write_text(text)
    with pytest.raises(UserError, match=r"room\.json .*--overwrite"):
        files("depth").check([job])


def test_unlisted_files_are_not_trusted(model, files, job):
    """They were written by a killed run."""
    write(model, files("labels"), job)
    for ending in ("_depth.npy", "_depth.png"):
        job.result(ending).write_bytes(b"of a killed run")
    assert not files("depth").are_current(job)
    write(model, files("depth"), job)
    assert files("depth", "labels").are_current(job), "other files of the same image are kept"
    assert np.load(job.result("_depth.npy")).shape == (32, 64)


def test_missing_files(model, files, job):
    write(model, files("depth", "panel"), job)
    job.result("_panel.png").unlink()
    assert files("depth").are_current(job)
    assert not files("depth", "panel").are_current(job)
    job.result(".json").unlink()
    assert not files("depth").are_current(job), "its origin is unknown"


def test_stale_files_are_removed(model, files, job):
    """Results of an earlier version of the image, but not files of others."""
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


def test_interrupted_replacement_is_not_trusted(model, files, job, monkeypatch):
    """The .json of the earlier files is removed first."""
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
    assert not files("depth", "panel").are_current(job)
    assert not list(job.stem.parent.glob(".*"))


def test_failed_writing_keeps_earlier_files(model, files, job, monkeypatch):
    write(model, files("depth", "panel"), job)
    before = {path: path.read_bytes() for path in job.stem.parent.iterdir()}

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("prediction.result_files.save_image", fail)
    save_bmp(job.image, 200)
    with pytest.raises(UserError, match=r"room\.bmp .*Input/output error"):
        write(model, files("depth", "panel"), job)
    assert {path: path.read_bytes() for path in job.stem.parent.iterdir()} == before


def test_longest_names(model, files, job):
    longest = job._replace(stem=job.stem.with_name("x" * 245))  # 255 characters with "_depth.npy"
    files("depth").require_names(longest)
    write(model, files("depth"), longest)
    assert files("depth").are_current(longest)
    with pytest.raises(UserError, match=r"room\.bmp.* too long"):
        files("depth").require_names(job._replace(stem=job.stem.with_name("x" * 246)))


def test_folder_with_the_name_of_a_result(files, job):
    job.result("_depth.png").mkdir(parents=True)
    with pytest.raises(UserError, match=r"room_depth\.png is a folder"):
        files("depth").require_names(job)


def test_missing_trimesh(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(UserError, match=r"--save glb .*trimesh"):
        files("glb")
    with pytest.raises(UserError, match=r"--save mesh .*trimesh"):
        files("mesh")
    files("depth")


def test_mesh_texture_has_full_size(model, files, job):
    save_bmp(job.image, 90, size=(100, 200))
    write(model, files("mesh"), job)
    (mesh,) = trimesh.load(job.result("_mesh.glb")).geometry.values()
    texture = mesh.visual.material.baseColorTexture
    assert (texture.size, texture.getpixel((0, 0))[:3]) == ((200, 100), (90, 90, 90))

"""Which images are found, which files are skipped, and the names of results."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from prediction.inputs import find_all_jobs, find_jobs
from utils.errors import UserError


@pytest.fixture
def photos(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "house 1/hall.png", "house 1/up/hall.png", ".hidden.png", ".old/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def found(path, out: Path) -> dict[str, str]:
    """Names of images -> stems of their results, relative to `out`."""
    return {job.image.name: str(job.stem.relative_to(out)) for job in find_jobs(str(path), out).jobs}


def test_file(photos, tmp_path):
    assert found(photos / "house 1/up/hall.png", tmp_path / "out") == {"hall.png": "hall"}


def test_folder(photos, tmp_path):
    inputs = find_jobs(str(photos), tmp_path / "out")
    stems = [str(job.stem.relative_to(tmp_path / "out")) for job in inputs.jobs]
    assert stems == ["a", "b", "house 1/hall", "house 1/up/hall"]
    assert inputs.skipped_line() == "1 other file skipped: 1 .txt"


@pytest.mark.parametrize(
    ("pattern", "stems"),
    [
        ("*.png", ["a"]),
        ("**/*.png", ["a", "house 1/hall", "house 1/up/hall"]),
        ("**", ["a", "b", "house 1/hall", "house 1/up/hall"]),
        ("house*/hall.png", ["house 1/hall"]),
        ("[ab].*", ["a", "b"]),
        ("*", ["a", "b", "notes"]),
        ("**/*.*", ["a", "b", "house 1/hall", "house 1/up/hall", "notes"]),
        ("**/up/**", ["house 1/up/hall"]),
        ("**/h*/*", ["house 1/hall"]),
        (".*.png", [".hidden"]),
    ],
)
def test_patterns(photos, tmp_path, pattern, stems):
    """The folders below the part without wildcards are mirrored; files that are named are included with any suffix."""
    jobs = find_jobs(f"{photos}/{pattern}", tmp_path / "out").jobs
    assert [str(job.stem.relative_to(tmp_path / "out")) for job in jobs] == stems


def test_file_name_with_wildcards(photos, tmp_path):
    (photos / "room [1].png").touch()
    assert found(photos / "room [1].png", tmp_path / "out") == {"room [1].png": "room [1]"}


def test_broken_links_are_included(photos, tmp_path):
    """They are reported as bad images."""
    (photos / "link.png").symlink_to("nowhere.png")
    assert "link.png" in found(photos, tmp_path / "out")


def test_names_of_results(photos, tmp_path):
    """Only the suffix is removed, not other parts of the name after a dot."""
    (photos / "v1.2.png").touch()
    (job,) = find_jobs(str(photos / "v1.2.png"), tmp_path / "out").jobs
    assert job.result("_depth.npy") == tmp_path / "out/v1.2_depth.npy"


@pytest.mark.parametrize("given", ["nowhere", "nowhere.png"])
def test_missing_input(tmp_path, given):
    with pytest.raises(UserError, match=f"--input .*{given} does not exist"):
        find_jobs(str(tmp_path / given), tmp_path / "out")


@pytest.mark.parametrize("given", [".old", "*.gif"])
def test_no_images(photos, tmp_path, given):
    (photos / ".old/c.png").unlink()
    with pytest.raises(UserError, match="names no image"):
        find_jobs(str(photos / given), tmp_path / "out")


def test_empty_input(tmp_path):
    """A shell variable that is not set does not mean the current folder."""
    with pytest.raises(UserError, match="--input"):
        find_jobs("", tmp_path / "out")


@pytest.mark.parametrize("name", ["x.JP2", "x.ppm", "x.jfif", "x.avif", "x.gif", "x.tiff", "x.hdr", "x.tga", "x.pfm"])
def test_suffixes_of_images(tmp_path, name):
    """Damaged files are included, so that they are reported."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).touch()
    assert name in found(tmp_path / "in", tmp_path / "out")


def test_skipped_files_are_counted(photos, tmp_path):
    for name in ("1.heic", "2.HEIC", "1.mp4", "1.pdf", "1.dng", "LICENSE", "house 1/2.mp4", "house 1/3.heic"):
        (photos / name).touch()
    (photos / ".hidden.mp4").touch()
    line = find_jobs(str(photos), tmp_path / "out").skipped_line()
    assert line == "9 other files skipped: 3 .heic, 2 .mp4, 1 without suffix, 1 .dng, 1 .pdf, 1 .txt"
    (photos / "house 1/hall.png").unlink()
    (photos / "house 1/up/hall.png").unlink()
    with pytest.raises(UserError, match=r"names no image.* 2 other files: 1 \.heic, 1 \.mp4"):
        find_jobs(str(photos / "house 1"), tmp_path / "out")


def test_image_without_suffix(photos, tmp_path):
    encoded = cv2.imencode(".png", np.zeros((2, 4, 3), np.uint8))[1].tobytes()
    (photos / "panorama").write_bytes(encoded)
    (photos / "notes").write_text("not an image")
    inputs = find_jobs(str(photos), tmp_path / "out")
    assert "panorama" in [job.image.name for job in inputs.jobs]
    assert inputs.skipped == {"": 1, ".txt": 1}


@pytest.mark.parametrize("pattern", ["", "/**/*.png"])
def test_links_are_followed_but_not_in_circles(photos, tmp_path, pattern):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.png").touch()
    (photos / "link").symlink_to("../elsewhere")
    for name, target in (("self", "."), ("house 1/back", ".."), ("house 1/up/out", "../../.."), ("dead", "dead")):
        (photos / name).symlink_to(target)
    (tmp_path / "elsewhere" / "other way").symlink_to(photos)
    inputs = find_jobs(f"{photos}{pattern}", tmp_path / "out")
    names = {str(job.image.relative_to(photos)) for job in inputs.jobs}
    expected = {"a.png", "b.JPG", "house 1/hall.png", "house 1/up/hall.png", "link/c.png"}
    assert names == (expected - {"b.JPG"} if pattern else expected)


def test_pipes_are_skipped(photos, tmp_path):
    """Reading one would wait forever."""
    os.mkfifo(photos / "pipe.png")
    assert "pipe.png" not in found(photos, tmp_path / "out") | found(f"{photos}/*", tmp_path / "out")
    with pytest.raises(UserError, match=r"pipe\.png"):
        find_jobs(str(photos / "pipe.png"), tmp_path / "out")


def test_unreadable_folder_is_reported(photos, tmp_path, monkeypatch):
    list_folder = os.listdir

    def listdir(folder):
        if str(folder).endswith("up"):
            raise PermissionError(13, "Permission denied", str(folder))
        return list_folder(folder)

    monkeypatch.setattr("prediction.inputs.os.listdir", listdir)
    inputs = find_jobs(str(photos), tmp_path / "out")
    assert len(inputs.jobs) == 3
    assert inputs.problems == [f"{photos}/house 1/up cannot be read: Permission denied"]
    with pytest.raises(UserError, match="up cannot be read"):
        find_jobs(str(photos / "house 1/up"), tmp_path / "out")


def test_images_with_the_same_stem_keep_their_suffixes(photos, tmp_path):
    (photos / "house 1/hall.jpg").touch()
    stems = [str(job.stem.relative_to(tmp_path / "out")) for job in find_jobs(str(photos), tmp_path / "out").jobs]
    assert stems == ["a", "b", "house 1/hall.jpg", "house 1/hall.png", "house 1/up/hall"]


def test_results_are_not_inputs(photos):
    """Results in a subfolder are skipped; results beside images are refused."""
    out = photos / "predictions"
    before = found(photos, out)
    out.mkdir()
    (out / "a_depth.png").touch()
    assert found(photos, out) == before
    for given, beside in (
        (photos, photos),
        (photos / "a.png", photos),
        (f"{photos}/house*/*.png", photos / "house 1/.."),
    ):
        with pytest.raises(UserError, match="--out"):
            find_jobs(str(given), beside)


def test_several_paths(photos, tmp_path):
    """The folders of each are mirrored; an image that two of them name is predicted once."""
    paths = [str(photos / "a.png"), str(photos), f"{photos}/house 1/up/*", f"{photos}/house 1/../a.png"]
    inputs = find_all_jobs(paths, tmp_path / "out")
    assert [str(job.stem.relative_to(tmp_path / "out")) for job in inputs.jobs] == [
        *("a", "b", "house 1/hall", "house 1/up/hall", "hall"),
    ]
    assert inputs.skipped_line() == "1 other file skipped: 1 .txt"
    with pytest.raises(UserError, match=r"--input: .*--out"):
        find_all_jobs([f"{photos}/house 1/hall.png", f"{photos}/house 1/up/hall.png"], tmp_path / "out")

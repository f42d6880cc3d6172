"""Which pictures are found, and where their results go."""

from pathlib import Path

import pytest

from prediction.inputs import find_jobs
from utils.errors import UserError


@pytest.fixture
def photos(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "house 1/hall.png", "house 1/up/hall.png", ".hidden.png", ".old/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def found(given, out: Path) -> dict[str, str]:
    """Names of pictures, and of their results relative to `out`."""
    return {job.picture.name: str(job.stem.relative_to(out)) for job in find_jobs(str(given), out)}


def test_a_file(photos, tmp_path):
    assert found(photos / "house 1/up/hall.png", tmp_path / "out") == {"hall.png": "hall"}


def test_a_folder_with_its_tree(photos, tmp_path):
    stems = [str(job.stem.relative_to(tmp_path / "out")) for job in find_jobs(str(photos), tmp_path / "out")]
    assert stems == ["a", "b", "house 1/hall", "house 1/up/hall"]


@pytest.mark.parametrize(
    ("pattern", "stems"),
    [
        ("*.png", ["a"]),
        ("**/*.png", ["a", "house 1/hall", "house 1/up/hall"]),
        ("**", ["a", "b", "house 1/hall", "house 1/up/hall"]),
        ("house*/hall.png", ["house 1/hall"]),
        ("[ab].*", ["a", "b"]),
    ],
)
def test_a_pattern(photos, tmp_path, pattern, stems):
    """The tree below the part without wildcards is mirrored."""
    jobs = find_jobs(f"{photos}/{pattern}", tmp_path / "out")
    assert [str(job.stem.relative_to(tmp_path / "out")) for job in jobs] == stems


def test_a_name_with_wildcards_in_it(photos, tmp_path):
    (photos / "room [1].png").touch()
    assert found(photos / "room [1].png", tmp_path / "out") == {"room [1].png": "room [1]"}


def test_a_link_to_nowhere_is_a_bad_picture(photos, tmp_path):
    (photos / "link.png").symlink_to("nowhere.png")
    assert "link.png" in found(photos, tmp_path / "out"), "so that it is reported"


def test_names_of_results(photos, tmp_path):
    """Whatever follows a dot in the name stays, but the suffix."""
    (photos / "v1.2.png").touch()
    (job,) = find_jobs(str(photos / "v1.2.png"), tmp_path / "out")
    assert job.result("_depth.npy") == tmp_path / "out/v1.2_depth.npy"


@pytest.mark.parametrize("given", ["nowhere", "nowhere.png"])
def test_nothing_there(tmp_path, given):
    with pytest.raises(UserError, match=f"--input .*{given} does not exist"):
        find_jobs(str(tmp_path / given), tmp_path / "out")


@pytest.mark.parametrize("given", [".old", "*.gif"])
def test_no_pictures(photos, tmp_path, given):
    (photos / ".old/c.png").unlink()
    with pytest.raises(UserError, match="names no picture"):
        find_jobs(str(photos / given), tmp_path / "out")


def test_two_of_one_name(photos, tmp_path):
    (photos / "house 1/hall.jpg").touch()
    with pytest.raises(UserError, match=r"hall.jpg and .*hall.png would be written to the same names"):
        find_jobs(str(photos), tmp_path / "out")


def test_results_are_no_input(photos):
    """Not those in a folder of the tree; and they never lie beside pictures."""
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
        with pytest.raises(UserError, match="would put results beside the pictures"):
            find_jobs(str(given), beside)

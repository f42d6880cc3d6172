"""What tools/check_dataset.py says about trees that are right, and about those that are wrong in one way each."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from datasets.synthetic import SyntheticRooms
from tools import check_dataset
from utils.sphere import pixels_to_angles, yaw_rotation

HEIGHT, WIDTH = 64, 128
COUNTS = {"train": 2, "val": 1, "test": 2}
AREAS = ["area_1", "area_1", "area_3", "area_5a", "area_5a"]


@pytest.fixture(scope="module")
def rooms():
    synthetic = SyntheticRooms("train", len(AREAS), HEIGHT, WIDTH)
    return [synthetic.read(index) for index in range(len(AREAS))]


@pytest.fixture
def write_tree(rooms, tmp_path):
    """Writes the rooms as Stanford2D3D, its normals (H, W, 3) changed as told, and returns the folder."""

    def write(changed=lambda normal, number: normal):
        for number, (area, room) in enumerate(zip(AREAS, rooms, strict=True)):
            depth = np.rint(room.depth * 512).astype(np.uint16)
            depth[:4] = 65535
            normal = np.rint((changed(room.normal, number) + 1) * 127.5).astype(np.uint8)
            save(tmp_path, area, "rgb", number, room.rgb)
            save(tmp_path, area, "depth", number, depth)
            save(tmp_path, area, "semantic", number, room.semantic.astype(np.uint8))
            save(tmp_path, area, "normal", number, normal)
        (tmp_path / "synthetic_dataset.json").write_text(json.dumps({"layout": "S2D3D", "counts": COUNTS}))
        return tmp_path

    return write


def path_of(root, area, kind, number):
    suffix = "normals" if kind == "normal" else kind
    return root / area / kind / f"camera_{number}_office_1_frame_equirectangular_domain_{suffix}.png"


def save(root, area, kind, number, picture):
    path = path_of(root, area, kind, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def check(root, *more, dataset="S2D3D"):
    return check_dataset.main(["--dataset", dataset, "--dataset_rootdir", str(root), "--num_workers", "0", *more])


def flipped(normal, number):
    return normal * np.array([1, -1, 1])


def in_building(normal, number):
    """The camera of each panorama looks another way."""
    return normal @ yaw_rotation(0.7 + number).T


def in_views(normal, number):
    """Stitched from six views, each in its own frame."""
    u, _ = pixels_to_angles(0, np.arange(WIDTH), HEIGHT, WIDTH)
    turn_back = np.stack([yaw_rotation(-angle) for angle in np.radians(60) * np.rint(u / np.radians(60))])
    return np.einsum("wij,hwj->hwi", turn_back, normal)


def test_all_right(write_tree, rooms, capsys):
    assert check(write_tree()) == 0
    screen = capsys.readouterr().out
    lines = screen.splitlines()
    assert lines[-1] == "all right"
    assert "written by tools/make_synthetic_dataset.py" in lines[0]
    assert [lines[2].split(), lines[3].split(), lines[4].split()] == [
        ["train", "2", "2"],
        ["val", "1", "1"],
        ["test", "2", "2"],
    ]
    assert "128x64: 5" in screen
    depth = np.concatenate([room.depth[4:].ravel() for room in rooms])
    assert f"{depth.min():.2f} to {depth.max():.2f} m, median {np.median(depth):.2f} m" in screen
    assert f"{60 / 64:.1%} of the pixels are valid" in screen
    labels = np.concatenate([room.semantic.ravel() for room in rooms])
    assert f"{(labels == 11).mean():.1%} wall" in screen
    assert "agree with depth: median" in screen
    assert max(map(len, lines[1:])) <= 100


@pytest.mark.slow
def test_reading_by_processes(write_tree, capsys):
    root = write_tree()
    check(root)
    alone = capsys.readouterr().out
    arguments = ["--dataset", "S2D3D", "--dataset_rootdir", str(root), "--num_workers", "1"]
    assert check_dataset.main(arguments) == 0
    assert capsys.readouterr().out == alone


def test_wrong_count(write_tree, capsys):
    root = write_tree()
    for kind in ("rgb", "depth", "semantic", "normal"):
        path_of(root, "area_3", kind, 2).unlink()
    assert check(root) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 thing is wrong: val holds 0 panoramas instead of 1"


def test_rule_of_the_real_dataset(write_tree, capsys):
    root = write_tree()
    (root / "synthetic_dataset.json").unlink()
    assert check(root) == 1
    assert "3 things are wrong: train holds 2 panoramas instead of 955" in capsys.readouterr().out


def test_missing_file(write_tree, capsys):
    root = write_tree()
    path = path_of(root, "area_1", "normal", 1)
    path.unlink()
    assert check(root) == 1
    screen = capsys.readouterr().out
    assert f"missing    {path.relative_to(root)}\n" in screen
    assert screen.splitlines()[-1] == "1 thing is wrong: 1 file is missing"


def test_damaged_files(write_tree, capsys):
    root = write_tree()
    for kind, number, area in (("rgb", 0, "area_1"), ("depth", 4, "area_5a")):
        path = path_of(root, area, kind, number)
        path.write_bytes(path.read_bytes()[:-600])
    assert check(root) == 1
    screen = capsys.readouterr().out
    assert f"bad        {path_of(root, 'area_1', 'rgb', 0)} " in screen, "its name and the reason"
    assert f"           {path_of(root, 'area_5a', 'depth', 4)} " in screen, "its name and the reason"
    assert "128x64: 3" in screen
    assert screen.splitlines()[-1] == "1 thing is wrong: 2 panoramas cannot be used"


def test_long_lists_are_cut(capsys):
    names = [str(number) for number in range(23)]
    assert check_dataset.report_names("missing", names, "file is missing", "files are missing") == [
        "23 files are missing"
    ]
    assert capsys.readouterr().out.split()[-4:] == ["19", "and", "3", "more"]


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        (flipped, "if read as (x, -y, z)"),
        (in_building, "in a frame of the building: use --normal_frame world, or turn them"),
        (in_views, "in the frame of each stitched view"),
    ],
)
def test_normals_in_another_frame(write_tree, capsys, changed, advice):
    assert check(write_tree(changed)) == 1
    screen = capsys.readouterr().out
    assert advice in screen
    assert screen.splitlines()[-1] == "1 thing is wrong: normals disagree with depth"


def test_normals_said_to_be_of_the_building(write_tree, capsys):
    assert check(write_tree(in_building), "--normal_frame", "world") == 0
    assert check(write_tree(), "--normal_frame", "world") == 1
    assert "leave out --normal_frame world" in capsys.readouterr().out


def test_previews(write_tree, tmp_path):
    assert check(write_tree(), "--preview", "3", "--out", str(tmp_path / "previews")) == 0
    pictures = sorted((tmp_path / "previews").iterdir())
    assert [path.name for path in pictures] == [
        "preview_000_train.png",
        "preview_001_val.png",
        "preview_002_test.png",
    ]
    with Image.open(pictures[0]) as picture:
        assert picture.size[0] == 2 * (512 + 64)


@pytest.mark.parametrize("given", [["--preview", "2"], ["--out", "somewhere"]])
def test_previews_need_both_options(tmp_path, capsys, given):
    with pytest.raises(SystemExit, match="2"):
        check(tmp_path, *given)
    assert capsys.readouterr().err == "error: --preview and --out go together (see --help)\n"


def test_nothing_to_check(tmp_path, write_tree, capsys):
    (tmp_path / "empty").mkdir()
    for run, reason in (
        (partial(check, tmp_path / "nowhere"), "is no folder"),
        (partial(check, tmp_path / "empty"), "holds no panorama"),
        (partial(check, write_tree(), dataset="MP3D"), "was written with --layout S2D3D"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run()
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert reason in error
        assert error.count("\n") == 1

"""tools/check_dataset.py accepts correct trees, and reports the fault of trees with one."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from datasets.preparation.synthetic_layouts import write_dataset
from datasets.synthetic import SyntheticRooms
from tools import check_dataset
from utils.sphere import erp_rays, pixels_to_angles, yaw_rotation

HEIGHT, WIDTH = 64, 128
COUNTS = {"train": 2, "val": 1, "test": 2}
AREAS = ["area_1", "area_1", "area_3", "area_5a", "area_5a"]


@pytest.fixture(scope="module")
def rooms():
    synthetic = SyntheticRooms("train", len(AREAS), HEIGHT, WIDTH)
    return [synthetic.read(index) for index in range(len(AREAS))]


@pytest.fixture
def write_tree(rooms, tmp_path):
    """A function that writes the rooms as Stanford2D3D and returns the folder.

    Its arguments are functions that change the maps, (H, W) or (H, W, 3), given a map and the number of its room:
    normals are unit vectors, depth is in meters (0 = missing), the others are as stored. `only`: rooms to change.
    """

    def write(normal=None, only=range(5), rgb=None, depth=None, semantic=None, units=512):
        for number, (area, room) in enumerate(zip(AREAS, rooms, strict=True)):
            poles_missing = room.depth.copy()
            poles_missing[:4] = 0
            maps = {"rgb": room.rgb, "depth": poles_missing, "semantic": room.semantic, "normal": room.normal}
            for kind, change in (("rgb", rgb), ("depth", depth), ("semantic", semantic), ("normal", normal)):
                if change and number in only:
                    maps[kind] = change(maps[kind], number)
            stored = np.rint(maps["depth"] * (units if number in only else 512)).clip(0, 65534).astype(np.uint16)
            stored[maps["depth"] == 0] = 65535
            save(tmp_path, area, "rgb", number, np.ascontiguousarray(maps["rgb"]))
            save(tmp_path, area, "depth", number, stored)
            save(tmp_path, area, "semantic", number, np.ascontiguousarray(maps["semantic"], dtype=np.uint8))
            save(tmp_path, area, "normal", number, np.rint((maps["normal"] + 1) * 127.5).astype(np.uint8))
        (tmp_path / "synthetic_dataset.json").write_text(json.dumps({"layout": "S2D3D", "counts": COUNTS}))
        return tmp_path

    return write


def path_of(root, area, kind, number):
    suffix = "normals" if kind == "normal" else kind
    return root / area / kind / f"camera_{number}_office_1_frame_equirectangular_domain_{suffix}.png"


def save(root, area, kind, number, image):
    path = path_of(root, area, kind, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def check(root, *more, dataset="S2D3D"):
    return check_dataset.main(["--dataset", dataset, "--dataset_rootdir", str(root), "--num_workers", "0", *more])


def flipped(normal, number):
    return normal * np.array([1, -1, 1])


def in_building_frame(normal, number):
    """Each camera has a different heading."""
    return normal @ yaw_rotation(0.7 + number).T


def in_view_frames(normal, number):
    """Stitched from six views, each in its own frame."""
    u, _ = pixels_to_angles(0, np.arange(WIDTH), HEIGHT, WIDTH)
    rotations = np.stack([yaw_rotation(-angle) for angle in np.radians(60) * np.rint(u / np.radians(60))])
    return np.einsum("wij,hwj->hwi", rotations, normal)


def test_correct_tree(write_tree, rooms, capsys):
    assert check(write_tree()) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[-1] == "all right"
    assert "written by tools/make_synthetic_dataset.py" in lines[0]
    assert [lines[2].split(), lines[3].split(), lines[4].split()] == [
        ["train", "2", "2"],
        ["val", "1", "1"],
        ["test", "2", "2"],
    ]
    assert "128x64: 5" in output
    depth = np.concatenate([room.depth[4:].ravel() for room in rooms])
    shown = float(output.partition("depth      median ")[2].split()[0])
    assert shown == pytest.approx(np.median(depth), rel=0.01)
    assert f"{60 / 64:.1%} of the pixels are valid" in output
    labels = np.concatenate([room.semantic.ravel() for room in rooms])
    assert f"{(labels == 11).mean():.1%} wall" in output
    assert "differ from depth by less than 11.25 degrees" in output
    assert "correlation of RGB and depth" in output
    assert "outliers" not in output
    assert max(map(len, lines[1:])) <= 100


@pytest.mark.slow
def test_worker_process(write_tree, capsys):
    root = write_tree()
    check(root)
    expected = capsys.readouterr().out
    arguments = ["--dataset", "S2D3D", "--dataset_rootdir", str(root), "--num_workers", "1"]
    assert check_dataset.main(arguments) == 0
    assert capsys.readouterr().out == expected


def test_wrong_count(write_tree, capsys):
    root = write_tree()
    for kind in ("rgb", "depth", "semantic", "normal"):
        path_of(root, "area_3", kind, 2).unlink()
    assert check(root) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 problem: val holds 0 panoramas instead of 1"


def test_counts_of_published_dataset(write_tree, capsys):
    root = write_tree()
    (root / "synthetic_dataset.json").unlink()
    assert check(root) == 1
    assert "3 problems: train holds 2 panoramas instead of 955" in capsys.readouterr().out


def test_missing_file(write_tree, capsys):
    root = write_tree()
    path = path_of(root, "area_1", "normal", 1)
    path.unlink()
    assert check(root) == 1
    output = capsys.readouterr().out
    assert f"missing    {path.relative_to(root)}\n" in output
    assert output.splitlines()[-1] == "1 problem: 1 file is missing"


def test_damaged_files(write_tree, capsys):
    root = write_tree()
    for kind, number, area in (("rgb", 0, "area_1"), ("depth", 4, "area_5a")):
        path = path_of(root, area, kind, number)
        path.write_bytes(path.read_bytes()[:-600])
    assert check(root) == 1
    output = capsys.readouterr().out
    assert f"bad        {path_of(root, 'area_1', 'rgb', 0)} " in output, "file and reason"
    assert f"           {path_of(root, 'area_5a', 'depth', 4)} " in output, "file and reason"
    assert "128x64: 3" in output
    assert output.splitlines()[-1] == "1 problem: 2 panoramas cannot be used"


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
        (in_building_frame, "in a frame of the building: use --normal_frame world, or rotate them"),
        (in_view_frames, "in the frame of each stitched view"),
    ],
)
def test_wrong_normal_frame(write_tree, capsys, changed, advice):
    assert check(write_tree(changed)) == 1
    output = capsys.readouterr().out
    assert advice in " ".join(output.split())
    assert output.splitlines()[-1] == "1 problem: normals disagree with depth"


def test_normal_frame_option(write_tree, capsys):
    assert check(write_tree(in_building_frame), "--normal_frame", "world") == 0
    assert check(write_tree(), "--normal_frame", "world") == 1
    assert "--normal_frame world" in capsys.readouterr().out


def rays():
    return erp_rays(HEIGHT, WIDTH)


def z_of_cube_faces(depth, number):
    return depth * np.abs(rays()).max(axis=-1)


def one_fifth(depth, number):
    return np.where(np.arange(HEIGHT)[:, None] < HEIGHT // 5, depth, 0)


def shifted(labels, number):
    return np.where(labels < 12, labels + 1, 255)


def recoded(labels, number):
    """Renumbered without gaps, as when a palette is rebuilt."""
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def constant(value):
    return lambda array, number: np.full(array.shape, value)


def mirrored(array, number):
    return array[:, ::-1]


def turned_by_half(array, number):
    return np.roll(array, WIDTH // 2, axis=1)


def upside_down(array, number):
    return array[::-1]


FAULTS = {
    "depth in mm": ({"units": 1000}, "wrong unit of depth"),
    "depth in 1/4000 m": ({"units": 4000}, "wrong unit of depth"),
    "depth in 1/256 m": ({"units": 256}, "wrong unit of depth"),
    "depth in cm": ({"units": 100}, "wrong unit of depth"),
    "relative depth": ({"depth": lambda depth, number: depth * 10 / depth.max()}, "wrong unit of depth"),
    "z of cube faces": ({"depth": z_of_cube_faces}, "not the distance along the ray"),
    "horizontal distance": (
        {"depth": lambda depth, number: depth * np.hypot(rays()[..., 0], rays()[..., 2])},
        "not the distance along the ray",
    ),
    "logarithm of depth": ({"depth": lambda depth, number: np.log1p(depth)}, "not the distance along the ray"),
    "hardly any depth": ({"depth": one_fifth}, "of the depth is valid"),
    "clipped depth": ({"depth": lambda depth, number: depth.clip(max=2)}, "clipped depth"),
    "normals away from the camera": ({"normal": lambda normal, number: -normal}, "normals disagree with depth"),
    "normals mirrored": ({"normal": mirrored}, "normals and depth do not match"),
    "no normals": ({"normal": constant(-1)}, "of the normals are known"),
    "labels shifted": ({"semantic": shifted}, "wrong labels"),
    "labels recoded": ({"semantic": recoded}, "wrong labels"),
    "labels of one class": ({"semantic": constant(0)}, "100.0% of the labels are beam"),
    "no labels": ({"semantic": constant(255)}, "no pixel has a label"),
    "labels upside down": ({"semantic": upside_down}, "wrong labels"),
    "labels mirrored": ({"semantic": mirrored}, "labels and depth do not match"),
    "RGB mirrored": ({"rgb": mirrored}, "RGB and depth do not match"),
    "RGB turned": ({"rgb": turned_by_half}, "RGB and depth do not match"),
    "RGB upside down": ({"rgb": upside_down}, "RGB and depth do not match"),
    "RGB black": ({"rgb": lambda rgb, number: np.zeros_like(rgb)}, "no edges of RGB"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_all(write_tree, capsys, fault):
    changes, problem = FAULTS[fault]
    assert check(write_tree(**changes)) == 1
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert problem in last_line
    assert len(last_line) < 500


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "relative depth"])
def test_fault_in_one(write_tree, capsys, fault):
    """Only the faulty panorama is named."""
    changes, _ = FAULTS[fault]
    assert check(write_tree(**changes, only=[2])) == 1
    output = capsys.readouterr().out
    assert "1 of 5 panoramas:" in output.splitlines()[-1]
    outliers = output.partition("\noutliers")[2]
    assert "camera_2_office_1" in outliers
    assert not any(f"camera_{number}_office_1" in outliers for number in (0, 1, 3, 4))


@pytest.mark.parametrize("fault", ["depth in mm", "z of cube faces", "labels shifted", "RGB mirrored"])
def test_fault_in_half(write_tree, fault):
    assert check(write_tree(**FAULTS[fault][0], only=[0, 2, 4])) == 1
    assert check(write_tree(**FAULTS[fault][0], only=[1, 3])) == 1


def test_plausible_unit_is_reported(write_tree, capsys):
    check(write_tree(units=1000))
    assert "if depth were in 1 mm" in capsys.readouterr().out


def test_rgb_of_another_panorama(write_tree, rooms, capsys):
    assert check(write_tree(rgb=lambda rgb, number: rooms[number - 1].rgb)) == 1
    assert "RGB and depth do not" in capsys.readouterr().out.splitlines()[-1]


def test_consistently_mirrored_tree(write_tree):
    tree = write_tree(
        normal=lambda normal, number: normal[:, ::-1] * [-1, 1, 1], rgb=mirrored, depth=mirrored, semantic=mirrored
    )
    assert check(tree) == 0


@pytest.mark.parametrize(
    ("layout", "num", "height", "seed"),
    [
        ("MP3D", 2, 64, 0),
        ("S2D3D", 1, 128, 1),
        ("Struc3D", 2, 64, 2),
        pytest.param("MP3D", 6, 32, 3, marks=pytest.mark.slow),
        pytest.param("Struc3D", 6, 256, 4, marks=pytest.mark.slow),
        pytest.param("S2D3D", 12, 64, 5, marks=pytest.mark.slow),
    ],
)
def test_synthetic_trees(tmp_path, capsys, layout, num, height, seed):
    write_dataset(layout, num, tmp_path, height, seed)
    assert check(tmp_path, dataset=layout) == 0
    assert "outliers" not in capsys.readouterr().out


def test_structured3d_must_not_mark_missing_depth_by_65535(tmp_path, capsys):
    """Depth is divided by its largest value."""
    write_dataset("Struc3D", 1, tmp_path, HEIGHT)
    path = next(tmp_path.glob("scene_03250/**/depth.png"))
    depth = np.array(Image.open(path))
    depth[0, 0] = 65535
    Image.fromarray(depth).save(path)
    assert check(tmp_path, dataset="Struc3D") == 1
    assert "65535" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("task", "kinds"),
    [
        ("depth", ["depth"]),
        ("normal", ["normal"]),
        ("segmentation", ["semantic"]),
        ("depth_normal", ["depth", "normal"]),
    ],
)
def test_only_files_of_task_are_needed(write_tree, capsys, task, kinds):
    root = write_tree()
    for kind in {"depth", "semantic", "normal"} - set(kinds):
        for number, area in enumerate(AREAS):
            path_of(root, area, kind, number).unlink()
    assert check(root) == 1
    assert check(root, "--task", task) == 0, capsys.readouterr().out
    path_of(root, AREAS[0], kinds[0], 0).unlink()
    assert check(root, "--task", task) == 1


@pytest.mark.parametrize(
    ("task", "changes", "problem"),
    [
        ("normal", {"normal": lambda normal, number: -normal}, "normals disagree with the camera"),
        ("normal", {"normal": flipped}, "normals disagree with the camera"),
        ("normal", {"rgb": mirrored}, "RGB and normals do not match"),
        ("segmentation", {"semantic": shifted}, "wrong labels"),
        ("segmentation", {"rgb": turned_by_half}, "RGB and labels do not match"),
        ("normal_segmentation", {"semantic": mirrored}, "labels and normals do not match"),
    ],
)
def test_faults_without_depth(write_tree, capsys, task, changes, problem):
    assert check(write_tree(**changes), "--task", task) == 1
    assert problem in capsys.readouterr().out.splitlines()[-1]


def test_partial_dataset(write_tree, capsys):
    root = write_tree()
    (root / "synthetic_dataset.json").unlink()
    assert check(root, "--partial") == 0
    assert check(root, "--split", "test") == 0
    assert ["test", "2", "373"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    with pytest.raises(SystemExit, match="2"):
        check(root / "area_1", "--partial")


def write_list(path, numbers, without=()):
    """Write a list of rooms, omitting maps of the kinds `without`."""
    lines = []
    for number in numbers:
        kinds = ("rgb", "depth", "semantic", "normal")
        names = [str(path_of(path.parent, AREAS[number], kind, number).relative_to(path.parent)) for kind in kinds]
        lines.append(" ".join("-" if kind in without else name for kind, name in zip(kinds, names, strict=True)))
    path.write_text("\n".join(lines))
    return str(path)


def test_lists(write_tree, capsys):
    root = write_tree(flipped, only=[4])
    train, val = write_list(root / "train.txt", [0, 1, 2]), write_list(root / "val.txt", [3])
    assert check(root, "--train_list", train, "--val_list", val) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train_list", "3", "panoramas"] in lines
    assert check(root, "--val_list", write_list(root / "bad.txt", [4])) == 1
    assert "normals disagree" in capsys.readouterr().out.splitlines()[-1]
    assert check(root, "--train_list", train, "--val_list", write_list(root / "both.txt", [2, 3])) == 1
    assert "1 panorama is in both lists" in capsys.readouterr().out.splitlines()[-1]


def test_lists_may_omit_maps(write_tree, capsys):
    root = write_tree()
    lists = ("--train_list", write_list(root / "a.txt", [0, 1]), "--val_list")
    assert check(root, *lists, write_list(root / "b.txt", [2, 3], without=["depth", "normal"])) == 0
    assert check(root, "--val_list", write_list(root / "c.txt", [2, 3], without=["depth"])) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 problem: no panorama has depth"


@pytest.mark.parametrize("option", ["--train_list", "--val_list"])
def test_lists_exclude_split(tmp_path, capsys, option):
    with pytest.raises(SystemExit, match="2"):
        check(tmp_path, "--split", "test", option, "list.txt")
    assert "--split" in capsys.readouterr().err


def test_previews(write_tree, tmp_path):
    assert check(write_tree(), "--preview", "3", "--out", str(tmp_path / "previews")) == 0
    paths = sorted((tmp_path / "previews").iterdir())
    assert [path.name for path in paths] == [
        "preview_000_train.png",
        "preview_001_val.png",
        "preview_002_test.png",
    ]
    with Image.open(paths[0]) as image:
        assert image.size[0] == 2 * (512 + 84)  # with color bars


@pytest.mark.parametrize("given", [["--preview", "2"], ["--out", "somewhere"]])
def test_previews_need_both_options(tmp_path, capsys, given):
    with pytest.raises(SystemExit, match="2"):
        check(tmp_path, *given)
    assert capsys.readouterr().err == "error: --preview and --out go together (see --help)\n"


def test_nothing_to_check(tmp_path, write_tree, capsys):
    (tmp_path / "empty").mkdir()
    for run, reason in (
        (partial(check, tmp_path / "nowhere"), "nowhere"),
        (partial(check, tmp_path / "empty"), "holds no panorama"),
        (partial(check, write_tree(), dataset="MP3D"), "was written with --layout S2D3D"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run()
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert reason in error
        assert error.count("\n") == 1


@pytest.fixture
def folder(tmp_path):
    """A tree of --dataset Folder, without synthetic_dataset.json, and a function that changes its dataset.json."""
    write_dataset("Folder", 1, tmp_path, HEIGHT)
    (tmp_path / "synthetic_dataset.json").unlink()
    description = json.loads((tmp_path / "dataset.json").read_text())

    def change(**keys) -> None:
        kept = {key: value for key, value in (description | keys).items() if value is not None}
        (tmp_path / "dataset.json").write_text(json.dumps(kept))

    return tmp_path, change


def test_folder(folder, capsys):
    root, change = folder
    check_folder = partial(check, root, dataset="Folder")
    assert check_folder() == 0
    assert "test       1 panoramas" in capsys.readouterr().out
    change(depth={"unit": 1 / 256})
    assert check_folder() == 1
    assert "wrong unit of depth" in capsys.readouterr().out
    change(depth={"unit": "relative"})
    assert check_folder() == 0
    assert "m above the floor" not in capsys.readouterr().out
    change(normal={"frame": "camera", "range": [0, 255], "axes": ["right", "up", "forward"]})
    assert check_folder() == 1
    capsys.readouterr()
    # Checks only maps in dataset.json; a mistake in a split is an error.
    files = {"rgb": "*/rgb/*.png", "depth": "*/depth/*.png"}
    change(files=files, normal=None, classes=None)
    assert check_folder() == 0
    assert "normals" not in capsys.readouterr().out
    change(splits={"train": ["train/*"], "val": "none.txt"})
    with pytest.raises(SystemExit):
        check_folder()
    assert "none.txt" in capsys.readouterr().err

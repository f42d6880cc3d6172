"""tools/check_dataset.py accepts correct trees of NYU v2, and reports the fault of trees with one."""

import shutil

import cv2
import numpy as np
import pytest

from datasets.preparation.nyu_layouts import write_nyu_dataset
from tools import check_dataset

NUM = 5


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("nyu") / "tree"
    write_nyu_dataset("NYUv2-B", NUM, root, height=96)
    return root


@pytest.fixture
def tree(written, tmp_path):
    """A function that changes maps of one kind in a copy of the tree, and returns its folder."""
    root = shutil.copytree(written, tmp_path / "tree")

    def change(folder, how, only=range(2 * NUM)):
        for number, path in enumerate(sorted((root / folder).iterdir())):
            if number in only:
                is_npy = path.suffix == ".npy"
                changed = np.ascontiguousarray(how(np.load(path) if is_npy else cv2.imread(str(path), -1)))
                np.save(path, changed) if is_npy else cv2.imwrite(str(path), changed)
        return root

    return change


def check(root, *more):
    return check_dataset.main(["--dataset", "NYUv2", "--dataset_rootdir", str(root), "--num_workers", "0", *more])


def test_correct_tree(written, capsys):
    assert check(written) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[-1] == "all right"
    assert "Copy B: " in lines[1]
    counts = [line.split() for line in lines if line.startswith(("train ", "test "))]
    assert counts == [["train", "4", "4"], ["test", "5", "5"]]
    assert "112x85: 10" in output
    assert "if read along left-up-back" in output
    assert "panorama" not in output
    assert max(map(len, lines[1:])) <= 100


def test_previews(written, tmp_path, capsys):
    assert check(written, "--preview", "2", "--out", str(tmp_path)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preview_000_train.png", "preview_001_test.png"]


def test_split_and_task(written, capsys):
    assert check(written, "--split", "val", "--task", "depth") == 0
    output = capsys.readouterr().out
    assert "\nnormals" not in output
    assert "112x85: 1" in output
    assert check(written, "--task", "normal") == 0
    assert "only be compared with depth" in capsys.readouterr().out


def test_wrong_counts(written, tmp_path, capsys):
    root = shutil.copytree(written, tmp_path / "tree")
    (root / "synthetic_dataset.json").unlink()
    assert check(root) == 1
    assert "test holds 5 images instead of 654" in capsys.readouterr().out
    assert check(root, "--partial") == 0


@pytest.mark.parametrize(
    ("folder", "how", "problem"),
    [
        ("depth", lambda depth: depth * 1000, "median depth"),
        ("depth", lambda depth: depth / 10, "median depth"),
        ("depth", lambda depth: depth[:, ::-1], "do not match"),
        ("depth", lambda depth: np.where(np.random.default_rng(0).random(depth.shape) < 0.9, 0, depth), "is valid"),
        ("normals", lambda normal: normal[..., ::-1], "normals disagree with depth"),
        ("normals", lambda normal: normal[:, ::-1], "normals"),
        ("normals", lambda normal: normal * 0, "normals are known"),
        ("segmentation", lambda ids: np.where(ids > 0, ids % 40 + 1, 0), "wrong labels"),
        ("segmentation", lambda ids: ids * 0, "no pixel has a label"),
        ("segmentation", lambda ids: ids[:, ::-1], "labels and depth do not match"),
        ("images", lambda rgb: rgb[::-1], "RGB and depth do not match"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_fault_in_all(tree, capsys, folder, how, problem):
    assert check(tree(folder, how)) == 1
    assert problem in capsys.readouterr().out.splitlines()[-1]


def test_swapped_axes_are_reported(tree, capsys):
    check(tree("normals", lambda normal: normal[..., [2, 1, 0]]))
    assert "(-z, -y, -x)" in capsys.readouterr().out


def test_normal_axes_option(written, capsys):
    assert check(written, "--normal_axes", "left-up-back") == 0
    assert check(written, "--normal_axes", "right-down-back") == 1
    assert "pass --normal_axes left-up-back" in capsys.readouterr().out


def test_other_axes_in_one(tree, capsys):
    assert check(tree("normals", lambda normal: -normal, only=[2])) == 1
    output = capsys.readouterr().out
    assert "outliers   0003: " in output
    assert "1 of 10 images: normals along other axes" in output


def test_bad_and_missing_files(tree, capsys):
    root = tree("segmentation", lambda ids: ids + 200, only=[2])
    (root / "depth" / "0002.npy").unlink()
    assert check(root) == 1
    output = capsys.readouterr().out
    assert f"{root}/segmentation/0003.png" in output
    assert f"{root}/depth/0002.npy" in output
    assert "1 file is missing" in output
    assert "1 image cannot be used" in output


def test_user_errors(tmp_path, written, capsys):
    for arguments in (
        ["--dataset", "NYUv2", "--dataset_rootdir", str(tmp_path)],
        ["--dataset", "MP3D", "--dataset_rootdir", str(written)],
        ["--dataset", "NYUv2", "--dataset_rootdir", str(written), "--train_list", "x"],
        ["--dataset", "MP3D", "--dataset_rootdir", str(tmp_path), "--normal_axes", "left-up-back"],
    ):
        with pytest.raises(SystemExit) as exit_:
            check_dataset.main(arguments)
        assert exit_.value.code == 2
    assert "--dataset NYUv2" in capsys.readouterr().err

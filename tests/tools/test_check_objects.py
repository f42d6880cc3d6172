"""tools/check_dataset.py accepts correct trees of VOC, COCO and NYU v2 for BTS, and reports faults."""

import json
import shutil

import pytest

from datasets.preparation.detection_layouts import write_detection_dataset
from datasets.preparation.voc_lists import prepare
from tools import check_dataset

NUM = 8
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A function that writes the tree of a dataset once, and returns its folder."""
    written = {}

    def tree(name):
        if name not in written:
            written[name] = tmp_path_factory.mktemp(name) / "tree"
            write_detection_dataset(name, NUM, written[name], height=48)
            if name == "VOC":
                prepare(written[name])
        return written[name]

    return tree


def check(name, root, *more):
    # Few images are read in this process.
    return check_dataset.main(["--dataset", name, "--dataset_rootdir", str(root), *more])


@pytest.mark.parametrize("name", ["VOC", "COCO", "NYU_BTS"])
def test_correct_tree(trees, capsys, name):
    if name == "VOC":
        pytest.importorskip("scipy")
    assert check(name, trees(name)) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == "all right"
    counts = {line.split()[0]: int(line.split()[1]) for line in output.splitlines() if line.startswith(SPLITS)}
    assert counts["train"] + counts["val"] == NUM
    assert counts["test"] == (6 if name == "VOC" else NUM)
    assert ("depth " in output) == (name == "NYU_BTS")
    assert ("hold labels of their class" in output) == (name != "NYU_BTS")
    assert "panorama" not in output
    assert check(name, trees(name), "--split", "test") == 0
    assert "\ntrain " not in capsys.readouterr().out


def test_boxes_of_other_images(trees, tmp_path, capsys):
    root = shutil.copytree(trees("COCO"), tmp_path / "tree")
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        if one["image_id"] > NUM // 2:
            one["image_id"] = NUM // 2 + one["image_id"] % (NUM // 2) + 1
    path.write_text(json.dumps(content))
    assert check("COCO", root, "--split", "train") == 1
    assert "boxes and labels do not match" in capsys.readouterr().out


def test_missing_and_damaged_files(trees, tmp_path, capsys):
    root = shutil.copytree(trees("NYU_BTS"), tmp_path / "tree")
    first, second = sorted((root / "sync").glob("*/*.png"))[:2]
    first.unlink()
    second.write_bytes(b"nothing")
    assert check("NYU_BTS", root) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "1 file is missing" in last
    assert "2 images cannot be used" in last


@pytest.mark.parametrize("more", [("--task", "depth"), ("--train_list", "x"), ("--preview", "1", "--out", "x")])
def test_unsupported_flags(tmp_path, more, capsys):
    with pytest.raises(SystemExit, match="2"):
        check("VOC", tmp_path, *more)
    assert "--split" in capsys.readouterr().err


def test_objects_beyond_the_image(trees, tmp_path, capsys):
    pytest.importorskip("scipy")
    root = shutil.copytree(trees("VOC"), tmp_path / "tree")
    for path in (root / "VOC2012" / "Annotations").glob("*.xml"):
        path.write_text(path.read_text().replace("<xmax>", "<xmax>9"))
    assert check("VOC", root) == 1
    output = capsys.readouterr().out
    assert "objects beyond the image" in output.splitlines()[-1]
    assert "outliers   VOC2012/" in output

"""COCO: classes, crowds, both kinds of label maps, and messages about wrong files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from datasets import build_perspective_dataset
from datasets.coco_labels import COCO_CLASSES, ID_OF_LABEL, LABEL_OF_ID, instance_labels, stuff_labels
from datasets.preparation.detection_layouts import write_detection_dataset
from datasets.preparation.drawn_shapes import draw_image
from utils.errors import UserError

NUM, HEIGHT, WIDTH = 10, 60, 80
BOTH = ("detection", "segmentation")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("COCO") / "tree"
    write_detection_dataset("COCO", NUM, root, HEIGHT)
    return root


@pytest.fixture
def copied(written, tmp_path):
    return shutil.copytree(written, tmp_path / "COCO")


def opened(root, split="train", tasks=BOTH, **more):
    return build_perspective_dataset("COCO", str(root), split, 48, 64, tasks=tasks, **more)


def drawn(index, part="train"):
    return draw_image(index, part, HEIGHT, WIDTH, 80)


def change(root, edit):
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_classes():
    """Some of the published ids; each label is used once."""
    assert len(COCO_CLASSES) == 81
    assert sorted(LABEL_OF_ID.values()) == list(range(1, 81))
    known = {
        1: "person",
        11: "fire hydrant",
        13: "stop sign",
        44: "bottle",
        62: "chair",
        67: "dining table",
        70: "toilet",
    }
    known |= {84: "book", 90: "toothbrush"}
    assert {id_: COCO_CLASSES.names[LABEL_OF_ID[id_]] for id_ in known} == known


def test_images(written):
    """Shapes have boxes that end after their last pixels, except crowds, which are difficult objects."""
    dataset = opened(written)
    assert len(dataset) == NUM
    assert dataset.missing_files() == []
    crowds = 0
    for index in range(NUM):
        image = dataset.read(index)
        expected = [shape for shape in drawn(index).shapes if not shape.is_special]
        crowds += len(drawn(index).shapes) - len(expected)
        bounds = np.array([[*shape.bounds(), shape.label] for shape in expected]).reshape(-1, 5)
        assert np.array_equal(image.boxes, np.add(bounds, [0, 0, 1, 1, 0]))
        is_crowd = image.objects[:, 5] == 1
        assert np.array_equal(image.objects[~is_crowd, :5] - [1, 1, 1, 1, 0], image.boxes)
        assert is_crowd.tolist() == [shape.is_special for shape in drawn(index).shapes]
    assert crowds
    assert len(opened(written, "test")) == NUM


def test_labels_from_stuff_maps(written):
    dataset = opened(written)
    for index in range(NUM):
        labels = drawn(index).labels(255).astype(int)
        assert np.array_equal(dataset.read(index).semantic, np.where(labels == 255, -1, labels))


def test_maps_of_unshifted_ids(copied):
    """They are distinguished from the published maps of ids minus 1 by the boxes; 0 is unlabeled."""
    before = [opened(copied).read(index).semantic for index in range(NUM)]
    for path in (copied / "stuff" / "train2017").glob("*.png"):
        stored = np.array(Image.open(path))
        Image.fromarray(np.where(stored == 255, 0, stored + 1).astype(np.uint8)).save(path)
    dataset = opened(copied)
    for index in range(NUM):
        assert np.array_equal(dataset.read(index).semantic, before[index])


def test_stuff_is_background():
    stored = np.array([[0, 89, 91, 181, 255]], np.uint8)
    assert stuff_labels(stored, first_id=1).tolist() == [[1, 80, 0, 0, -1]]
    assert stuff_labels(stored, first_id=0).tolist() == [[-1, COCO_CLASSES.label("hair drier"), 0, 0, -1]]


def test_labels_from_outlines(copied):
    """Up to the rounding of outlines; crowds are ignored."""
    pytest.importorskip("pycocotools")
    shutil.rmtree(copied / "stuff")
    dataset = opened(copied)
    for index in range(NUM):
        expected = drawn(index).labels(255).astype(int)
        found = dataset.read(index).semantic
        for shape in drawn(index).shapes:
            inside = shape.mask & (expected != 255)
            assert (found[inside] == (-1 if shape.is_special else shape.label)).mean() > 0.97
        assert (found[expected == 0] == 0).mean() > 0.97


def test_overlapping_outlines():
    pytest.importorskip("pycocotools")

    def instance(label, corners, crowd=0):
        x1, y1, x2, y2 = corners
        outline = [[x1, y1, x2, y1, x2, y2, x1, y2]]
        if crowd:
            outline = {"size": [10, 10], "counts": [0, 100]}
        area = (x2 - x1) * (y2 - y1)
        return {"category_id": ID_OF_LABEL[label], "iscrowd": crowd, "area": area, "segmentation": outline}

    small, large, crowd = instance(3, (2, 2, 4, 4)), instance(70, (1, 1, 8, 8)), instance(1, (0, 0, 10, 10), crowd=1)
    for order in ([small, large, crowd], [crowd, large, small], [large, crowd, small]):
        labels = instance_labels(order, 10, 10)
        assert (labels[2:4, 2:4] == 3).all()
        assert (labels == 70).sum() == 49 - 4
        assert (labels == -1).sum() == 100 - 49
    assert not instance_labels([], 4, 5).any()


def test_boxes_are_clipped(copied):
    def edit(content):
        first = content["images"][0]["id"]
        others = [annotation for annotation in content["annotations"] if annotation["image_id"] != first]
        template = dict(content["annotations"][0], image_id=first, iscrowd=0, category_id=90)
        boxes = ([-5, 3, 20, 100], [70.5, 10, 20, 5.25], [80, 0, 10, 10], [3, 3, 0, 9])
        content["annotations"] = others + [dict(template, bbox=list(box)) for box in boxes]

    change(copied, edit)
    image = opened(copied).read(0)
    assert image.boxes.tolist() == [[0, 3, 15, 60, 80], [70.5, 10, 80, 15.25, 80]]
    assert image.objects.tolist() == [[1, 4, 16, 61, 80, 0], [71.5, 11, 81, 16.25, 80, 0]]


def test_images_without_annotations(copied):
    change(copied, lambda content: content.update(annotations=[]))
    shutil.rmtree(copied / "stuff" / "train2017")
    sample = opened(copied, tasks=("detection",))[3]
    assert sample["boxes"].shape == (0, 5)
    assert (sample["semantic"] == -1).all()


def test_splits_and_folders(written, tmp_path):
    train, val, rest = opened(written), opened(written, "val"), opened(written, hold_out_val=True)
    assert len(val) == 1
    assert sorted(val.names + rest.names) == train.names
    for folder in ("mscoco", "COCO"):
        (tmp_path / folder).mkdir()
        shutil.copytree(written, tmp_path / folder / folder)
        assert opened(tmp_path / folder).names == train.names


def test_incomplete_annotations(copied):
    for section, key in (("annotations", "bbox"), ("images", "file_name")):
        change(copied, lambda content, section=section, key=key: content[section][0].pop(key))
        with pytest.raises(UserError, match=r"instances_train2017\.json .*damaged"):
            opened(copied)


def test_wrong_files(copied, tmp_path):
    with pytest.raises(UserError, match=r"instances_train2017\.json is missing"):
        opened(tmp_path / "nothing")
    for path in (copied / "stuff" / "train2017").glob("*.png"):
        Image.fromarray(np.full((HEIGHT, WIDTH), 120, np.uint8)).save(path)
    with pytest.raises(UserError, match="COCO-Stuff"):
        opened(copied)
    next((copied / "images" / "train2017").glob("*.jpg")).unlink()
    assert len(opened(copied, tasks=("detection",)).missing_files()) == 1
    change(copied, lambda content: content["categories"].pop())
    with pytest.raises(UserError, match="the 80 categories"):
        opened(copied)
    (copied / "annotations" / "instances_train2017.json").write_text("{}")
    with pytest.raises(UserError, match="not a COCO annotation file"):
        opened(copied)

"""VOC: lists, boxes, masks, splits, and messages about wrong files."""

import re
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from datasets import build_perspective_dataset
from datasets.preparation.detection_layouts import write_detection_dataset
from datasets.preparation.drawn_shapes import draw_image
from datasets.preparation.voc_lists import prepare
from datasets.voc import VOC_CLASSES
from utils.errors import UserError

pytest.importorskip("scipy")
NUM, HEIGHT = 24, 60
BOTH = ("detection", "segmentation")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The published files of VOC and SBD."""
    root = tmp_path_factory.mktemp("VOC") / "tree"
    write_detection_dataset("VOC", NUM, root, HEIGHT)
    return root


@pytest.fixture(scope="module")
def prepared(bare, tmp_path_factory):
    root = shutil.copytree(bare, tmp_path_factory.mktemp("prepared") / "VOC")
    prepare(root, root / "benchmark_RELEASE")
    return root


@pytest.fixture
def copied(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "VOC")


def opened(root, split="train", tasks=BOTH, **more):
    return build_perspective_dataset("VOC", str(root), split, 48, 64, tasks=tasks, **more)


def drawn(number, part="train"):
    return draw_image(number, part, HEIGHT, 80, 20)


def test_classes():
    assert len(VOC_CLASSES) == 21
    assert VOC_CLASSES.names[0] == "background"
    assert list(VOC_CLASSES.names[1:]) == sorted(VOC_CLASSES.names[1:])
    assert (VOC_CLASSES.label("aeroplane"), VOC_CLASSES.label("person")) == (1, 15)


def test_training_images(prepared):
    """Images of both years; all shapes that are not difficult have boxes, one pixel smaller than the shapes."""
    dataset = opened(prepared)
    assert len(dataset) == NUM
    assert dataset.missing_files() == []
    num_difficult = 0
    for index, (year, image_id) in enumerate(dataset.images):
        image = dataset.read(index)
        number = int(image_id[-6:]) - 1
        expected = drawn(number)
        assert year == ("2007", "2012")[number % 2]
        boxes = [[*shape.bounds(), shape.label] for shape in expected.shapes if not shape.is_special]
        assert image.boxes.tolist() == boxes
        objects = [[*(np.array(shape.bounds()) + 1), shape.label, shape.is_special] for shape in expected.shapes]
        assert image.objects.tolist() == np.array(objects, float).tolist()
        num_difficult += len(image.objects) - len(image.boxes)
        if number % 4 < 2:
            labels = expected.labels(255).astype(int)
            assert np.array_equal(image.semantic, np.where(labels == 255, -1, labels))
        elif year == "2012":  # SBD, without borders
            assert np.array_equal(image.semantic, expected.labels(0))
        else:
            assert (image.semantic == -1).all()
        assert not image.depth.any()
        assert not image.normal.any()
    assert num_difficult


def test_masks_lie_within_boxes(prepared):
    """Also after resizing."""
    dataset = opened(prepared, "test", tasks=BOTH)
    compared = 0
    for index in range(len(dataset)):
        sample = dataset[index]
        for x1, y1, x2, y2, label in sample["boxes"].tolist():
            rows, columns = np.nonzero(sample["semantic"].numpy() == label)
            if len(rows) and (sample["objects"][:, 4] == label).sum() == 1:
                compared += 1
                assert x1 * 64 - 1 <= columns.min()
                assert y1 * 48 - 1 <= rows.min()
                assert columns.max() <= x2 * 64 + 1
                assert rows.max() <= y2 * 48 + 1
    assert compared > NUM / 2


def test_test_images_depend_on_the_tasks(prepared):
    names = opened(prepared, "test").sample_names()
    segmentation = opened(prepared, "test", tasks=("segmentation",)).sample_names()
    assert len(names) == NUM // 2 + NUM // 4
    assert len(segmentation) == NUM // 4
    assert set(segmentation) == {name for name in names if name.startswith("2012/")}


def test_only_needed_files_are_read(copied):
    shutil.rmtree(copied / "VOC2007" / "Annotations")
    shutil.rmtree(copied / "VOC2012" / "Annotations")
    only = opened(copied, tasks=("segmentation",))
    assert only.missing_files() == []
    assert only.read(0).objects.shape == (0, 6)
    assert len(opened(copied).missing_files()) == NUM
    shutil.rmtree(copied / "VOC2007" / "SegmentationClassAug")
    shutil.rmtree(copied / "VOC2012" / "SegmentationClassAug")
    assert (opened(copied, tasks=("segmentation",)).read(0).semantic == -1).all()


def test_validation_images(prepared):
    val, rest, train = (
        {*opened(prepared, split, hold_out_val=out).sample_names()}
        for split, out in (("val", False), ("train", True), ("train", False))
    )
    assert len(val) == round(NUM / 10)
    assert val | rest == train
    assert not val & rest


def test_copies_of_an_image_are_held_out_together(copied):
    """000003 of 2007 is 2007_000003 in 2012."""
    for year, prefix in (("2007", ""), ("2012", "2007_")):
        names = "".join(f"{prefix}{number:06d}\n" for number in range(10))
        (copied / f"VOC{year}" / "ImageSets" / "Main" / "trainvalsegdet.txt").write_text(names)
    names = [opened(copied, split, hold_out_val=True).sample_names() for split in ("val", "train")]
    numbers = [{name[-6:] for name in split} for split in names]
    assert (len(numbers[0]), len(numbers[1])) == (1, 9)
    assert not numbers[0] & numbers[1]


@pytest.mark.parametrize("folder", ["", "VOC", "VOCdevkit"])
def test_folders(prepared, tmp_path, folder):
    shutil.copytree(prepared, tmp_path / "data" / folder, dirs_exist_ok=True)
    assert len(opened(tmp_path / "data")) == NUM


def test_missing_unpublished_lists(bare):
    for split in ("train", "test"):
        with pytest.raises(UserError, match=r"tools\.prepare_voc --root") as error:
            opened(bare, split)
        assert len(str(error.value)) < 480 or len(str(bare)) > 150


def test_missing_years_and_official_lists(copied, tmp_path):
    with pytest.raises(UserError, match="VOC2007 and VOC2012"):
        opened(tmp_path / "nothing")
    (copied / "VOC2007" / "ImageSets" / "Main" / "test.txt").unlink()
    with pytest.raises(UserError, match=r"test\.txt is missing"):
        opened(copied, "test")
    assert opened(copied, "test", tasks=("segmentation",))
    shutil.rmtree(copied / "VOC2007")
    with pytest.raises(UserError, match="has no VOC2007"):
        opened(copied)


def test_damaged_files(copied):
    dataset = opened(copied)
    year, image_id = dataset.images[0]
    folder = copied / f"VOC{year}"
    xml = folder / "Annotations" / f"{image_id}.xml"
    text = xml.read_text()
    names = (re.sub("<name>.*?</name>", f"<name>{name}</name>", text) for name in ("elephant", "background"))
    for wrong in (text[:-20], *names, text.replace("bndbox", "box")):
        xml.write_text(wrong)
        with pytest.raises(UserError, match=re.escape(xml.name)):
            dataset.read(0)
    xml.write_text(text)
    mask = folder / "SegmentationClassAug" / f"{image_id}.png"
    for shape, number, match in (((HEIGHT, 80), 21, "label id 21"), ((5, 5), 0, "differs in size")):
        Image.fromarray(np.full(shape, number, np.uint8)).save(mask)
        with pytest.raises(UserError, match=match):
            dataset.read(0)


def test_images_without_objects(copied):
    dataset = opened(copied)
    year, image_id = dataset.images[1]
    xml = copied / f"VOC{year}" / "Annotations" / f"{image_id}.xml"
    tree = ElementTree.parse(xml)
    for element in tree.getroot().findall("object"):
        tree.getroot().remove(element)
    tree.write(xml)
    assert dataset.read(1).boxes.shape == (0, 5)
    assert dataset[1]["objects"].shape == (0, 6)

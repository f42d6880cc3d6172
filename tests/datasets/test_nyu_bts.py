"""NYU v2 as prepared for BTS, compared with the rendered images."""

import re

import numpy as np
import pytest
from PIL import Image

from datasets import build_perspective_dataset
from datasets.preparation.detection_layouts import write_detection_dataset
from datasets.synthetic_nyu import SyntheticNYU
from utils.errors import UserError

NUM, HEIGHT, WIDTH = 6, 48, 64


@pytest.fixture
def root(tmp_path):
    write_detection_dataset("NYU_BTS", NUM, tmp_path / "NYU", HEIGHT)
    return tmp_path


def opened(root, split="train", tasks=("depth",), **more):
    return build_perspective_dataset("NYU_BTS", str(root), split, HEIGHT, WIDTH, tasks=tasks, **more)


@pytest.mark.parametrize(("split", "folder"), [("train", "sync"), ("test", "official_splits/test")])
def test_images(root, split, folder):
    dataset = opened(root, split)
    rooms = SyntheticNYU(split, NUM, HEIGHT, WIDTH)
    assert len(dataset) == NUM
    assert dataset.missing_files() == []
    for index in range(NUM):
        image = dataset.read(index)
        assert np.abs(image.depth - rooms.read(index).depth).max() <= 0.0005 + 1e-6
        assert np.abs(image.rgb.astype(int) - rooms.read(index).rgb).mean() < 4
        assert (image.semantic == -1).all()
        assert not image.normal.any()
    stored = Image.open(root / "NYU" / folder / dataset.files[0][1])
    assert np.array_equal(np.array(stored), np.rint(dataset.read(0).depth * 1000))
    assert opened(root / "NYU", split).files == dataset.files


def test_validation_is_by_scene(root):
    train, val, rest = opened(root), opened(root, "val"), opened(root, hold_out_val=True)
    assert len(val) == 2
    assert sorted(val.files + rest.files) == train.files
    scenes = [{name.partition("/")[0] for name in dataset.sample_names()} for dataset in (val, rest)]
    assert not scenes[0] & scenes[1]


def test_depth_is_read_only_if_needed(root):
    dataset = opened(root, tasks=("segmentation",))
    for _, depth in dataset.files:
        (root / "NYU" / "sync" / depth).unlink()
    assert dataset.missing_files() == []
    assert not dataset.read(0).depth.any()
    assert len(opened(root).missing_files()) == NUM
    with pytest.raises(UserError, match="is missing"):
        opened(root).read(0)


def test_wrong_files(root):
    dataset = opened(root)
    path = root / "NYU" / "sync" / dataset.files[0][1]
    for size, kind, match in (((4, 5), np.uint16, "differs in size"), ((HEIGHT, WIDTH), np.uint8, "16-bit")):
        Image.fromarray(np.zeros(size, kind)).save(path)
        with pytest.raises(UserError, match=match) as error:
            dataset.read(0)
        assert re.search(re.escape(path.name), str(error.value))
    name = root / "NYU" / "nyudepthv2_train_files_with_gt.txt"
    name.write_text("only_one\n")
    with pytest.raises(UserError, match=name.name):
        opened(root)
    name.write_text("")
    with pytest.raises(UserError, match="no image of the split"):
        opened(root)
    name.unlink()
    with pytest.raises(UserError, match=name.name):
        opened(root)

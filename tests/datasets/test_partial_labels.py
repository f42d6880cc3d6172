"""Lists of the tasks with ground truth for each training image of NYU v2."""

import numpy as np
import pytest
import torch

from datasets.nyuv2 import NYUv2
from datasets.preparation.nyu_layouts import STORED_AXES, write_nyu_dataset
from utils.errors import UserError

NUM = 4
WEIGHTS = torch.tensor([[1.0, 0, 0], [0, 0.5, 0], [0, 0, 2], [1, 1, 0]])  # of segmentation, depth, normals


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("M") / "tree"
    write_nyu_dataset("NYUv2-M", NUM, root, 48)
    return root


def opened(root, path, split="train", **more):
    return NYUv2(root, split, 24, 32, normal_axes=STORED_AXES, partial_labels=path, **more)


def known(dataset):
    """For each image, whether it has labels, depth and normals."""
    samples = [dataset[index] for index in range(len(dataset))]
    return [[bool(x.any()) for x in (s["semantic"] >= 0, s["depth_mask"], s["normal_mask"])] for s in samples]


@pytest.mark.parametrize("stored", [WEIGHTS, WEIGHTS.numpy().tolist(), dict(enumerate(WEIGHTS))])
def test_published_lists(tree, tmp_path, stored):
    torch.save({"labels_weights": stored}, tmp_path / "list.pth", _use_new_zipfile_serialization=False)
    dataset = opened(tree, tmp_path / "list.pth")
    assert known(dataset) == (WEIGHTS > 0).tolist()
    assert dataset.describe_source()["partial_labels"].startswith("list.pth ")


def test_describe_source_covers_the_content(tree, tmp_path):
    """Training must not resume with another list of the same name."""
    path = tmp_path / "list.txt"
    facts = set()
    for task in ("depth", "normal"):
        path.write_text("".join(f"train/{number} {task}\n" for number in range(NUM)))
        facts.add(opened(tree, path).describe_source()["partial_labels"])
    assert len(facts) == 2


def test_text_lists(tree, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("train/0 depth segmentation\ntrain/1 normal\n\ntrain/2\ntrain/3 depth\n")
    expected = [[True, True, False], [False, False, True], [False, False, False], [False, True, False]]
    assert known(opened(tree, path)) == expected
    assert known(opened(tree, path, tasks=("depth",))) == [[False, row[1], False] for row in expected]


def test_only_training_images_are_affected(tree, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"train/{number}\n" for number in range(NUM)))
    assert not np.any(known(opened(tree, path)))
    for split in ("val", "test"):
        dataset = opened(tree, path, split)
        assert np.all(known(dataset))
        assert "partial_labels" not in dataset.describe_source()


def test_omitted_tasks_need_no_files(tree, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"train/{number} depth\n" for number in range(NUM)))
    dataset = opened(tree, path)
    dataset.layout.FOLDERS = dataset.layout.FOLDERS | {"normal": "nowhere"}
    assert dataset.missing_files() == []
    assert dataset.read(0).depth.any()


def test_wrong_lists(tree, tmp_path):
    path = tmp_path / "list.txt"
    for text, match in (
        ("train/0 depth\n", "3 of the 4 training images"),
        ("train/0 detection\n", "list.txt"),
        ("".join(f"train/{number}\n" for number in range(NUM)) + "train/2 depth\n", "train/2 in several lines"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=match):
            opened(tree, path)
    for name in ("none.txt", "none.pth"):
        with pytest.raises(UserError, match=f"{name} is missing"):
            opened(tree, tmp_path / name)
    path = tmp_path / "list.pth"
    for content in ({"labels_weights": WEIGHTS[:, :2]}, {"other": WEIGHTS}, [1], {"labels_weights": 3}, opened):
        torch.save(content, path)
        with pytest.raises(UserError, match=r"list\.pth"):
            opened(tree, path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"list\.pth"):
        opened(tree, path)


def test_published_lists_need_copy_m_or_h(tmp_path):
    write_nyu_dataset("NYUv2-B", 1, tmp_path / "tree", 48)
    torch.save({"labels_weights": WEIGHTS}, tmp_path / "list.pth")
    with pytest.raises(UserError, match="copies M and H"):
        opened(tmp_path / "tree", tmp_path / "list.pth")

"""--dataset Synthetic: sample contract, reproducibility, cache."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets.classes import STANFORD2D3D
from datasets.panorama import MAX_DEPTH
from datasets.synthetic import SyntheticRooms

H, W = 32, 64


def assert_same(a, b):
    assert a.id == b.id
    for name in ("rgb", "depth", "normal", "semantic"):
        first, second = getattr(a, name), getattr(b, name)
        assert first.dtype == second.dtype
        assert np.array_equal(first, second), name


def test_sample_contract():
    sample = SyntheticRooms("train", 13, H, W)[12]
    assert sample["id"] == "synthetic/train/000012"
    assert sample["index"] == 12
    shapes = {key: tuple(value.shape) for key, value in sample.items() if isinstance(value, torch.Tensor)}
    assert shapes == {
        "rgb": (3, H, W),
        "depth": (1, H, W),
        "normal": (3, H, W),
        "semantic": (H, W),
        "depth_mask": (1, H, W),
        "normal_mask": (1, H, W),
    }
    assert sample["depth_mask"].all()
    assert sample["normal_mask"].all()


def test_augmentation_is_applied():
    dataset = SyntheticRooms("train", 1, H, W, augment=lambda panorama: replace(panorama, id="augmented"))
    assert dataset[0]["id"] == "augmented"


def test_rooms_are_reproducible():
    one, other = (SyntheticRooms("val", count, H, W, seed=4) for count in (3, 9))
    assert_same(one.read(2), other.read(2))


def test_splits_seeds_and_indices_differ():
    datasets = [SyntheticRooms(split, 3, H, W, seed=seed) for split in ("train", "val", "test") for seed in (0, 1)]
    rooms = [dataset.room(i) for dataset in datasets for i in range(3)]
    assert len({room.corners for room in rooms}) == len(rooms)
    assert len({room.camera for room in rooms}) == len(rooms)
    assert len({dataset.read(0).rgb.tobytes() for dataset in datasets}) == len(datasets)


def test_all_classes_occur():
    dataset = SyntheticRooms("train", 60, H, W)
    rooms_with, deep, pixels = Counter(), 0, 0
    for i in range(len(dataset)):
        panorama = dataset.read(i)
        rooms_with.update(np.unique(panorama.semantic).tolist())
        deep += int((panorama.depth > MAX_DEPTH).sum())
        pixels += panorama.depth.size
    assert set(rooms_with) == set(range(len(STANFORD2D3D)))
    assert min(rooms_with.values()) >= 10
    assert deep < 0.01 * pixels


def test_cache(tmp_path):
    cached = SyntheticRooms("train", 2, H, W, cache_dir=tmp_path / "new" / "folder")
    rendered = SyntheticRooms("train", 2, H, W).read(1)
    assert_same(cached.read(1), rendered)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.suffix for path in files] == [".npz"]  # and no temporary file
    assert_same(cached.read(1), rendered)


def test_cached_file_is_used(tmp_path, monkeypatch):
    dataset = SyntheticRooms("train", 2, H, W, cache_dir=tmp_path)
    first = dataset.read(0)
    monkeypatch.setattr("datasets.synthetic.render_room", lambda *_: pytest.fail("rendered again"))
    assert_same(dataset.read(0), first)


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "flipped", "other arrays", "other size"])
def test_damaged_cache_files_are_replaced(tmp_path, damage):
    dataset = SyntheticRooms("train", 2, H, W, cache_dir=tmp_path)
    intact = dataset.read(0)
    (path,) = tmp_path.rglob("*.npz")
    good = path.read_bytes()
    if damage == "other arrays":
        np.savez(path, something=np.zeros(3))
    elif damage == "other size":
        np.savez(path, rgb=intact.rgb[1:], depth=intact.depth, normal=intact.normal, semantic=intact.semantic)
    else:
        middle = len(good) // 2
        flipped = good[:middle] + bytes(255 - b for b in good[middle : middle + 50]) + good[middle + 50 :]
        path.write_bytes({"empty": b"", "cut": good[:middle], "noise": b"x" * 999, "flipped": flipped}[damage])
    assert_same(dataset.read(0), intact)
    assert path.read_bytes() == good
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_cache_files_are_separate(tmp_path):
    for split, seed, height in (("train", 0, 16), ("val", 0, 16), ("train", 1, 16), ("train", 0, 32)):
        dataset = SyntheticRooms(split, 1, height, 2 * height, seed=seed, cache_dir=tmp_path)
        assert_same(dataset.read(0), SyntheticRooms(split, 1, height, 2 * height, seed=seed).read(0))
    assert len(list(tmp_path.rglob("*.npz"))) == 4


def test_wrong_arguments():
    with pytest.raises(ValueError, match="split"):
        SyntheticRooms("training", 1, H, W)
    with pytest.raises(ValueError, match="twice"):
        SyntheticRooms("train", 1, H, H)
    dataset = SyntheticRooms("train", 2, H, W)
    for index in (-1, 2):
        with pytest.raises(IndexError):
            dataset.read(index)
    assert len(list(dataset)) == len(dataset) == 2


def test_varied_rooms(tmp_path):
    plain, varied = (SyntheticRooms("train", 2, 16, 32, cache_dir=tmp_path, rooms=r) for r in ("furnished", "varied"))
    assert plain.sample_names()[1] == "synthetic/train/0/000001"
    assert varied.sample_names()[1] == "synthetic/varied/train/0/000001"
    assert not np.array_equal(plain.read(1).rgb, varied.read(1).rgb)
    assert len(list(tmp_path.rglob("*.npz"))) == 2
    assert_same(varied.read(1), SyntheticRooms("train", 2, 16, 32, rooms="varied").read(1))

"""Evaluation masks: one image for all panoramas, or one for each."""

import cv2
import numpy as np
import pytest
import torch

from datasets.masks import MaskedBatches, Masks
from datasets.turned import TurnedBatches
from utils.batches import STORED
from utils.errors import UserError

IDS = ["area_1/rgb/a_rgb.png", "area_2/rgb/b_rgb.png"]


def write_mask(path, height: int = 8) -> np.ndarray:
    """Write a random mask with several grays, and return it as (H, 2H) bool."""
    generator = np.random.default_rng(len(str(path)))
    values = generator.integers(0, 3, (height, 2 * height)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), values)
    return values > 0


def masks_of(path, height: int = 8, ids=IDS) -> np.ndarray:
    batch = {"rgb": torch.zeros(len(ids), 3, height, 2 * height), "id": ids}
    (masked,) = MaskedBatches([batch], Masks(path))
    assert masked["mask"].shape == (len(ids), 1, height, 2 * height)
    return masked["mask"][:, 0].numpy()


def test_one_image_for_all(tmp_path):
    mask = write_mask(tmp_path / "mask.png")
    assert (masks_of(tmp_path / "mask.png") == mask).all()
    assert (masks_of(tmp_path / "mask.png", 16) == mask.repeat(2, 0).repeat(2, 1)).all()
    small = masks_of(tmp_path / "mask.png", 2)  # pixel i covers 4 i to 4 i + 3; its center is the edge before 4 i + 2
    assert (small == mask[2::4, 2::4]).all()


def test_one_image_for_each(tmp_path):
    """In the folder tree of the ids, or by the last part of the id."""
    for stems in (["area_1/rgb/a_rgb", "area_2/rgb/b_rgb"], ["a_rgb", "b_rgb"]):
        folder = tmp_path / str(len(stems[0]))
        expected = np.stack([write_mask(folder / f"{stem}.png") for stem in stems])
        assert (masks_of(folder) == expected).all()
    assert_error(lambda: masks_of(folder, ids=["area_1/rgb/c_rgb.png"]), "--mask", "c_rgb")
    assert_error(lambda: masks_of(folder, ids=[IDS[0], "area_2/rgb/a_rgb.png"]), "several")


def test_unusable_masks(tmp_path):
    assert_error(lambda: Masks(tmp_path / "nothing"), "--mask", "nothing")
    cv2.imwrite(str(tmp_path / "square.png"), np.ones((8, 8), np.uint8))
    assert_error(lambda: masks_of(tmp_path / "square.png"), "square.png")
    cv2.imwrite(str(tmp_path / "lossy.jpg"), np.ones((8, 16), np.uint8))
    assert_error(lambda: masks_of(tmp_path / "lossy.jpg"), "lossy.jpg")


def test_digest(tmp_path):
    """Depends on contents and, in a folder, on names, but not on the location."""
    write_mask(tmp_path / "a" / "x.png")
    (tmp_path / "copy").symlink_to(tmp_path / "a")
    digests = [Masks(tmp_path / "a").digest(), Masks(tmp_path / "a/x.png").digest()]
    assert Masks(tmp_path / "copy").digest() == digests[0]
    (tmp_path / "a/x.png").rename(tmp_path / "a/y.png")
    digests.append(Masks(tmp_path / "a").digest())
    assert Masks(tmp_path / "a/y.png").digest() == digests[1]
    write_mask(tmp_path / "a/y.png", 4)
    digests.append(Masks(tmp_path / "a").digest())
    assert len(set(digests)) == 4


def test_masks_turn_with_panoramas(tmp_path):
    """By half a turn, at both sizes; the stored panorama has a mask of its size."""
    mask = write_mask(tmp_path / "mask.png", 16)
    maps = {"rgb": torch.zeros(1, 3, 16, 32), "depth": torch.ones(1, 1, 16, 32), "normal": torch.zeros(1, 3, 16, 32)}
    maps |= {"depth_mask": maps["depth"] > 0, "normal_mask": maps["depth"] > 0, "semantic": torch.zeros(1, 16, 32)}
    small = {key: value[..., ::2, ::2] for key, value in maps.items()}
    batches = MaskedBatches([small | {"id": ["a"], STORED: maps | {"id": ["a"]}}], Masks(tmp_path / "mask.png"))
    (turned,) = TurnedBatches(batches, (180.0, 0.0, 0.0), "camera")
    assert (turned[STORED]["mask"][0, 0].numpy() == np.roll(mask, 16, 1)).all()
    assert turned["mask"].shape == (1, 1, 8, 16)


def assert_error(call, *words):
    with pytest.raises(UserError) as info:
        call()
    assert "\n" not in str(info.value)
    for word in words:
        assert word in str(info.value)

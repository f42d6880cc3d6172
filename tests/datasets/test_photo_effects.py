"""Photographic effects: colors change at random, geometry does not."""

import numpy as np
import pytest
import torch

from datasets import photo_effects as effects
from datasets.augment import Augmentation
from datasets.photo_effects import photo_effects
from datasets.synthetic import SyntheticRooms

EFFECTS = ("_expose", "_tint", "_saturate", "_glare", "_blur", "_cover_pole", "_noise")


@pytest.fixture(scope="module")
def panorama():
    return SyntheticRooms("train", 1, 32, 64).read(0)


@pytest.mark.parametrize("effect", EFFECTS)
def test_effects_depend_on_the_seed(panorama, effect):
    image = panorama.rgb.astype(np.float32) / 255
    first, other, same = (getattr(effects, effect)(image.copy(), np.random.default_rng(s)) for s in (0, 1, 0))
    assert first.shape == image.shape
    assert np.array_equal(first, same)
    assert np.abs(first - image).max() > 1e-3
    assert np.abs(first - other).max() > 1e-3


def test_blur_and_glare_wrap_around(panorama):
    """They commute with rolling."""
    image = panorama.rgb.astype(np.float32) / 255
    for effect in (effects._blur, effects._glare):
        rolled = effect(np.roll(image, 20, axis=1), np.random.default_rng(0))
        np.testing.assert_allclose(rolled, np.roll(effect(image, np.random.default_rng(0)), 20, axis=1), atol=1e-5)


def test_saturation_keeps_brightness_and_tint_keeps_black():
    image = np.random.default_rng(0).random((8, 16, 3), np.float32)
    gray = effects._saturate(image, np.random.default_rng(1))
    np.testing.assert_allclose(gray.mean(-1), image.mean(-1), atol=1e-5)
    assert not effects._tint(np.zeros_like(image), np.random.default_rng(1)).any()


def test_augmentation_changes_only_colors(panorama):
    augment = Augmentation(yaw=False, flip=False, color=False, photo=True)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(augment(panorama))
    first, same, other = results
    assert first.rgb.dtype == np.uint8
    assert first.rgb.shape == panorama.rgb.shape
    assert np.array_equal(first.rgb, same.rgb)
    assert not np.array_equal(first.rgb, other.rgb)
    assert all(getattr(first, name) is getattr(panorama, name) for name in ("depth", "normal", "semantic"))


def test_zero_probability(panorama, monkeypatch):
    monkeypatch.setattr(effects, "_PROBABILITY", 0.0)
    assert np.array_equal(photo_effects(panorama.rgb, np.random.default_rng(0)), panorama.rgb)

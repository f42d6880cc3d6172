"""Orders and signs of axes, and their descriptions."""

import numpy as np
import pytest

from datasets.preparation.axes import ALL_AXES, axes_in_words, cosines_along_axes


def test_all_axes():
    assert np.array_equal(ALL_AXES[0], np.eye(3))
    assert len({axes_in_words(axes) for axes in ALL_AXES}) == 48


def test_cosines_along_axes():
    vectors, targets = np.random.default_rng(0).normal(size=(2, 7, 3))
    expected = [[target @ axes @ vector for axes in ALL_AXES] for vector, target in zip(vectors, targets, strict=True)]
    assert cosines_along_axes(vectors, targets) == pytest.approx(np.array(expected))


def test_axes_in_words():
    assert axes_in_words(np.eye(3)) == "(x, y, z)"
    assert axes_in_words(np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]])) == "(-z, -y, x)"

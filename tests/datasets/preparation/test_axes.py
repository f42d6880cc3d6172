"""Orders and signs of axes, and their descriptions."""

import numpy as np

from datasets.preparation.axes import ALL_AXES, axes_in_words


def test_all_axes():
    assert np.array_equal(ALL_AXES[0], np.eye(3))
    assert len({axes_in_words(axes) for axes in ALL_AXES}) == 48


def test_axes_in_words():
    assert axes_in_words(np.eye(3)) == "(x, y, z)"
    assert axes_in_words(np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]])) == "(-z, -y, x)"

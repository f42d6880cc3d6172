"""Views against the geometry of the sphere."""

import numpy as np
import pytest
import torch

from utils.sphere import erp_rays
from utils.views import View

HEIGHT, WIDTH = 8, 16
VIEWS = [View(0), View(5), View(0, mirrored=True), View(5, mirrored=True), View(15, mirrored=True)]


def rays() -> torch.Tensor:
    return torch.tensor(erp_rays(HEIGHT, WIDTH)).movedim(-1, 0)  # (3, H, W)


def test_apply():
    """Pixels move to the right, then are mirrored."""
    row = torch.tensor([0, 1, 2, 3])
    assert View(1).apply(row).tolist() == [3, 0, 1, 2]
    assert View(1, mirrored=True).apply(row).tolist() == [2, 1, 0, 3]


@pytest.mark.parametrize("view", VIEWS)
def test_undo(view):
    maps = torch.randn(2, 3, HEIGHT, WIDTH)
    assert torch.equal(view.undo(view.apply(maps)), maps)


@pytest.mark.parametrize("view", VIEWS)
def test_camera_frame_vectors(view):
    """The rotated ray of a pixel is the ray of the pixel it moves to."""
    turned = torch.einsum("ij,jhw->ihw", torch.tensor(view.vector_matrix(WIDTH, "camera")), rays())
    torch.testing.assert_close(view.apply(turned), rays())


def test_world_frame_vectors():
    """They are only mirrored."""
    assert np.array_equal(View(5).vector_matrix(WIDTH, "world"), np.eye(3))
    assert np.array_equal(View(5, mirrored=True).vector_matrix(WIDTH, "world"), np.diag([-1, 1, 1]))

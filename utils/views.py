"""Views of a panorama, rotated about the vertical and optionally mirrored: their effect on pixels and vectors."""

import math
from typing import NamedTuple

import numpy as np
import torch

from utils.sphere import yaw_rotation

_MIRROR = np.diag([-1.0, 1.0, 1.0])


class View(NamedTuple):
    """A panorama rolled to the right by whole columns, then optionally mirrored.

    Attributes:
        columns: number of columns.
        mirrored: whether the order of the columns is then reversed.
    """

    columns: int
    mirrored: bool = False

    def apply(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (..., W) of the panorama as seen in the view. Vectors are not rotated: see `vector_matrix`."""
        rolled = maps.roll(self.columns, dims=-1)
        return rolled.flip(-1) if self.mirrored else rolled

    def undo(self, maps: torch.Tensor) -> torch.Tensor:
        """The inverse of `apply`."""
        rolled = maps.flip(-1) if self.mirrored else maps
        return rolled.roll(-self.columns, dims=-1)

    def vector_matrix(self, width: int, frame: str) -> np.ndarray:
        """The orthogonal 3x3 matrix that maps vectors of the panorama to those of the view.

        Args:
            width: columns of the panorama.
            frame: "camera" for vectors that rotate with the pixels, "world" for those of the building, which are
                constant. Mirroring negates x in both frames, as the view then shows the mirrored building.
        """
        turn = yaw_rotation(2 * math.pi * self.columns / width) if frame == "camera" else np.eye(3)
        return _MIRROR @ turn if self.mirrored else turn

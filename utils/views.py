"""A panorama turned about the vertical and perhaps mirrored: what that does to its pixels, and to vectors."""

import math
from typing import NamedTuple

import numpy as np
import torch

from utils.sphere import yaw_rotation

_MIRROR = np.diag([-1.0, 1.0, 1.0])


class View(NamedTuple):
    """A panorama rolled to the right by whole columns, then mirrored if so.

    Attributes:
        columns: how many.
        mirrored: whether the columns are then put in reverse order.
    """

    columns: int
    mirrored: bool = False

    def apply(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (..., W) of the panorama as they are in the view. Vectors do not turn: see `vector_matrix`."""
        rolled = maps.roll(self.columns, dims=-1)
        return rolled.flip(-1) if self.mirrored else rolled

    def undo(self, maps: torch.Tensor) -> torch.Tensor:
        """The inverse of `apply`."""
        rolled = maps.flip(-1) if self.mirrored else maps
        return rolled.roll(-self.columns, dims=-1)

    def vector_matrix(self, width: int, frame: str) -> np.ndarray:
        """The orthogonal 3x3 matrix that turns vectors of the panorama into those of the view.

        Args:
            width: columns of the panorama.
            frame: "camera" for vectors that turn with the pixels, "world" for those of the building, which stay as they
                are. A mirror negates x in both: it is right in a world frame too, for the mirror image of the building.
        """
        turn = yaw_rotation(2 * math.pi * self.columns / width) if frame == "camera" else np.eye(3)
        return _MIRROR @ turn if self.mirrored else turn

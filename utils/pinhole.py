"""Pinhole cameras: intrinsics, rays, and points of depth along the optical axis.

Axes as in `utils.sphere`: x right, y down, z forward. Pixel (0, 0) is the top left one and its *center* is at
``(row, col) = (0, 0)``; depth is the z coordinate in meters.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pinhole:
    """A camera without distortion: a point (x, y, z) is seen at column fx x / z + cx, row fy y / z + cy.

    Attributes:
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels.
        height, width: image size.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    height: int
    width: int

    @classmethod
    def from_fov(cls, degrees: float, height: int, width: int) -> "Pinhole":
        """A camera with this horizontal field of view, square pixels and a centered principal point."""
        return cls._centered(width / 2 / math.tan(math.radians(degrees) / 2), height, width)

    @classmethod
    def from_35mm(cls, focal_length: float, height: int, width: int) -> "Pinhole":
        """As `from_fov`, with the *diagonal* field of view of this focal length in millimeters on 36x24 mm film."""
        return cls._centered(focal_length * math.hypot(height, width) / math.hypot(36, 24), height, width)

    @classmethod
    def _centered(cls, focal_length: float, height: int, width: int) -> "Pinhole":
        return cls(focal_length, focal_length, width / 2 - 0.5, height / 2 - 0.5, height, width)

    def scaled(self, height: int, width: int) -> "Pinhole":
        """The camera of its images after resizing."""
        scale_y, scale_x = height / self.height, width / self.width
        cx, cy = (self.cx + 0.5) * scale_x - 0.5, (self.cy + 0.5) * scale_y - 0.5
        return Pinhole(self.fx * scale_x, self.fy * scale_y, cx, cy, height, width)

    def cropped(self, top: int, left: int, height: int, width: int) -> "Pinhole":
        """The camera of its images after cropping."""
        return Pinhole(self.fx, self.fy, self.cx - left, self.cy - top, height, width)

    def rays(self) -> np.ndarray:
        """Rays (H, W, 3) through the pixel centers, scaled to z = 1."""
        x = (np.arange(self.width) - self.cx) / self.fx
        y = (np.arange(self.height) - self.cy) / self.fy
        x, y = np.broadcast_arrays(x, y[:, None])
        return np.stack([x, y, np.ones_like(x)], axis=-1)

    def points(self, depth: np.ndarray) -> np.ndarray:
        """Points (H, W, 3) in meters, from depth (H, W)."""
        return depth[..., None] * self.rays()

    def project(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractional (row, col) of vectors (..., 3) of any length; NaN outside the image."""
        x, y, z = np.moveaxis(vectors, -1, 0)
        z = np.where(z > 0, z, np.nan)
        row, col = self.fy * y / z + self.cy, self.fx * x / z + self.cx
        seen = (row >= -0.5) & (row <= self.height - 0.5) & (col >= -0.5) & (col <= self.width - 0.5)
        return np.where(seen, row, np.nan), np.where(seen, col, np.nan)

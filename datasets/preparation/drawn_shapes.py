"""Synthetic images for detection: shapes whose colors identify their classes."""

from dataclasses import dataclass

import cv2
import numpy as np

from utils.colors import distinct_colors

_STREAM = 2017  # makes the random streams of these images independent of others with the same seed
_CELLS = 2  # rows and columns of cells, each with one shape at most
_SMALLEST = 0.35  # minimum size of a shape, relative to its cell
_NOISE = 12  # standard deviation of the colors
_CORNERS = (4, 32, 3)  # of rectangles, ellipses, triangles


@dataclass(frozen=True)
class Shape:
    """A shape of an image.

    Attributes:
        label: class, 1 or more.
        outline: (n, 2) int, x and y of its corners in pixels, counted from 0.
        mask: (H, W) bool.
        is_special: True for a few shapes, which are stored as difficult objects or crowds.
    """

    label: int
    outline: np.ndarray
    mask: np.ndarray
    is_special: bool

    def bounds(self) -> tuple[int, int, int, int]:
        """First column and row, last column and row, counted from 0."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


@dataclass(frozen=True)
class DrawnImage:
    """RGB (H, W, 3) uint8 with one to four shapes that do not overlap."""

    rgb: np.ndarray
    shapes: list[Shape]

    def labels(self, border: int) -> np.ndarray:
        """Classes (H, W) uint8, 0 = background, with the value `border` at the edges of the shapes."""
        labels = np.zeros(self.rgb.shape[:2], np.uint8)
        for shape in self.shapes:
            labels[shape.mask] = shape.label
        edges = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        return np.where(edges, np.uint8(border), labels)


def draw_image(index: int, part: str, height: int, width: int, num_labels: int, seed: int = 0) -> DrawnImage:
    """The image with this index in a part of the dataset, with classes from 1 to `num_labels`."""
    rng = np.random.default_rng([_STREAM, seed, *part.encode(), index])
    colors = distinct_colors(num_labels)
    rgb = np.empty((height, width, 3), np.float32)
    rgb[:] = rng.uniform(60, 200)
    shapes = []
    for cell in rng.choice(_CELLS**2, rng.integers(1, _CELLS**2 + 1), replace=False):
        label = int(rng.integers(1, num_labels + 1))
        outline = _outline(rng, divmod(int(cell), _CELLS), height // _CELLS, width // _CELLS, _CORNERS[label % 3])
        mask = cv2.fillPoly(np.zeros((height, width), np.uint8), [outline], 1).astype(bool)
        rgb[mask] = colors[label - 1]
        shapes.append(Shape(label, outline, mask, is_special=bool(shapes) and rng.random() < 0.3))
    noisy = rgb + rng.normal(0, _NOISE, rgb.shape)
    return DrawnImage(noisy.clip(0, 255).astype(np.uint8), shapes)


def _outline(rng: np.random.Generator, cell: tuple[int, int], height: int, width: int, corners: int) -> np.ndarray:
    """x and y (corners, 2) int of a random polygon in a cell of height x width, at least one pixel from its border."""
    sides = np.array([width, height]) - 3
    size = sides * rng.uniform(_SMALLEST, 1, 2)
    first = np.array([cell[1] * width, cell[0] * height]) + 1 + (sides - size) * rng.uniform(0, 1, 2)
    angles = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    circle = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    unit = (circle - circle.min(0)) / np.ptp(circle, axis=0)
    return np.rint(first + unit * size).astype(np.int32)

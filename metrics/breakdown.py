"""Errors by distance and by latitude, and confusion of classes.

Unlike the metrics, which are means over images, these are means over all valid pixels of the dataset with equal weight:
within a band of latitude, solid angles hardly differ. Every bin has its number of pixels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from utils.distributed import gather_objects
from utils.sphere import pixels_to_angles
from utils.tasks import MAX_DEPTH

DISTANCES = np.linspace(0, MAX_DEPTH, 11)  # meters: edges of the bins of ground truth depth, the last one closed
LATITUDES = np.linspace(-90, 90, 19)  # degrees, growing downward (see `utils.sphere`): edges of the bands
_BINS = len(DISTANCES) - 1
_BANDS = len(LATITUDES) - 1
_CELLS = (_BINS + 1) * _BANDS  # of `_cells`


class PixelError(NamedTuple):
    """A per-pixel error: its name, and its unit, where "m" stands for the dataset's unit of depth."""

    label: str
    unit: str


@dataclass(frozen=True)
class Profile:
    """Mean errors in the bins of one quantity.

    Attributes:
        edges: of the n bins, ascending, (n + 1,).
        means: of each `PixelError`, (n,) float64, NaN where a bin is empty.
        counts: valid pixels in each bin, (n,) int64.
    """

    edges: np.ndarray
    means: dict[PixelError, np.ndarray]
    counts: np.ndarray


@dataclass(frozen=True)
class Breakdown:
    """Error profiles of one task.

    Attributes:
        by_distance: by ground truth depth, of the valid pixels that have it; see DISTANCES.
        by_latitude: of all valid pixels; see LATITUDES.
        confusion: (K, K) pixel counts, ground truth by prediction; None for tasks without classes.
    """

    by_distance: Profile
    by_latitude: Profile
    confusion: np.ndarray | None = None


class ErrorProfiles:
    """Accumulates per-pixel errors by distance and by latitude.

    Sums are kept per image and added in the order of the dataset, so that they do not depend on batches or processes.

    Args:
        kinds: of the m rows of errors.
    """

    def __init__(self, kinds: tuple[PixelError, ...]):
        self._kinds = kinds
        # Per image (1 + m, bins + bands): numbers of pixels, then sums of errors.
        self._sums: dict[int, np.ndarray] = {}

    def add(self, errors: torch.Tensor, mask: torch.Tensor, batch: dict, i: int) -> None:
        """Add the errors (m, n) of the n pixels of a mask (1, H, W): sample i of a batch."""
        cells = _cells(batch["depth"][i], batch["depth_mask"][i])[mask]  # (n,)
        rows = [torch.bincount(cells, minlength=_CELLS), *(_sum(row, cells) for row in errors)]
        table = torch.stack(rows).view(-1, _BINS + 1, _BANDS)
        sums = torch.cat([table.sum(2)[:, :_BINS], table.sum(1)], dim=1)
        self._sums[int(batch["index"][i])] = sums.cpu().numpy()

    def compute(self) -> tuple[Profile, Profile]:
        """Mean errors of all images of all processes by distance and by latitude."""
        of_images = {index: sums for gathered in gather_objects(self._sums) for index, sums in gathered.items()}
        total = np.zeros((1 + len(self._kinds), _BINS + _BANDS))
        for index in sorted(of_images):
            total += of_images[index]
        by_distance, by_latitude = np.split(total, [_BINS], axis=1)
        return self._profile(DISTANCES, by_distance), self._profile(LATITUDES, by_latitude)

    def _profile(self, edges: np.ndarray, sums: np.ndarray) -> Profile:
        counts = sums[0]
        with np.errstate(invalid="ignore"):  # an empty bin has no mean: NaN
            means = dict(zip(self._kinds, sums[1:] / counts, strict=True))
        return Profile(edges, means, counts.astype(np.int64))


def _cells(depth: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The cell (1, H, W) of each pixel in a table of bins of distance and bands of latitude, row by row.

    Args:
        depth, known: ground truth depth and its valid mask, (1, H, W); other pixels are in an extra bin after the last.
    """
    edges = torch.tensor(DISTANCES[1:-1], dtype=depth.dtype, device=depth.device)  # inner edges
    bins = torch.bucketize(depth, edges, out_int32=True, right=True).masked_fill_(~known, _BINS)
    bands = torch.tensor(_band_of_rows(depth.shape[-2]), dtype=torch.int32, device=depth.device)
    return bins.mul_(_BANDS).add_(bands[:, None])


def _band_of_rows(height: int) -> np.ndarray:
    """The band of LATITUDES (H,) in which the center of each row of an ERP image lies."""
    _, latitude = pixels_to_angles(np.arange(height), np.zeros(height), height, 2 * height)
    return np.searchsorted(LATITUDES, np.degrees(latitude), side="right") - 1


def _sum(values: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Sums (cells,) of the values (n,) in each cell."""
    return torch.bincount(cells, values, minlength=_CELLS)

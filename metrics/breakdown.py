"""Errors by distance and by latitude, and confusion of classes.

Unlike the metrics, which are means over images, these are means over all valid pixels of the dataset with equal weight:
within a band of latitude, solid angles hardly differ. Every bin has its number of pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from metrics.constants import DISTANCES, LATITUDES, bands_of_rows, inner_distances
from utils.distributed import gather_objects

_BINS = len(DISTANCES) - 1
_BANDS = len(LATITUDES) - 1


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
        kinds: what the m errors are.

    Attributes:
        shape: of what is kept of an image, (1 + m, bins + bands): numbers of pixels, then sums of errors.
    """

    def __init__(self, kinds: tuple[PixelError, ...]):
        self._kinds = kinds
        self.shape = (1 + len(kinds), _BINS + _BANDS)
        self._sums: dict[int, np.ndarray] = {}

    def of_rows(
        self, errors: Sequence[torch.Tensor], known: torch.Tensor, batch: dict, rows: slice = slice(None)
    ) -> torch.Tensor:
        """Numbers of pixels and sums of errors in some rows of the images, for each bin of distance.

        Args:
            errors: each of the m errors in those rows, (B, h, W).
            known: which pixels count, (B, h, W).
            batch: with the true depths of whole images.
            rows: of them.

        Returns:
            (B, 1 + m, h, bins + 1) float64; the last bin has the pixels without a true depth.
        """
        depth, has_depth = batch["depth"][:, 0, rows], batch["depth_mask"][:, 0, rows]
        edges = inner_distances(depth.dtype, depth.device)  # between the first bin and the last
        bins = torch.bucketize(depth.contiguous(), edges, right=True).masked_fill_(~has_depth, _BINS)
        values = torch.stack([known.double(), *(torch.where(known, error, 0).double() for error in errors)], dim=1)
        table = values.new_zeros(*values.shape[:-1], _BINS + 1)
        return table.scatter_add_(-1, bins[:, None].expand_as(values), values)

    def of_images(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """What is kept of each image, (B, 1 + m, bins + bands), from `of_rows` of all of its rows."""
        table = torch.cat(tuple(rows), dim=2)  # (B, 1 + m, H, bins + 1)
        bands = bands_of_rows(table.shape[2], table.device)
        by_latitude = table.new_zeros(*table.shape[:2], _BANDS).index_add_(2, bands, table.sum(3))
        return torch.cat([table.sum(2)[..., :_BINS], by_latitude], dim=-1)

    def keep(self, index: int, sums: np.ndarray) -> None:
        """Keep the sums (1 + m, bins + bands) of an image, given its place in the dataset."""
        self._sums[index] = sums

    def compute(self) -> tuple[Profile, Profile]:
        """Mean errors of all images of all processes by distance and by latitude."""
        of_images = {index: sums for gathered in gather_objects(self._sums) for index, sums in gathered.items()}
        total = np.zeros(self.shape)
        for index in sorted(of_images):
            total += of_images[index]
        by_distance, by_latitude = np.split(total, [_BINS], axis=1)
        return self._profile(DISTANCES, by_distance), self._profile(LATITUDES, by_latitude)

    def _profile(self, edges: np.ndarray, sums: np.ndarray) -> Profile:
        counts = sums[0]
        with np.errstate(invalid="ignore"):  # an empty bin has no mean: NaN
            means = dict(zip(self._kinds, sums[1:] / counts, strict=True))
        return Profile(edges, means, counts.astype(np.int64))

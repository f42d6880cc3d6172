"""Errors by distance and by latitude, and confusion matrices.

Unlike the metrics, which are means over images, these are means over all valid pixels of the dataset, with equal
weights: within a band of latitude, solid angles hardly differ. Each bin also has its number of pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from metrics.constants import DISTANCES, LATITUDES, bands_of_rows, inner_distances
from metrics.pooling import ImageSums
from utils.tasks import MAX_DEPTH

_BINS = len(DISTANCES) - 1
_BANDS = len(LATITUDES) - 1


class PixelError(NamedTuple):
    """Name and unit of a per-pixel error; "m" stands for the dataset's unit of depth."""

    label: str
    unit: str


@dataclass(frozen=True)
class Profile:
    """Mean errors in n bins of distance or latitude.

    Attributes:
        edges: ascending bin edges, (n + 1,).
        means: mean of each `PixelError`, (n,) float64; NaN for empty bins.
        counts: number of valid pixels in each bin, (n,) int64.
    """

    edges: np.ndarray
    means: dict[PixelError, np.ndarray]
    counts: np.ndarray


@dataclass(frozen=True)
class Breakdown:
    """Error profiles of one task.

    Attributes:
        by_distance: errors by ground truth depth, over the valid pixels with a depth up to the last of the DISTANCES.
        by_latitude: errors by latitude (see LATITUDES), over all valid pixels.
        confusion: pixel counts (K, K), rows ground truth and columns predictions; None for tasks without classes.
    """

    by_distance: Profile
    by_latitude: Profile
    confusion: np.ndarray | None = None


class ErrorProfiles(ImageSums):
    """Accumulates m per-pixel errors by distance and by latitude.

    The sums of an image are (1 + m, bins + bands): first numbers of pixels, then sums of each error.

    Args:
        errors: the m errors.
    """

    def __init__(self, errors: tuple[PixelError, ...]):
        super().__init__((1 + len(errors)) * (_BINS + _BANDS))
        self._errors = errors

    def row_sums(
        self, errors: Sequence[torch.Tensor], valid: torch.Tensor, batch: dict, rows: slice = slice(None)
    ) -> torch.Tensor:
        """Numbers of pixels and sums of errors in h rows of the images, for each bin of distance.

        Args:
            errors: the m errors in these rows, (B, h, W) each.
            valid: valid pixels of these rows, (B, h, W).
            batch: ground truth depth of the whole images.
            rows: the rows.

        Returns:
            (B, 1 + m, h, bins + 1) float64; the last bin is for pixels without ground truth depth, or beyond MAX_DEPTH.
        """
        depth, has_depth = batch["depth"][:, 0, rows], batch["depth_mask"][:, 0, rows]
        edges = inner_distances(depth.dtype, depth.device)  # between the first bin and the last
        bins = torch.bucketize(depth.contiguous(), edges, right=True)
        bins.masked_fill_(~has_depth | (depth > MAX_DEPTH), _BINS)
        values = torch.stack([valid.double(), *(torch.where(valid, error, 0).double() for error in errors)], dim=1)
        table = values.new_zeros(*values.shape[:-1], _BINS + 1)
        return table.scatter_add_(-1, bins[:, None].expand_as(values), values)

    def image_sums(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """The sums of each image, (B, 1 + m, bins + bands), from the results of `row_sums` for all rows."""
        table = torch.cat(tuple(rows), dim=2)  # (B, 1 + m, H, bins + 1)
        bands = bands_of_rows(table.shape[2], table.device)
        by_latitude = table.new_zeros(*table.shape[:2], _BANDS).index_add_(2, bands, table.sum(3))
        return torch.cat([table.sum(2)[..., :_BINS], by_latitude], dim=-1)

    def compute(self) -> tuple[Profile, Profile]:
        """Mean errors by distance and by latitude, over the images of all processes."""
        by_distance, by_latitude = np.split(self.total().numpy().reshape(-1, _BINS + _BANDS), [_BINS], axis=1)
        return self._profile(DISTANCES, by_distance), self._profile(LATITUDES, by_latitude)

    def _profile(self, edges: np.ndarray, sums: np.ndarray) -> Profile:
        counts = sums[0]
        with np.errstate(invalid="ignore"):  # empty bins become NaN
            means = dict(zip(self._errors, sums[1:] / counts, strict=True))
        return Profile(edges, means, counts.astype(np.int64))

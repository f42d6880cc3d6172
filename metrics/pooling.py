"""Metrics of the pixels of all images together."""

import numpy as np
import torch

from utils.distributed import gather_objects

_BINS_PER_DEGREE = 1000  # of the histogram for the median angle of all pixels


class ImageSums:
    """Sums of errors, stored per image and added in the order of the dataset.

    The result thus does not depend on the batch size or the number of processes.

    Args:
        size: S, the number of sums of an image.
    """

    def __init__(self, size: int):
        self.size = size
        self._sums: dict[int, np.ndarray] = {}

    def add(self, index: int, sums: np.ndarray) -> None:
        """Store the sums (S,) of the image with this index in the dataset."""
        self._sums[index] = sums

    def total(self) -> torch.Tensor:
        """The sums over all images of all processes, (S,) float64."""
        sums_of = {index: sums for gathered in gather_objects(self._sums) for index, sums in gathered.items()}
        total = np.zeros(self.size)
        for index in sorted(sums_of):
            total += sums_of[index]
        return torch.from_numpy(total)


def angle_histogram(device: torch.device | str) -> torch.Tensor:
    """An empty histogram of angles from 0 to 180 degrees, int64."""
    return torch.zeros(180 * _BINS_PER_DEGREE + 1, dtype=torch.int64, device=device)


def add_angles(histogram: torch.Tensor, angles: torch.Tensor, mask: torch.Tensor) -> None:
    """Add the valid angles (B, H, W) in degrees to a histogram, given a mask of as many elements; NaN counts as 180."""
    bins = (angles.nan_to_num(180) * _BINS_PER_DEGREE).long().flatten()
    histogram.scatter_add_(0, bins, mask.flatten().long())


def histogram_median(histogram: torch.Tensor) -> torch.Tensor:
    """The (lower) median angle in degrees, to the center of its bin."""
    median_bin = torch.searchsorted(histogram.cumsum(0), (histogram.sum() + 1) // 2)
    return (median_bin + 0.5) / _BINS_PER_DEGREE

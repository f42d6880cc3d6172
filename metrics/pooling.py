"""Metrics of the pixels of all images together, from sums that are kept per image."""

import numpy as np
import torch

from utils.distributed import gather_objects

_BINS_PER_DEGREE = 1000  # of the histogram in which the median angle of all pixels is found


class ImageSums:
    """Sums of each image, added in the order of the dataset: they do not depend on batches or processes.

    Args:
        size: S, the number of sums of an image.
    """

    def __init__(self, size: int):
        self.size = size
        self._sums: dict[int, np.ndarray] = {}

    def keep(self, index: int, sums: np.ndarray) -> None:
        """Keep the sums (S,) of an image, given its place in the dataset."""
        self._sums[index] = sums

    def total(self) -> torch.Tensor:
        """The sums over all images of all processes, (S,) float64."""
        of_images = {index: sums for gathered in gather_objects(self._sums) for index, sums in gathered.items()}
        total = np.zeros(self.size)
        for index in sorted(of_images):
            total += of_images[index]
        return torch.from_numpy(total)


def angle_histogram(device: torch.device | str) -> torch.Tensor:
    """An empty histogram of angles from 0 to 180 degrees, int64."""
    return torch.zeros(180 * _BINS_PER_DEGREE + 1, dtype=torch.int64, device=device)


def add_angles(histogram: torch.Tensor, angles: torch.Tensor, mask: torch.Tensor) -> None:
    """Add those of the angles (B, H, W) in degrees that a mask of as many elements holds; NaN counts as 180."""
    bins = (angles.nan_to_num(180) * _BINS_PER_DEGREE).long().flatten()
    histogram.scatter_add_(0, bins, mask.flatten().long())


def histogram_median(histogram: torch.Tensor) -> torch.Tensor:
    """The median angle in degrees, of two middle ones the lower; the center of its bin."""
    median_bin = torch.searchsorted(histogram.cumsum(0), (histogram.sum() + 1) // 2)
    return (median_bin + 0.5) / _BINS_PER_DEGREE

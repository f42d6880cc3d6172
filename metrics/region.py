"""Masks of the pixels that are evaluated."""

from collections.abc import Iterable

import torch

from metrics.constants import rows_between_poles
from metrics.protocol import Region
from utils.batches import ChangedBatches
from utils.tasks import IGNORE_LABEL


def region_mask(region: Region, batch: dict) -> torch.Tensor:
    """Pixels in a region and, if there are any, in the valid masks of the batch, for all tasks.

    (B, 1, H, W) bool, or (1, 1, H, 1) if they are whole rows.
    """
    depth = batch["depth"]
    mask = rows_between_poles(depth.shape[-2], region.pole_crop, depth.device)[None, None, :, None]
    if "mask" in batch:
        mask = mask & batch["mask"]
    return mask & (batch["rgb"] > 0).any(1, keepdim=True) if region.without_black else mask


def depth_mask(region: Region, batch: dict) -> torch.Tensor:
    """Pixels in a region with valid depth, (B, 1, H, W) bool."""
    depth = batch["depth"]
    return (depth > region.min_depth) & (depth <= region.max_depth) & region_mask(region, batch)


class RegionBatches(ChangedBatches):
    """Batches without ground truth outside a region and outside their valid masks, see `datasets.panorama`."""

    def __init__(self, batches: Iterable[dict], region: Region):
        super().__init__(batches)
        self._region = region

    def change(self, batch: dict) -> dict:
        if self._region == Region() and "mask" not in batch:
            return batch
        inside = region_mask(self._region, batch)
        return batch | {
            "depth_mask": depth_mask(self._region, batch),
            "normal_mask": batch["normal_mask"] & inside,
            "semantic": batch["semantic"].where(inside[:, 0], IGNORE_LABEL),
        }

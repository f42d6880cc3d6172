"""Mean squared angular error of normals."""

import torch

from metrics.extra import ExtraMetric, ExtraValues
from metrics.normal import angle_between


def mean_squared_angles(predictions: dict[str, torch.Tensor], batch: dict) -> ExtraValues:
    """Mean over valid pixels of the squared angle in degrees, (B, 1)."""
    valid = batch["normal_mask"][:, 0]
    squared = angle_between(predictions["normal"], batch["normal"], dim=1).where(valid, 0) ** 2
    count = valid.sum((1, 2))
    return ExtraValues((squared.sum((1, 2)) / count)[:, None], count > 0)


NORMAL_MSE = ExtraMetric(
    task="normal",
    names=("mse",),
    description="squared angle in degrees; mean over images of the mean over valid pixels",
    compute=mean_squared_angles,
)

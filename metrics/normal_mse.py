"""The mean squared angular error of normals of single images."""

import torch

from metrics.joint import JointMetric, JointValues
from metrics.normal import angle_between


def squared_angles(predictions: dict[str, torch.Tensor], batch: dict) -> JointValues:
    """The mean over valid pixels of the squared angle in degrees, (B, 1)."""
    valid = batch["normal_mask"][:, 0]
    squared = angle_between(predictions["normal"], batch["normal"], dim=1).where(valid, 0) ** 2
    count = valid.sum((1, 2))
    return JointValues((squared.sum((1, 2)) / count)[:, None], count > 0)


NORMAL_MSE = JointMetric(
    task="normal",
    names=("mse",),
    description="squared angle in degrees; mean over images of the mean over valid pixels",
    of_batch=squared_angles,
)

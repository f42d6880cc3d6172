"""Surface normals: the mean angle."""

import torch
from torch.linalg import vecdot

from losses.reduction import TaskLoss, global_mean

# Pixels whose cosine lies beyond it on either side are left out, as in the released program: arccos has no gradient
# at +-1.
COSINE_LIMIT = 0.999


def normal_loss(prediction: torch.Tensor, batch: dict) -> TaskLoss:
    """Mean angle in radians between prediction and ground truth.

    As in the released program, the mean is over the valid pixels with an angle between about 2.6 and 177.4 degrees:
    those that are already right, or exactly opposite, are excluded from the loss and from its count.

    Args:
        prediction: (B, 3, H, W) vectors of any length.
        batch: ``normal`` (B, 3, H, W) unit vectors and ``normal_mask`` (B, 1, H, W).
    """
    mask = batch["normal_mask"]
    prediction, target = (torch.where(mask, normal, 0) for normal in (prediction, batch["normal"]))
    # F.cosine_similarity does the same with a dozen maps of three channels.
    lengths = (vecdot(prediction, prediction, dim=1) * vecdot(target, target, dim=1)).clamp_min(1e-16).sqrt()
    cosine = vecdot(prediction, target, dim=1) / lengths  # (B, H, W)
    near = cosine.abs() >= COSINE_LIMIT  # false for NaN, which must not go unnoticed
    counted = mask[:, 0] & ~near
    angle = torch.arccos(torch.where(counted, cosine, 0))
    return global_mean(torch.where(counted, angle, 0).sum(), counted)

"""The surface normal loss of Elite360M: mean angular error."""

import torch
from torch.linalg import vecdot

from losses.reduction import LossSum

COSINE_LIMIT = 0.999  # the gradient of arccos is infinite at +-1


def normal_loss(prediction: torch.Tensor, batch: dict) -> LossSum:
    """Angle arccos(cosine similarity) in radians over the valid pixels with |cosine| < 0.999.

    As in the released code, pixels with an angle below about 2.6 or above 177.4 degrees (already right, or opposite)
    are excluded, from the sum and from the count.

    Args:
        prediction: (B, 3, H, W) vectors of any length.
        batch: ``normal`` (B, 3, H, W) unit vectors and ``normal_mask`` (B, 1, H, W).
    """
    mask = batch["normal_mask"]
    prediction, target = (torch.where(mask, normal, 0) for normal in (prediction, batch["normal"]))
    # Equals F.cosine_similarity, which allocates a dozen maps of three channels.
    lengths = (vecdot(prediction, prediction, dim=1) * vecdot(target, target, dim=1)).clamp_min(1e-16).sqrt()
    cosine = vecdot(prediction, target, dim=1) / lengths  # (B, H, W)
    excluded = cosine.abs() >= COSINE_LIMIT  # false for NaN, which must reach the loss
    counted = mask[:, 0] & ~excluded
    angle = torch.arccos(torch.where(counted, cosine, 0))
    return LossSum(torch.where(counted, angle, 0).sum(), counted.sum())

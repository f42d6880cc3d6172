"""Surface normals: mean angular error."""

import torch
from torch.linalg import vecdot

from losses.reduction import PixelLoss

# Pixels with a larger absolute cosine are excluded, as in the released code: the gradient of arccos is infinite
# at +-1.
COSINE_LIMIT = 0.999


def normal_loss(prediction: torch.Tensor, batch: dict) -> PixelLoss:
    """Angle in radians between prediction and ground truth, over the valid pixels where it is learnt.

    As in the released code, the mean is over the valid pixels with an angle between about 2.6 and 177.4 degrees:
    those that are already right, or exactly opposite, are excluded from the loss and from its count.

    Args:
        prediction: (B, 3, H, W) vectors of any length.
        batch: ``normal`` (B, 3, H, W) unit vectors and ``normal_mask`` (B, 1, H, W).
    """
    mask = batch["normal_mask"]
    prediction, target = (torch.where(mask, normal, 0) for normal in (prediction, batch["normal"]))
    # Equals F.cosine_similarity, which allocates a dozen maps of three channels.
    lengths = (vecdot(prediction, prediction, dim=1) * vecdot(target, target, dim=1)).clamp_min(1e-16).sqrt()
    cosine = vecdot(prediction, target, dim=1) / lengths  # (B, H, W)
    near = cosine.abs() >= COSINE_LIMIT  # false for NaN, so that it reaches the loss
    counted = mask[:, 0] & ~near
    angle = torch.arccos(torch.where(counted, cosine, 0))
    return PixelLoss(torch.where(counted, angle, 0).sum(), counted.sum())

"""Surface normals: the mean angle."""

import torch
from torch.linalg import vecdot

from losses.reduction import PixelLoss

# Pixels whose cosine lies beyond it on either side are left out, as in the released program: arccos has no gradient
# at +-1.
COSINE_LIMIT = 0.999


def normal_loss(prediction: torch.Tensor, batch: dict) -> PixelLoss:
    """Angle in radians between prediction and ground truth, over the valid pixels where it is learnt.

    Those are not within about 2.6 degrees of the ground truth yet, nor within 2.6 degrees of its opposite: normals that
    are exactly wrong are left out of the loss and of its count too, as in the released program.

    Args:
        prediction: (B, 3, H, W) vectors of any length.
        batch: ``normal`` (B, 3, H, W) unit vectors and ``normal_mask`` (B, 1, H, W).
    """
    mask = batch["normal_mask"]
    prediction, truth = (torch.where(mask, normal, 0) for normal in (prediction, batch["normal"]))
    # F.cosine_similarity does the same with a dozen maps of three channels.
    lengths = (vecdot(prediction, prediction, dim=1) * vecdot(truth, truth, dim=1)).clamp_min(1e-16).sqrt()
    cosine = vecdot(prediction, truth, dim=1) / lengths  # (B, H, W)
    near = cosine.abs() >= COSINE_LIMIT  # false for NaN, which must not go unnoticed
    counted = mask[:, 0] & ~near
    angle = torch.arccos(torch.where(counted, cosine, 0))
    return PixelLoss(torch.where(counted, angle, 0).sum(), counted.sum())

"""Surface normals: the mean angle."""

import torch
import torch.nn.functional as F

from losses.reduction import GLOBAL_BATCH, GlobalBatch, TaskLoss, global_mean

# Pixels whose cosine lies beyond are left out, as in the paper's program: arccos has no gradient at +-1.
COSINE_LIMIT = 0.999


def normal_loss(prediction: torch.Tensor, batch: dict, whole: GlobalBatch = GLOBAL_BATCH) -> TaskLoss:
    """Mean angle in radians between prediction and truth, over valid pixels not yet within about 2.6 degrees.

    Args:
        prediction: (B, 3, H, W) vectors of any length.
        batch: ``normal`` (B, 3, H, W) unit vectors and ``normal_mask`` (B, 1, H, W).
        whole: the batch over which the mean is taken.
    """
    mask = batch["normal_mask"][:, 0]
    predicted = prediction.movedim(1, -1)[mask]  # (n, 3)
    truth = batch["normal"].movedim(1, -1)[mask]
    cosine = F.cosine_similarity(predicted, truth, dim=-1)
    near = cosine.abs() >= COSINE_LIMIT  # false for NaN, which must not go unnoticed
    return global_mean(torch.arccos(cosine[~near]), whole)

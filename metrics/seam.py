"""The seam score: how much a prediction changes across the left/right border of the panorama.

It needs no ground truth. Let d(r, c) be the difference of a map between pixel (r, c) and its right neighbor (r, c + 1),
columns modulo W, so that c = W - 1 is the border; let w(r) be the solid angle of a pixel in row r. Then::

    score = sum_r w(r) d(r, W - 1)  /  (1/W) sum_c sum_r w(r) d(r, c)

is the difference at the border divided by the mean difference over all columns. It is 0 for a constant map; 1 on
average over all rolls of any other map, hence about 1 for a map without a seam; and at most W/2, the score of a ramp,
whose only jump is at the border. The difference depends on the task:

============ ======================================================================================
depth        absolute difference of the logarithm, independent of unit and distance
normal       angle in degrees
segmentation 1 if the most likely class differs, else 0
============ ======================================================================================
"""

from collections.abc import Callable

import torch

from metrics.constants import solid_angles
from metrics.normal import angle_between
from metrics.protocol import MIN_DEPTH
from metrics.segmentation import predicted_labels
from utils.chunks import row_chunks

# Returns d (B, h, W), the differences between each pixel and its right neighbor, given predictions (B, ., h, W).
ColumnDifference = Callable[[torch.Tensor], torch.Tensor]
_MAPS = 8  # approximate number of float64 maps in memory


def depth_differences(depth: torch.Tensor) -> torch.Tensor:
    """Absolute differences (B, h, W) of ln depth; depths (B, 1, h, W) are clamped to at least MIN_DEPTH."""
    logarithm = depth[:, 0].clamp_min(MIN_DEPTH).log()
    return (_right_neighbors(logarithm) - logarithm).abs()


def normal_differences(normal: torch.Tensor) -> torch.Tensor:
    """Angles (B, h, W) in degrees between neighboring normals (B, 3, h, W)."""
    return angle_between(normal, _right_neighbors(normal), dim=1)


def label_differences(logits: torch.Tensor) -> torch.Tensor:
    """Whether the most likely class of logits (B, K, h, W) differs, (B, h, W) bool."""
    labels = predicted_labels(logits)
    return labels != _right_neighbors(labels)


def seam_scores(predictions: torch.Tensor, column_difference: ColumnDifference) -> torch.Tensor:
    """Seam scores (B,) float64 of predictions (B, ., H, W)."""
    batch, _, height, width = predictions.shape
    all_columns, border = [], []
    for rows in row_chunks(height, elements_per_row=_MAPS * batch * width, like=predictions):
        difference = column_difference(predictions[..., rows, :]).double()
        all_columns.append(difference.sum(-1))
        border.append(difference[..., -1])
    row_weights = solid_angles(height, width, predictions.device)
    total, at_border = ((torch.cat(rows, dim=1) * row_weights).sum(-1) for rows in (all_columns, border))
    return torch.where(total == 0, 0, at_border / total * width)


def seam_score(prediction: torch.Tensor, column_difference: ColumnDifference) -> float:
    """Seam score of a single prediction (., H, W)."""
    return seam_scores(prediction[None], column_difference).item()


def _right_neighbors(values: torch.Tensor) -> torch.Tensor:
    return values.roll(-1, dims=-1)

"""The seam score: how much a prediction changes across the left/right border of the panorama.

It needs no ground truth. Let d(r, c) be the change of a map from pixel (r, c) to its neighbor (r, c + 1), columns
modulo W, so that c = W - 1 is the border, and w(r) the solid angle of a pixel of row r. Then::

    score = sum_r w(r) d(r, W - 1)  /  (1/W) sum_c sum_r w(r) d(r, c)

the change at the border divided by the mean change of all columns. It is 0 for a constant map; 1 on average over all
rolls of any other map, hence about 1 for a map without a seam; and at most W/2, for a map that only jumps at the
border, such as a ramp. The change depends on the task:

============ ======================================================================================
depth        absolute difference of the logarithm, independent of unit and distance
normal       angle in degrees
segmentation 1 if the most likely class differs, else 0
============ ======================================================================================
"""

from collections.abc import Callable

import torch

from metrics.depth import MIN_DEPTH
from metrics.normal import angle_between
from utils.sphere import erp_solid_angles

# Of a prediction (., H, W): d (H, W), from each pixel to its right neighbor, from the last column to the first.
ColumnDifference = Callable[[torch.Tensor], torch.Tensor]


def depth_differences(depth: torch.Tensor) -> torch.Tensor:
    """Absolute differences (H, W) of ln depth; depths (1, H, W) below `MIN_DEPTH` count as `MIN_DEPTH`."""
    logarithm = depth[0].clamp_min(MIN_DEPTH).log()
    return (_right_neighbors(logarithm) - logarithm).abs()


def normal_differences(normal: torch.Tensor) -> torch.Tensor:
    """Angles (H, W) in degrees between neighboring normals (3, H, W)."""
    vectors = normal.movedim(0, -1)
    return angle_between(vectors, vectors.roll(-1, dims=1))


def label_differences(logits: torch.Tensor) -> torch.Tensor:
    """1 where the most likely class of logits (K, H, W) changes, else 0, (H, W)."""
    labels = logits.argmax(dim=0)
    return labels != _right_neighbors(labels)


def seam_score(prediction: torch.Tensor, column_difference: ColumnDifference) -> float:
    """The seam score of one prediction (., H, W), given its task's `column_difference`."""
    height, width = prediction.shape[-2:]
    row_weights = torch.tensor(erp_solid_angles(height, width), device=prediction.device)
    of_columns = row_weights @ column_difference(prediction).double()  # (W,), the border is the last
    total = of_columns.sum()
    return 0.0 if total == 0 else (of_columns[-1] / total * width).item()


def _right_neighbors(values: torch.Tensor) -> torch.Tensor:
    return values.roll(-1, dims=-1)

"""The seam score: how much a prediction jumps across the left/right border, where the panorama closes.

No truth is needed. Let d(r, c) be the difference between the neighbours (r, c) and (r, c + 1), the columns counted
modulo W so that c = W - 1 is the border, and w(r) the solid angle of a pixel of row r. Then::

    score = sum_r w(r) d(r, W - 1)  /  (1/W) sum_c sum_r w(r) d(r, c)

the border's difference over the mean of all columns'. It is 0 for a constant, 1 on average over all rolls of any
map, hence about 1 for one that does not know where its border is, and W, the largest possible, for a step at the
border alone. What counts as a difference is the task's own affair: see below.
"""

from collections.abc import Callable

import torch

from metrics.depth import MIN_DEPTH
from metrics.normal import angle_between
from utils.sphere import erp_solid_angles

Difference = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def depth_difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """|ln a - ln b| (H, W) of depths (1, H, W), below `MIN_DEPTH` taken as that: the unit of depth does not matter."""
    return (a.clamp_min(MIN_DEPTH).log() - b.clamp_min(MIN_DEPTH).log()).abs()[0]


def normal_difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angles (H, W) in degrees between normals (3, H, W)."""
    return angle_between(a.movedim(0, -1), b.movedim(0, -1))


def label_difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 where the most likely class of logits (K, H, W) differs, else 0, (H, W)."""
    return (a.argmax(dim=0) != b.argmax(dim=0)).double()


def seam_score(prediction: torch.Tensor, difference: Difference) -> float:
    """The seam score of one prediction (., H, W), given the difference that suits its task (`tasks.Task.difference`)."""
    height, width = prediction.shape[-2:]
    row_weights = torch.tensor(erp_solid_angles(height, width), device=prediction.device)
    differences = difference(
        prediction, prediction.roll(-1, dims=-1)
    ).double()  # (H, W), the border's in the last column
    of_columns = row_weights @ differences
    total = of_columns.sum()
    return (of_columns[-1] / total * width).item() if total > 0 else 0.0

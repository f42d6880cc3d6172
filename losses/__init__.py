"""Losses: one per task, each a `TaskLoss`, and their combination."""

from losses.depth import depth_loss
from losses.normal import normal_loss
from losses.segmentation import segmentation_loss

# Each takes (prediction, batch) with the truth of the batch resized to the prediction's size.
TASK_LOSSES = {"depth": depth_loss, "normal": normal_loss, "segmentation": segmentation_loss}

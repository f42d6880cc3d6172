"""Semantic segmentation: cross-entropy."""

from itertools import product

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from losses.reduction import GLOBAL_BATCH, GlobalBatch, TaskLoss, global_mean
from utils.chunks import row_chunks
from utils.tasks import IGNORE_LABEL


def segmentation_loss(logits: torch.Tensor, batch: dict, whole: GlobalBatch = GLOBAL_BATCH) -> TaskLoss:
    """Mean cross-entropy over the labelled pixels.

    Args:
        logits: (B, K, H, W), or (B, K, H/4, W/4) to be resized to the labels' size, bilinearly.
        batch: ``semantic`` (B, H, W) labels, -1 = ignore.
        whole: the batch over which the mean is taken.

    Raises:
        ValueError: when logits and labels are neither of one size nor of sizes that differ by 4.
    """
    labels = batch["semantic"]
    if logits.shape[-2:] == labels.shape[-2:]:
        total = _cross_entropy(logits, labels)
    elif labels.shape[-2:] != tuple(4 * size for size in logits.shape[-2:]):
        raise ValueError(f"logits of size {tuple(logits.shape)} for labels of size {tuple(labels.shape)}")
    else:
        total = _ResizedCrossEntropy.apply(logits, labels)
    return global_mean(total, labels != IGNORE_LABEL, whole)


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum over pixels. torch's own sum is not repeatable on GPUs."""
    return F.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL, reduction="none").sum()


class _ResizedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies of logits resized x4, some rows at a time.

    Of K x H x W logits and as many of everything that is derived from them only a few rows exist at any time. The
    gradient is made along with the loss, as it only waits for a factor.
    """

    @staticmethod
    def forward(ctx, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, h, w) and labels (B, 4h, 4w): a scalar."""
        batch, num_classes, height, width = logits.shape
        total = logits.new_zeros((), dtype=torch.float64)
        padded = F.pad(logits, (0, 0, 1, 1), mode="replicate")  # what the resize sees beyond the first and last row
        padded_grad = torch.zeros_like(padded)
        slices = row_chunks(height, elements_per_row=num_classes * 16 * width, like=logits)
        for image, rows in product(range(batch), slices):
            seen = (slice(image, image + 1), slice(None), slice(rows.start, rows.stop + 2))  # one row above, one below
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                few = padded[seen].detach().requires_grad_(ctx.needs_input_grad[0])
                resized = F.interpolate(few, scale_factor=4, mode="bilinear", align_corners=False)[:, :, 4:-4]
                loss = _cross_entropy(resized, labels[image, None, 4 * rows.start : 4 * rows.stop])
            total += loss.detach()
            if ctx.needs_input_grad[0]:
                padded_grad[seen] += torch.autograd.grad(loss, few)[0]
        grad = padded_grad[:, :, 1:-1]
        grad[:, :, 0] += padded_grad[:, :, 0]
        grad[:, :, -1] += padded_grad[:, :, -1]
        ctx.save_for_backward(grad)
        return total.to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_of_total: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grad,) = ctx.saved_tensors
        return grad * grad_of_total, None

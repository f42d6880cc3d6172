"""The segmentation loss of Elite360M: cross-entropy."""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from losses.reduction import LossSum
from utils.chunks import row_chunks
from utils.cpu_kernels import use_cpu_kernels
from utils.tasks import IGNORE_LABEL


def segmentation_loss(logits: torch.Tensor, batch: dict) -> LossSum:
    """Cross-entropy over the labeled pixels.

    Args:
        logits: (B, K, H, W), or (B, K, h, w) of the same aspect ratio, which are upsampled bilinearly.
        batch: ``semantic`` (B, H, W) labels, -1 = ignore.

    Raises:
        ValueError: when logits and labels have different aspect ratios.
    """
    labels = batch["semantic"]
    (h, w), (height, width) = logits.shape[-2:], labels.shape[-2:]
    if h * width != w * height:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} differ in aspect ratio")
    if (h, w) == (height, width):
        total = _cross_entropy(logits, labels)
    elif use_cpu_kernels(logits):
        total = _ResizedCrossEntropy.apply(logits, labels)
    else:
        total = _cross_entropy(F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False), labels)
    return LossSum(total, (labels != IGNORE_LABEL).sum())


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum over pixels; torch's own reduction of the cross-entropy is not deterministic on GPUs."""
    return F.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL, reduction="none").sum()


class _ResizedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies of upsampled logits, computed in chunks of rows:

        return _cross_entropy(F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False), labels)

    Only a few rows of the K x H x W logits are in memory at any time. The gradient is computed in the forward pass,
    which takes a fifth less time than recomputing each chunk in the backward pass.
    """

    @staticmethod
    def forward(ctx, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, h, w) and labels (B, H, W): a scalar."""
        needs_grad = ctx.needs_input_grad[0]
        total, grad = logits.new_zeros((), dtype=torch.float64), torch.zeros_like(logits)
        chunks = row_chunks(labels.shape[1], elements_per_row=logits.shape[1] * labels.shape[2], like=logits)
        for image, image_labels, image_grad in zip(logits.split(1), labels.split(1), grad.split(1), strict=True):
            for rows in chunks:
                with torch.set_grad_enabled(needs_grad):
                    image = image.detach().requires_grad_(needs_grad)
                    loss = _cross_entropy(_resized_rows(image, rows, labels.shape[-2:]), image_labels[:, rows])
                total += loss.detach()
                if needs_grad:
                    image_grad += torch.autograd.grad(loss, image)[0]
        ctx.save_for_backward(grad)
        return total.to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_of_total: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grad,) = ctx.saved_tensors
        return grad * grad_of_total, None


def _resized_rows(x: torch.Tensor, rows: slice, size: tuple[int, int]) -> torch.Tensor:
    """The given r rows of `x` (B, K, h, w) upsampled bilinearly to `size` (H, W): (B, K, r, W)."""
    height = x.shape[-2]
    row = torch.arange(rows.start, rows.stop, device=x.device, dtype=x.dtype)
    position = ((row + 0.5) * (height / size[0]) - 0.5).clamp(0, height - 1)
    above = position.long()
    below = (above + 1).clamp_max(height - 1)
    mixed = torch.lerp(x.index_select(2, above), x.index_select(2, below), (position - above)[:, None])
    return F.interpolate(mixed, (len(row), size[1]), mode="bilinear", align_corners=False)

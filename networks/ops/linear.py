"""Matrix products as 1x1 convolutions, which are up to twice as fast on AMD processors.

On CPUs, torch computes float32 products with MKL, which does not use the widest registers of AMD processors, and
convolutions with oneDNN, which does. A 1x1 convolution of rows laid out as channels-last pixels is the same product.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.grad import conv2d_weight

from utils.chunks import is_exporting
from utils.cpu_kernels import use_cpu_kernels


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`F.linear(x, weight, bias)`: x W^T + b for x (..., C) and weight (out, C), (..., out)."""
    if not _use_onednn(x) or x.ndim < 2 or not x.numel():
        return F.linear(x, weight, bias)
    y = F.conv2d(_as_pixels(x.flatten(0, -2)), weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))


def tokens_to_map(tokens: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Tokens (B, h * w, C) as a map (B, C, h, w), in the memory layout of `like` (B, _, h, w); channels-last on CPUs.

    Makes a copy: for a view with B = 1, convolutions do not recognize the layout and use another one.
    """
    view = tokens.transpose(1, 2).unflatten(2, like.shape[-2:])
    channels_last = use_cpu_kernels(like) or like.is_contiguous(memory_format=torch.channels_last)
    return view.clone(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def transposed_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`left.T @ right` for (N, a) and (N, b): (a, b). Not differentiable."""
    if not _use_onednn(left):
        return left.T @ right
    size = (left.shape[1], right.shape[1], 1, 1)
    return conv2d_weight(_as_pixels(right), size, _as_pixels(left))[:, :, 0, 0]


def _use_onednn(x: torch.Tensor) -> bool:
    allowed = use_cpu_kernels(x) and not is_exporting()
    return allowed and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()


def _as_pixels(rows: torch.Tensor) -> torch.Tensor:
    """Rows (N, C) as a channels-last image (1, C, N, 1), without a copy."""
    return rows.reshape(1, len(rows), 1, rows.shape[1]).permute(0, 3, 1, 2)

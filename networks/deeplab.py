"""DeepLabV3 and DeepLabV3+ (Chen et al., arXiv 1706.05587 and ECCV 2018) for several tasks on one backbone.

The network of the experiments of Yun & Cho (ICCV 2023) on NYU Depth v2.
"""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from torchvision.ops import Conv2dNormActivation

from networks.perspective_backbones import BACKBONES, DEEP, FINE, build_backbone
from networks.perspective_network import PerspectiveNetwork, build_dense_head, resize

ATROUS_RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (6, 12, 18)}  # of the ASPP, by --output_stride
DROPOUT = 0.1
SHARED = "shared"  # key of the context that all tasks share


class DeepLab(PerspectiveNetwork):
    """One image in, a dense prediction per task out:

        backbone -> ASPP (+ skip connection) -> a head per task

    It is DeepLabV3 without the skip connection, and DeepLabV3+ with it.

    Args:
        tasks: any of depth, normal and segmentation, in the order in which they are balanced.
        num_classes: K, the number of semantic classes.
        backbone: a key of `networks.perspective_backbones.BACKBONES`.
        normal_size: channels of the ASPP.
        output_stride: 8, 16 or 32; selects the ATROUS_RATES. As in the released code, it does not change the
            backbone, whose last feature has stride 8 (resnet50) or 32 (the others).
        skip_connection: channels of the skip connection, from the feature at stride 8; 0 for none.
        shared_head: share one ASPP and skip connection among all tasks; otherwise each task has its own.
        pretrained: start the backbone from ImageNet weights, downloaded at first use, or from a file at this path.

    Raises:
        UserError: when the ImageNet weights cannot be downloaded, or the backbone is unknown.
    """

    def __init__(
        self,
        tasks: tuple[str, ...],
        num_classes: int,
        backbone: str = "resnet50",
        normal_size: int = 256,
        output_stride: int = 8,
        skip_connection: int = 0,
        shared_head: bool = True,
        pretrained: bool | Path = True,
    ):
        super().__init__(tasks)
        self.backbone = build_backbone(backbone, pretrained)
        fine, deep = BACKBONES[backbone].fine.channels, BACKBONES[backbone].deep.channels
        rates = ATROUS_RATES[output_stride]
        # Activation of the skip connection, as in the released code.
        skip_activation = nn.ReLU if shared_head else nn.ReLU6
        self.contexts = nn.ModuleDict(
            {
                name: Context(fine, deep, normal_size, rates, skip_connection, skip_activation)
                for name in ((SHARED,) if shared_head else self.tasks)
            }
        )
        width = normal_size + skip_connection
        build_layers = partial(_head_layers, width, normal_size)
        self.heads = nn.ModuleDict({task: build_dense_head(task, num_classes, build_layers) for task in self.tasks})

    def forward(self, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        """Predict from images.

        Args:
            rgb: (B, 3, H, W) colors in [0, 1]. In training mode, B must be at least 2, for the batch statistics of the
                ASPP's pooled feature.

        Returns:
            For each task of the network: ``depth`` (B, 1, H, W) meters, of any sign, ``normal`` (B, 3, H, W) unit
            vectors, ``segmentation`` (B, K, H, W) logits.
        """
        features = self.backbone(self.normalize(rgb))
        contexts = {name: context(features[FINE], features[DEEP]) for name, context in self.contexts.items()}
        shared = contexts.get(SHARED)
        return {task: head(contexts.get(task, shared), rgb.shape[-2:]) for task, head in self.heads.items()}

    @property
    def last_shared_weight(self) -> nn.Parameter:
        """Weight of the last convolution shared by all tasks: the last one of the shared ASPP, or of the backbone."""
        if SHARED in self.contexts:
            return self.contexts[SHARED].aspp.project[0].weight
        return [module for module in self.backbone.modules() if isinstance(module, nn.Conv2d)][-1].weight

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """Parameters that get gradients only from the losses of this task."""
        own = [self.contexts[task], self.heads[task]] if task in self.contexts else [self.heads[task]]
        return [parameter for module in own for parameter in module.parameters()]

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that get gradients from the losses of all tasks."""
        shared = [self.backbone, self.contexts[SHARED]] if SHARED in self.contexts else [self.backbone]
        return [parameter for module in shared for parameter in module.parameters()]


class Context(nn.Module):
    """The ASPP on the last feature; in DeepLabV3+, resized to stride 8 and concatenated with the skip connection."""

    def __init__(
        self,
        fine_channels: int,
        deep_channels: int,
        width: int,
        rates: tuple[int, ...],
        skip_channels: int,
        skip_activation: type[nn.Module],
    ):
        super().__init__()
        self.aspp = ASPP(deep_channels, width, rates)
        self.skip = None
        if skip_channels:
            self.skip = Conv2dNormActivation(fine_channels, skip_channels, 1, activation_layer=skip_activation)

    def forward(self, fine: torch.Tensor, deep: torch.Tensor) -> torch.Tensor:
        """Features (B, f, H/8, W/8) and (B, d, h, w): (B, width, h, w), or (B, width + skip, H/8, W/8)."""
        context = self.aspp(deep)
        if self.skip is None:
            return context
        return torch.cat([resize(context, fine.shape[-2:]), self.skip(fine)], dim=1)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1 convolution, dilated 3x3 convolutions and global pooling, joined by a 1x1.

    Like torchvision's, but with ReLU6 and dropout of whole channels.
    """

    def __init__(self, in_channels: int, width: int, rates: tuple[int, ...]):
        super().__init__()
        self.branches = nn.ModuleList(
            [_conv(in_channels, width, 1), *(_conv(in_channels, width, 3, dilation=rate) for rate in rates)]
        )
        self.pooled = _conv(in_channels, width, 1)
        self.project = _conv((len(rates) + 2) * width, width, 1)
        self.dropout = nn.Dropout2d(DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature (B, C, h, w): (B, width, h, w)."""
        branches = [branch(x) for branch in self.branches]
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand_as(branches[0])
        return self.dropout(self.project(torch.cat([*branches, pooled], dim=1)))


def _head_layers(in_channels: int, width: int, out_channels: int) -> list[nn.Module]:
    return [
        Conv2dNormActivation(in_channels, width, 3, activation_layer=nn.ReLU),
        nn.Conv2d(width, out_channels, kernel_size=1),
    ]


def _conv(in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1) -> Conv2dNormActivation:
    """Convolution, BatchNorm and ReLU6, a layer of the ASPP."""
    return Conv2dNormActivation(in_channels, out_channels, kernel_size, dilation=dilation, activation_layer=nn.ReLU6)

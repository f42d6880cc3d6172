"""The ERP branch: a ResNet over the panorama."""

import timm
import torch
from torch import nn

from networks.backbones import BACKBONES
from utils.errors import UserError


class ERPEncoder(nn.Module):
    """ResNet features of the panorama at strides 4, 8 and 16, and the bottleneck at stride 32 with C channels.

    Args:
        backbone: one of BACKBONES.
        pretrained: start from ImageNet weights, downloaded at first use.

    Attributes:
        skip_channels: channels of the three skip features, finest first.

    Raises:
        UserError: when the ImageNet weights cannot be had.
    """

    def __init__(self, backbone: str, pretrained: bool):
        super().__init__()
        timm_name = BACKBONES[backbone].timm_name
        try:
            self.backbone = timm.create_model(
                timm_name,
                pretrained=pretrained,
                features_only=True,
                out_indices=(1, 2, 3, 4),
                zero_init_last=False,  # torchvision's form, which matters for random weights only
            )
        except Exception as error:  # the download clients below timm raise errors of many unrelated types
            if not pretrained:
                raise
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"the ImageNet weights of {timm_name} could not be downloaded ({reason}); "
                "connect to the internet once, or start from random weights with --no_pretrained"
            ) from error
        *self.skip_channels, deepest = self.backbone.feature_info.channels()
        self.down = nn.Conv2d(deepest, BACKBONES[backbone].embed_dim, kernel_size=1)

    def forward(self, erp: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Skips [(B, c, H/4, W/4), (B, c, H/8, W/8), (B, c, H/16, W/16)] and bottleneck (B, C, H/32, W/32)."""
        *skips, deepest = self.backbone(erp)
        return skips, self.down(deepest)

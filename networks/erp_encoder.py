"""The ERP branch: a backbone over the panorama."""

import difflib

import timm
import torch
from timm.layers import Format
from torch import nn

from networks.backbones import BACKBONES, TIMM_PREFIX, Backbone, find_backbone
from utils.errors import UserError

STRIDES = (4, 8, 16, 32)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_WIDE = 512  # channels at stride 32: beyond so many the embedding has 128, up to them 64, as the paper's ResNets


class ERPEncoder(nn.Module):
    """Features of the panorama at strides 4, 8 and 16, and the bottleneck at stride 32 with C channels.

    Args:
        backbone: a key of BACKBONES, or ``timm:NAME`` of a timm model with features at all of STRIDES.
        pretrained: start from ImageNet weights, downloaded at first use.

    Attributes:
        skip_channels: channels of the three skip features, finest first.
        embed_dim: C, 64 or 128: by the width of the backbone.
        mean, std: of the colours that the backbone expects, by channel.

    Raises:
        UserError: when there is no such backbone, it lacks a stride, or the ImageNet weights cannot be had.
    """

    def __init__(self, backbone: str, pretrained: bool):
        super().__init__()
        found = find_backbone(backbone)
        if found is None:
            raise UserError(f"--backbone {backbone}: choose one of {', '.join(BACKBONES)}, or {TIMM_PREFIX}NAME")
        if found.out_indices is None:
            found = _with_out_indices(found)
        self.backbone = _create(found, pretrained, found.out_indices)
        *self.skip_channels, deepest = self.backbone.feature_info.channels()
        self.embed_dim = 128 if deepest > _WIDE else 64
        colours = self.backbone.pretrained_cfg or {}
        self.mean, self.std = colours.get("mean", IMAGENET_MEAN), colours.get("std", IMAGENET_STD)
        # Transformers give their channels last.
        self._channels_last = getattr(self.backbone, "output_fmt", None) == Format.NHWC
        self.down = nn.Conv2d(deepest, self.embed_dim, kernel_size=1)

    def forward(self, erp: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Skips [(B, c, H/4, W/4), (B, c, H/8, W/8), (B, c, H/16, W/16)] and bottleneck (B, C, H/32, W/32)."""
        features = self.backbone(erp)
        if self._channels_last:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        *skips, deepest = features
        return skips, self.down(deepest)


def _create(backbone: Backbone, pretrained: bool, out_indices: tuple[int, ...] | None) -> nn.Module:
    """The timm model as one that returns its features."""
    arguments = dict(backbone.arguments) | ({} if out_indices is None else {"out_indices": out_indices})
    config = timm.get_pretrained_cfg(backbone.timm_name)
    if pretrained and config is not None and not config.has_weights:
        raise UserError(f"timm has no weights of {backbone.timm_name}: start from random ones with --no_pretrained")
    try:
        return timm.create_model(backbone.timm_name, pretrained=pretrained, features_only=True, **arguments)
    except Exception as error:  # the download clients below timm raise errors of many unrelated types
        if not pretrained:
            raise
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"the ImageNet weights of {backbone.timm_name} could not be downloaded ({reason}); "
            "connect to the internet once, or start from random weights with --no_pretrained"
        ) from error


def _with_out_indices(backbone: Backbone) -> Backbone:
    """A backbone of which only the name is known, with the indices of its features at STRIDES.

    Raises:
        UserError: when timm has no such model, or it cannot be used; the message says why.
    """
    name = backbone.timm_name
    refusal = f"--backbone {TIMM_PREFIX}{name}"
    if not timm.is_model(name):
        similar = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=3)
        hint = f"; similar names: {', '.join(similar)}" if similar else ""
        raise UserError(f"{refusal}: timm has no such model{hint}")
    try:
        model = _create(backbone, pretrained=False, out_indices=None)
    except (RuntimeError, TypeError, AssertionError, AttributeError, ValueError) as error:
        raise UserError(f"{refusal}: timm cannot make it give its features ({error})") from error
    strides = model.feature_info.reduction()
    if missing := [stride for stride in STRIDES if stride not in strides]:
        have, need = (", ".join(map(str, some)) for some in (strides, missing))
        raise UserError(f"{refusal}: it has features at strides {have}, but none at {need}, which the decoder needs")
    # Of several at one stride the deepest.
    indices = [len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES]
    out_indices = tuple(model.feature_info.out_indices[i] for i in indices)
    arguments = {"strict_img_size": False} if (model.pretrained_cfg or {}).get("fixed_input_size") else {}
    found = Backbone(name, out_indices, arguments)
    try:
        with torch.no_grad():
            _create(found, pretrained=False, out_indices=out_indices).eval()(torch.zeros(1, 3, 64, 128))
    except (RuntimeError, TypeError, AssertionError, ValueError) as error:
        raise UserError(f"{refusal}: it cannot be run on panoramas, not being made for their size ({error})") from error
    return found

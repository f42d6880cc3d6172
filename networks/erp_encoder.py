"""The ERP encoder of Elite360M: a timm backbone."""

import difflib
import functools
from pathlib import Path

import timm
import torch
from timm.layers import Format
from torch import nn

from networks.backbone_weights import download_error, first_line, read_backbone_weights
from networks.backbones import BACKBONES, TIMM_PREFIX, Backbone, find_backbone
from utils.colors import IMAGENET_MEAN, IMAGENET_STD
from utils.errors import UserError

STRIDES = (4, 8, 16, 32)
_MAX_NARROW = 512  # with more channels at stride 32, the embedding has 128 channels, otherwise 64, as in the paper
# Exceptions from these packages mean a failed download or a damaged cache.
_DOWNLOAD_PACKAGES = {"huggingface_hub", "hf_xet", "httpx", "httpx2", "requests", "urllib3", "http", "safetensors"}


class ERPEncoder(nn.Module):
    """Features of the panorama at strides 4, 8 and 16, and the bottleneck at stride 32 with C channels.

    Args:
        backbone: a key of BACKBONES, or ``timm:NAME``, a timm model with features at all STRIDES.
        pretrained: start from ImageNet weights, downloaded at first use, or from a file at this path.

    Attributes:
        skip_channels: channels of the three skip features, finest first.
        embed_dim: C, 64 or 128, depending on the width of the backbone.
        mean, std: with which the backbone expects the RGB channels to be normalized.

    Raises:
        UserError: when the backbone does not exist or lacks features at a stride, the ImageNet weights cannot be
            downloaded, or the weights in the file do not fit.
    """

    def __init__(self, backbone: str, pretrained: bool | Path):
        super().__init__()
        spec = find_backbone(backbone)
        if spec is None:
            raise UserError(f"--backbone {backbone}: choose one of {', '.join(BACKBONES)}, or {TIMM_PREFIX}NAME")
        _require_timm_model(spec.timm_name, f"--backbone {backbone}")
        if spec.out_indices is None:
            spec = _with_out_indices(spec.timm_name)
        self.backbone = _create(spec, pretrained)
        *self.skip_channels, deepest = self.backbone.feature_info.channels()
        self.embed_dim = 128 if deepest > _MAX_NARROW else 64
        config = self.backbone.pretrained_cfg or {}
        self.mean, self.std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)
        # Some transformers return channels-last features.
        self._channels_last = getattr(self.backbone, "output_fmt", None) == Format.NHWC
        self.down = nn.Conv2d(deepest, self.embed_dim, kernel_size=1)

    def forward(self, erp: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Skips [(B, c, H/4, W/4), (B, c, H/8, W/8), (B, c, H/16, W/16)] and bottleneck (B, C, H/32, W/32)."""
        features = self.backbone(erp)
        if self._channels_last:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        *skips, deepest = features
        return skips, self.down(deepest)


def _require_timm_model(name: str, option: str) -> None:
    """Make sure that the installed timm has the model `name`.

    Raises:
        UserError: when it does not, with similar names.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        kind, similar = "model", difflib.get_close_matches(architecture, timm.list_models(), n=3)
    elif tag and name not in (tagged := timm.list_models(f"{architecture}.*", include_tags=True)):
        kind, similar = "weights", tagged[:5]
    else:
        return
    hint = f"; similar names: {', '.join(similar)}" if similar else ""
    raise UserError(f"{option}: timm has no such {kind}{hint}")


def _create(backbone: Backbone, pretrained: bool | Path) -> nn.Module:
    """Create the timm model that returns features; see `ERPEncoder` for `pretrained`.

    Raises:
        UserError: when there are no ImageNet weights, or they cannot be downloaded or do not fit. Other errors are
            defects of this program or of timm and are not caught.
    """
    name, arguments = backbone.timm_name, dict(backbone.arguments)
    if backbone.out_indices is not None:
        arguments["out_indices"] = backbone.out_indices
    if isinstance(pretrained, Path):
        # As with downloaded weights, timm renames the keys that differ in its feature extractor.
        arguments["pretrained_cfg_overlay"] = {"state_dict": _weights_of_file(name, pretrained)}
        return timm.create_model(name, pretrained=True, features_only=True, **arguments)
    config = timm.get_pretrained_cfg(name)
    if pretrained and (config is None or not config.has_weights):
        raise UserError(f"timm has no weights of {name}: start from random weights with --no_pretrained")
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True, **arguments)
    except Exception as error:
        if not pretrained or not _is_failed_download(error):
            raise
        raise download_error(name, error) from error


def _weights_of_file(name: str, path: Path) -> dict[str, torch.Tensor]:
    """The weights in a file for a timm model, without its classifier.

    Raises:
        UserError: when they do not fit.
    """
    with torch.device("meta"):  # names and shapes only
        model = timm.create_model(name)
    classifier = (model.pretrained_cfg or {}).get("classifier") or ()
    return read_backbone_weights(
        path, model.state_dict(), (classifier,) if isinstance(classifier, str) else tuple(classifier)
    )


def _is_failed_download(error: Exception) -> bool:
    """Whether an error comes from the network, the disk or a damaged cache.

    timm's download clients have no common exception class, and which of them is installed depends on its version.
    """
    packages = {base.__module__.partition(".")[0] for base in type(error).__mro__}
    return isinstance(error, OSError) or not packages.isdisjoint(_DOWNLOAD_PACKAGES)


@functools.cache  # detection builds the model twice
def _with_out_indices(name: str) -> Backbone:
    """The backbone for any timm model, with the indices of its features at STRIDES.

    Raises:
        UserError: when the model cannot be used, with the reason.
    """
    option = f"--backbone {TIMM_PREFIX}{name}"
    failures = (RuntimeError, TypeError, AssertionError, AttributeError, ValueError)
    with torch.device("meta"), torch.no_grad():  # shapes only: no weights, no arithmetic
        try:
            model = _create(Backbone(name), pretrained=False)
        except failures as error:
            raise UserError(f"{option}: timm cannot return its features ({first_line(error)})") from error
        strides = model.feature_info.reduction()
        if missing := [stride for stride in STRIDES if stride not in strides]:
            have, need = (", ".join(map(str, values)) for values in (strides, missing))
            raise UserError(f"{option}: it has features at strides {have}, but none at {need}, which the decoder needs")
        # Of several features at one stride, the deepest.
        indices = [len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES]
        out_indices = tuple(model.feature_info.out_indices[i] for i in indices)
        arguments = {"strict_img_size": False} if (model.pretrained_cfg or {}).get("fixed_input_size") else {}
        backbone = Backbone(name, out_indices, arguments)
        try:
            _create(backbone, pretrained=False).eval()(torch.zeros(1, 3, 64, 128))
        except failures as error:
            raise UserError(f"{option}: it cannot be run on panoramas ({first_line(error)})") from error
    return backbone

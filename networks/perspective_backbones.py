"""The backbones of DeepLab and VMM: torchvision networks, by their names there.

torch is imported only when a network is built, so that importing this file is fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from utils.errors import UserError

if TYPE_CHECKING:
    from torch import nn

FINE, MIDDLE, DEEP = "fine", "middle", "deep"  # names of the features


class Feature(NamedTuple):
    """A feature of a torchvision network: the name of its graph node, number of channels, and stride."""

    node: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Backbone:
    """A torchvision network and three of its features.

    Attributes:
        weights: name of torchvision's ImageNet weights.
        fine: feature at stride 8.
        middle: feature between the other two.
        deep: last feature.
        arguments: arguments of torchvision's constructor.
    """

    weights: str
    fine: Feature
    middle: Feature
    deep: Feature
    arguments: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_pyramid(self) -> bool:
        """Whether each feature is half the size of the previous one."""
        return (self.fine.stride, self.middle.stride, self.deep.stride) == (8, 16, 32)


_CLASSIFIERS = ("fc", "classifier")  # torchvision's names of layers that are not used
# The last two stages have dilation instead of stride.
_DILATED = MappingProxyType({"replace_stride_with_dilation": (False, True, True)})

BACKBONES = {
    "resnet50": Backbone(
        "IMAGENET1K_V2", Feature("layer2", 512, 8), Feature("layer3", 1024, 8), Feature("layer4", 2048, 8), _DILATED
    ),
    "mobilenet_v2": Backbone(
        "IMAGENET1K_V2",
        Feature("features.6", 32, 8),
        Feature("features.13", 96, 16),
        Feature("features.18", 1280, 32),
    ),
    "efficientnet_v2_s": Backbone(
        "IMAGENET1K_V1",
        Feature("features.3", 64, 8),
        Feature("features.5", 160, 16),
        Feature("features.6", 256, 32),
    ),
}
PYRAMIDS = tuple(name for name, backbone in BACKBONES.items() if backbone.is_pyramid)


def build_backbone(name: str, pretrained: bool | Path, features: tuple[str, ...] = (FINE, DEEP)) -> nn.Module:
    """Build a backbone that maps normalized images (B, 3, H, W) to a dict of features.

    Its parameters have torchvision's names.

    Args:
        name: a key of BACKBONES.
        pretrained: start from ImageNet weights, downloaded at first use, or from a file at this path.
        features: the features to return, of FINE, MIDDLE and DEEP.

    Raises:
        UserError: when the backbone is unknown, its weights cannot be downloaded, or the weights in the file do not
            fit.
    """
    if name not in BACKBONES:
        raise UserError(f"--basenet {name}: choose one of {', '.join(BACKBONES)}")
    import torchvision.models
    from torchvision.models.feature_extraction import create_feature_extractor

    backbone = BACKBONES[name]
    network = torchvision.models.get_model(name, weights=None, **backbone.arguments)
    if isinstance(pretrained, Path):
        from networks.backbone_weights import read_backbone_weights

        weights = read_backbone_weights(pretrained, network.state_dict(), _CLASSIFIERS)
        network.load_state_dict(weights, strict=False)
    elif pretrained:
        network.load_state_dict(_imagenet_weights(name))
    return create_feature_extractor(network, {getattr(backbone, name).node: name for name in features})


def _imagenet_weights(name: str) -> dict:
    import torchvision.models

    from networks.backbone_weights import download_error

    weights = torchvision.models.get_model_weights(name)[BACKBONES[name].weights]
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # errors of the network, the disk or a damaged file have no common base class
        raise download_error(name, error) from error

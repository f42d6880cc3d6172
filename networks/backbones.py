"""The backbones of Elite360M by their --backbone names. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Backbone:
    """A timm model.

    Attributes:
        timm_name: name with the tag of the ImageNet-1k weights.
        out_indices: indices of the features at strides 4, 8, 16 and 32; None to detect them.
        arguments: further arguments of `timm.create_model`.
    """

    timm_name: str
    out_indices: tuple[int, ...] | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)


# torchvision's ResNets, as in the paper; zero_init_last only affects random weights.
_RESNET = MappingProxyType({"zero_init_last": False})
# Any image size; no stochastic depth, so that micro-batches give exactly the gradients of one large batch.
_SWIN = MappingProxyType({"strict_img_size": False, "drop_path_rate": 0.0})

BACKBONES = {
    "Elite360M_Res18": Backbone("resnet18.tv_in1k", (1, 2, 3, 4), _RESNET),
    "Elite360M_Res34": Backbone("resnet34.tv_in1k", (1, 2, 3, 4), _RESNET),
    "Elite360M_Res50": Backbone("resnet50.tv_in1k", (1, 2, 3, 4), _RESNET),
    "Elite360M_EffB5": Backbone("tf_efficientnet_b5.aa_in1k", (1, 2, 3, 4)),
    "Elite360M_SwinT": Backbone("swin_tiny_patch4_window7_224.ms_in1k", (0, 1, 2, 3), _SWIN),
    "Elite360M_SwinB": Backbone("swin_base_patch4_window7_224.ms_in1k", (0, 1, 2, 3), _SWIN),
    "Elite360M_ConvNeXtT": Backbone("convnext_tiny.fb_in1k", (0, 1, 2, 3)),
}
DEFAULT = "default"  # in place of a checkpoint path: the weights in this repository
TIMM_PREFIX = "timm:"  # before the name of any timm model


def find_backbone(name: str) -> Backbone | None:
    """The backbone named `name`, a key of BACKBONES or ``timm:NAME``; None for any other name."""
    if name.startswith(TIMM_PREFIX) and name != TIMM_PREFIX:
        return Backbone(name.removeprefix(TIMM_PREFIX))
    return BACKBONES.get(name)


def folder_of(name: str) -> str:
    """The name of a backbone as a folder name."""
    return name.replace(":", "_").replace("/", "_")

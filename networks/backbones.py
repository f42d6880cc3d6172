"""The backbones of the ERP branch, by the names that users give them. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Backbone:
    """A timm model.

    Attributes:
        timm_name: with the tag of its ImageNet-1k weights.
        out_indices: of its features at strides 4, 8, 16 and 32; None to find them out.
        arguments: to build it with.
    """

    timm_name: str
    out_indices: tuple[int, ...] | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)


# torchvision's form of the ResNets, as the paper's; only random weights depend on zero_init_last.
_RESNET = MappingProxyType({"zero_init_last": False})
# Windows are laid over panoramas of any size; no random depth, so that batches in pieces are the large batch exactly.
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
TIMM_PREFIX = "timm:"  # of a name that is any timm model's


def find_backbone(name: str) -> Backbone | None:
    """The backbone of a name: a key of BACKBONES, or ``timm:NAME``; None for anything else."""
    if name.startswith(TIMM_PREFIX) and name != TIMM_PREFIX:
        return Backbone(name.removeprefix(TIMM_PREFIX))
    return BACKBONES.get(name)


def folder_of(name: str) -> str:
    """The name of a backbone as that of a folder."""
    return name.replace(":", "_").replace("/", "_")

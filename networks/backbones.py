"""The backbones of the ERP branch, by their names on the command line. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Backbone:
    """A timm model.

    Attributes:
        timm_name: with the tag of its ImageNet-1k weights.
        out_indices: of its features at strides 4, 8, 16 and 32; None: detected.
        arguments: further arguments of `timm.create_model`.
    """

    timm_name: str
    out_indices: tuple[int, ...] | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)


# The ResNets of torchvision, as in the paper; zero_init_last only matters for random weights.
_RESNET = MappingProxyType({"zero_init_last": False})
# Any image size; no stochastic depth, so that micro-batches give exactly the gradients of the large batch.
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
DEFAULT = "default"  # instead of the path of a checkpoint: the one in this repository
TIMM_PREFIX = "timm:"  # followed by the name of any timm model


def find_backbone(name: str) -> Backbone | None:
    """The backbone of a name: a key of BACKBONES, or ``timm:NAME``; None for anything else."""
    if name.startswith(TIMM_PREFIX) and name != TIMM_PREFIX:
        return Backbone(name.removeprefix(TIMM_PREFIX))
    return BACKBONES.get(name)


def folder_of(name: str) -> str:
    """The folder name of a backbone."""
    return name.replace(":", "_").replace("/", "_")

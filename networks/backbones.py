"""The backbones of the ERP branch, by the names that users give them. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """A timm model (with torchvision's ImageNet weights, as the paper's) and the embedding width C that it gets."""

    timm_name: str
    embed_dim: int


BACKBONES = {
    "Elite360M_Res18": Backbone("resnet18.tv_in1k", embed_dim=64),
    "Elite360M_Res34": Backbone("resnet34.tv_in1k", embed_dim=64),
    "Elite360M_Res50": Backbone("resnet50.tv_in1k", embed_dim=128),
}

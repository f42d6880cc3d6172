"""VMM, the network of Yun & Cho (ICCV 2023) for joint detection and dense tasks."""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from torchvision.ops import Conv2dNormActivation

from networks.bifpn import InvertedBottleneck, SeparableConv, TriBiFPN
from networks.detection_head import DetectionHead
from networks.perspective_backbones import BACKBONES, DEEP, FINE, MIDDLE, PYRAMIDS, build_backbone
from networks.perspective_network import PerspectiveNetwork, build_dense_head, resize
from utils.errors import UserError
from utils.tasks import DETECTION

LEVELS = (FINE, MIDDLE, DEEP)  # at strides 8, 16 and 32
NUM_NECKS = 2
_ACTIVATIONS = {"relu6": nn.ReLU6, "relu": nn.ReLU, "swish": nn.SiLU, "silu": nn.SiLU}
_DOWN = {"mbconv": InvertedBottleneck, "dsconv": SeparableConv}


class VMM(PerspectiveNetwork):
    """One image in, boxes and a dense prediction per task out:

        backbone -> transition (1x1) -> two TriBiFPN -> a detection head per level
                                                     -> concatenation at stride 8 -> a head per dense task

    Args:
        tasks: any of detection, depth, normal and segmentation, in the order in which they are balanced.
        num_classes: K, the number of classes including the background.
        backbone: one of `networks.perspective_backbones.PYRAMIDS`.
        normal_size: channels of the levels.
        head_type: blocks of neck and detection head: inverted bottlenecks ("mbconv") or separable convolutions
            ("dsconv").
        activation: activation of transition, neck and detection head, of `networks.achievement_choices.ACTIVATIONS`.
        cls_head: "sigmoid": K - 1 logits per anchor, without the background; "softmax": K logits.
        pretrained: start the backbone from ImageNet weights, downloaded at first use, or from a file at this path.

    Raises:
        UserError: when the ImageNet weights cannot be downloaded, or the backbone has no features at the three strides.
    """

    def __init__(
        self,
        tasks: tuple[str, ...],
        num_classes: int,
        backbone: str = "efficientnet_v2_s",
        normal_size: int = 64,
        head_type: str = "mbconv",
        activation: str = "relu6",
        cls_head: str = "sigmoid",
        pretrained: bool | Path = True,
    ):
        super().__init__(tasks)
        if backbone not in PYRAMIDS:
            raise UserError(f"--basenet {backbone}: with --arch VMM choose one of {', '.join(PYRAMIDS)}")
        act = _ACTIVATIONS[activation]
        self.backbone = build_backbone(backbone, pretrained, LEVELS)
        self.transition = nn.ModuleList(
            Conv2dNormActivation(getattr(BACKBONES[backbone], level).channels, normal_size, 1, activation_layer=act)
            for level in LEVELS
        )
        build_down = partial(_DOWN[head_type], normal_size, normal_size, act, stride=2)
        self.neck = nn.Sequential(*(TriBiFPN(build_down) for _ in range(NUM_NECKS)))
        self.heads = nn.ModuleDict()
        for task in self.tasks:
            if task == DETECTION:
                is_sigmoid = cls_head == "sigmoid"
                num_logits = num_classes - 1 if is_sigmoid else num_classes
                head = DetectionHead(normal_size, num_logits, head_type, act, with_prior=is_sigmoid)
            else:
                head = build_dense_head(task, num_classes, partial(_dense_layers, normal_size))
            self.heads[task] = head

    def forward(self, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        """Predict from images.

        Args:
            rgb: (B, 3, H, W) colors in [0, 1].

        Returns:
            For each task of the network: ``detection`` (B, A, 4 + K - 1) or (B, A, 4 + K), box offsets as in
            `utils.boxes.decode` and logits (see `cls_head`) of the A anchors of `utils.anchors.anchor_boxes`; ``depth``
            (B, 1, H, W) meters, of any sign; ``normal`` (B, 3, H, W) unit vectors; ``segmentation`` (B, K, H, W)
            logits.
        """
        features = self.backbone(self.normalize(rgb))
        levels = self.neck(
            tuple(transition(features[level]) for transition, level in zip(self.transition, LEVELS, strict=True))
        )
        size = levels[0].shape[-2:]
        joined = None
        if set(self.tasks) != {DETECTION}:
            joined = torch.cat([levels[0], *(resize(level, size) for level in levels[1:])], dim=1)  # (B, 3C, H/8, W/8)
        return {
            task: head(levels) if task == DETECTION else head(joined, rgb.shape[-2:])
            for task, head in self.heads.items()
        }

    @property
    def last_shared_weight(self) -> nn.Parameter:
        """Weight of the last convolution that all levels depend on: the coarsest one of the second-to-last neck.

        In the last neck, the finest level is a sum without convolutions. (The released code takes the scale of the very
        last BatchNorm, on which only the coarsest level depends.)
        """
        coarsest = self.neck[-2].down[-1]
        return [module for module in coarsest.modules() if isinstance(module, nn.Conv2d)][-1].weight

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """Parameters that get gradients only from the losses of this task."""
        return list(self.heads[task].parameters())

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that get gradients from the losses of all tasks."""
        return [p for module in (self.backbone, self.transition, self.neck) for p in module.parameters()]


def _dense_layers(width: int, out_channels: int) -> list[nn.Module]:
    """Layers of a dense head on the concatenated levels; as released, always with ReLU6."""
    return [SeparableConv(len(LEVELS) * width, width), InvertedBottleneck(width, out_channels)]

"""Checkpoints of DeepLab and VMM: see `networks.saved_network`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from networks import released_weights
from networks.achievement_choices import ACTIVATIONS, ARCHITECTURES, CLS_HEADS, HEAD_TYPES
from networks.deeplab import ATROUS_RATES, DeepLab
from networks.perspective_backbones import BACKBONES, PYRAMIDS
from networks.released_achievement import convert_released_weights, is_released_format, released_architecture
from networks.saved_network import (
    ACHIEVEMENT,
    UNKNOWN_DATASET,
    SavedNetwork,
    no_checkpoint,
    other_program,
    parse_checkpoint,
    read_checkpoint,
)
from networks.vmm import VMM
from utils.colors import distinct_colors
from utils.errors import UserError
from utils.state_dicts import strip_prefixes
from utils.tasks import ALONG_AXIS, CLASS_TASKS, PERSPECTIVE_TASK_NAMES, TASK_NAMES

# Image sizes of the released code's experiments, which its files do not store.
_RELEASED_SIZES = {"DeepLab": (480, 640), "VMM": (640, 640)}


@dataclass(frozen=True)
class AchievementSettings:
    """The architecture of a network, and the meaning of its predictions.

    Attributes:
        backbone: a key of `networks.perspective_backbones.BACKBONES`; for VMM, one of PYRAMIDS.
        tasks: task names in the order of --app.
        height, width: size of the training images in pixels.
        dataset: name of the training dataset.
        class_names, class_colours: names and 8-bit RGB colors of the K classes, including the background of detection
            (spelled like the keys in checkpoints).
        depth_unit: unit of depth, in words.
        normal_frame: "camera".
        arch: one of ARCHITECTURES.
        normal_size: see `DeepLab` and `VMM`.
        output_stride, skip_connection, shared_head: see `DeepLab`; unused by VMM.
        head_type, activation, cls_head: see `VMM`; unused by DeepLab.
        source: properties of the data that metrics depend on: copy, class set, source of the normals.
    """

    format: ClassVar[str] = ACHIEVEMENT

    backbone: str
    tasks: tuple[str, ...]
    height: int
    width: int
    dataset: str
    class_names: tuple[str, ...]
    class_colours: tuple[tuple[int, int, int], ...]
    depth_unit: str = ALONG_AXIS
    normal_frame: str = "camera"
    arch: str = "DeepLab"
    normal_size: int = 256
    output_stride: int = 8
    skip_connection: int = 0
    shared_head: bool = True
    head_type: str = "mbconv"
    activation: str = "relu6"
    cls_head: str = "sigmoid"
    source: dict = field(default_factory=dict)

    def as_dict(self) -> dict:
        """The settings as plain data."""
        return asdict(self)

    def build_network(self, pretrained: bool | Path = False) -> DeepLab | VMM:
        """Build a network with these settings; see `DeepLab` for `pretrained`."""
        architecture = {"DeepLab": DeepLab, "VMM": VMM}[self.arch]
        arguments = {name: getattr(self, name) for name in _ARCHITECTURE_OPTIONS[self.arch].values()}
        return architecture(
            self.tasks,
            len(self.class_names),
            backbone=self.backbone,
            normal_size=self.normal_size,
            pretrained=pretrained,
            **arguments,
        )


# Options that define the network, and the settings that store them.
_COMMON_OPTIONS = {"--app": "tasks", "--arch": "arch", "--basenet": "backbone", "--normal_size": "normal_size"}
_ARCHITECTURE_OPTIONS = {
    "DeepLab": {
        "--output_stride": "output_stride",
        "--skip_connection": "skip_connection",
        "--shared_head": "shared_head",
    },
    "VMM": {"--head_type": "head_type", "--activation": "activation", "--cls_head": "cls_head"},
}


@dataclass(frozen=True)
class AchievementCheckpoint(SavedNetwork):
    """A loaded checkpoint of DeepLab or VMM; see `SavedNetwork`."""

    settings: AchievementSettings
    backbone_flag, tasks_flag, between_tasks = "--basenet", "--app", " "

    def require_same_architecture(self, settings: AchievementSettings) -> None:
        """Make sure that a network with these settings can start from the weights.

        Raises:
            UserError: with the options that differ and both of their values.
        """
        options = _COMMON_OPTIONS | _ARCHITECTURE_OPTIONS[settings.arch]
        values = {flag: (getattr(self.settings, name), getattr(settings, name)) for flag, name in options.items()}
        different = [f"{flag} {_words(old)} (not {_words(new)})" for flag, (old, new) in values.items() if old != new]
        if different:
            raise UserError(f"--ckpt {self.path} was trained with {', '.join(different)}: pass the same options")
        if set(CLASS_TASKS) & set(settings.tasks):
            self.require_classes(len(settings.class_names))


def _words(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def load_achievement_checkpoint(path: Path) -> AchievementCheckpoint:
    """Read a checkpoint of DeepLab or VMM, from this repository or the released code.

    Raises:
        UserError: when the file is neither, is damaged, or contains Python objects.
    """
    digest, content = read_checkpoint(path, ACHIEVEMENT)
    if "format" in content:
        return parse_checkpoint(path, digest, content, AchievementCheckpoint, AchievementSettings, _valid_settings)
    state = strip_prefixes(content)
    if is_released_format(state):
        return _released_checkpoint(path, digest, state)
    if released_weights.is_released_format(state):
        raise other_program(path, ACHIEVEMENT)
    raise no_checkpoint(path, ACHIEVEMENT)


def _valid_settings(settings: AchievementSettings) -> dict[str, bool]:
    """Whether the value of each setting is valid."""
    is_vmm = settings.arch == "VMM"
    return {
        "arch": settings.arch in ARCHITECTURES,
        "backbone": settings.backbone in (PYRAMIDS if is_vmm else BACKBONES),
        "tasks": bool(settings.tasks) and set(PERSPECTIVE_TASK_NAMES if is_vmm else TASK_NAMES) >= set(settings.tasks),
        "height": isinstance(settings.height, int) and settings.height > 0,
        "width": isinstance(settings.width, int) and settings.width > 0,
        "normal_size": isinstance(settings.normal_size, int) and settings.normal_size > 0,
        "output_stride": settings.output_stride in ATROUS_RATES,
        "skip_connection": isinstance(settings.skip_connection, int) and settings.skip_connection >= 0,
        "shared_head": isinstance(settings.shared_head, bool),
        "head_type": settings.head_type in HEAD_TYPES,
        "activation": settings.activation in ACTIVATIONS,
        "cls_head": settings.cls_head in CLS_HEADS,
        "source": isinstance(settings.source, dict),
    }


def _released_checkpoint(path: Path, digest: str, state: dict[str, torch.Tensor]) -> AchievementCheckpoint:
    """Released weights, with the image size of the released experiments and placeholder classes as settings."""
    architecture = released_architecture(state, path)
    num_classes = architecture.pop("num_classes")
    height, width = _RELEASED_SIZES[architecture["arch"]]
    settings = AchievementSettings(
        height=height,
        width=width,
        dataset=UNKNOWN_DATASET,
        class_names=tuple(f"class {i}" for i in range(num_classes)),
        class_colours=distinct_colors(num_classes),
        **architecture,
    )
    network = convert_released_weights(state, settings.build_network().state_dict(), path)
    return AchievementCheckpoint(path, digest, settings, network, weighting={})

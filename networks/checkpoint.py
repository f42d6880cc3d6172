"""Checkpoints of Elite360M: see `networks.saved_network`."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch

from networks import released_achievement
from networks.backbones import DEFAULT, find_backbone
from networks.elite360m import Elite360M
from networks.fusion import FUSIONS
from networks.released_weights import (
    convert_released_weights,
    is_released_format,
    released_architecture,
)
from networks.saved_network import (
    ELITE360M,
    UNKNOWN_DATASET,
    SavedNetwork,
    find_checkpoint,
    find_mismatches,
    load_state,
    no_checkpoint,
    other_program,
    parse_checkpoint,
    read_checkpoint,
)
from utils.checkpoint_files import LAST_MODEL
from utils.colors import distinct_colors
from utils.errors import UserError
from utils.state_dicts import strip_prefixes
from utils.tasks import METERS, TASK_NAMES, join_tasks

_OWN_KEY = "erp_encoder.backbone."  # begins keys in the state dict of every Elite360M
DEFAULT_WEIGHTS = Path(__file__).parents[1] / "weights" / "elite360m_lite0_synthetic.pth"  # see docs/weights.md
ICO_LEVELS = (2, 3, 4)  # supported levels of the icosphere
FOLDS = (1, 2, 3)  # of --dataset S2D3D; --fold defaults to the first


@dataclass(frozen=True)
class ModelSettings:
    """The architecture of a network, and the meaning of its predictions.

    Attributes:
        backbone: a key of `networks.backbones.BACKBONES`, or ``timm:NAME``.
        tasks: task names in the order of `utils.tasks.TASK_NAMES`.
        ico_level: level of the icosphere.
        height, width: size of the training panoramas in pixels.
        dataset: name of the training dataset.
        class_names, class_colours: names and 8-bit RGB colors of the K semantic classes (spelled like the keys in
            checkpoints).
        depth_unit: unit of depth, in words.
        normal_frame: "camera" (x right, y down, z forward) or "world" (the frame of the training data).
        fusion, b2f, cross_task, intermediate: parts of the network, see `Elite360M`.
        fold: --fold of the training; None if not passed or unknown.
    """

    format: ClassVar[str] = ELITE360M

    backbone: str
    tasks: tuple[str, ...]
    ico_level: int
    height: int
    width: int
    dataset: str
    class_names: tuple[str, ...]
    class_colours: tuple[tuple[int, int, int], ...]
    depth_unit: str = METERS
    normal_frame: str = "camera"
    fusion: str = "b2f"
    b2f: str = "released"
    cross_task: str = "coco"
    intermediate: bool = True
    fold: int | None = None

    def as_dict(self) -> dict:
        """The settings as plain data."""
        return asdict(self)

    def build_network(self, pretrained: bool | Path = False) -> Elite360M:
        """Build a network with these settings; see `Elite360M` for `pretrained`."""
        return Elite360M(
            self.backbone,
            len(self.class_names),
            self.tasks,
            self.ico_level,
            pretrained,
            fusion=self.fusion,
            b2f=self.b2f,
            cross_task=self.cross_task,
            intermediate=self.intermediate,
        )


@dataclass(frozen=True)
class Checkpoint(SavedNetwork):
    """A loaded checkpoint of Elite360M; see `SavedNetwork`."""

    settings: ModelSettings
    backbone_flag, tasks_flag, between_tasks = "--backbone", "--task", "_"

    def require_same_architecture(self, settings: ModelSettings) -> None:
        """Make sure that a network with these settings can start from the weights; tasks and classes may differ.

        Raises:
            UserError: with the options that differ and both of their values.
        """
        different = _different_options(self.settings, settings)
        if remedies := [_remedy(flag, *values) for flag, values in different.items() if flag not in _SAME_WEIGHTS]:
            raise UserError(f"{self.path} was trained with other options: {', '.join(remedies)}")

    def differences(self, settings: ModelSettings) -> list[str]:
        """Differences between the settings of the checkpoint and these, one line of text each."""
        lines = [
            f"{self.path} was trained with {flag} {trained} (not {wanted})"
            for flag, (trained, wanted) in _different_options(self.settings, settings).items()
        ]
        common = tuple(task for task in settings.tasks if task in self.settings.tasks)
        mismatches = find_mismatches(self.settings, settings, common)
        return lines + [f"{self.path}: {mismatch}" for mismatch in mismatches.values()]

    def load_into(self, network: Elite360M, settings: ModelSettings) -> list[str]:
        """Load the weights into a network with these settings, as far as they can be used; others keep their values.

        Not loaded are the parts of tasks that the checkpoint lacks; the segmentation heads, if the classes differ; and
        the joining layers of the cross-task attention, if the tasks differ.

        Returns:
            Lines of text with the parts that stay new, and the parts of the checkpoint that are not used.

        Raises:
            UserError: when the other weights do not fit.
        """
        state, expected = strip_prefixes(self.network), network.state_dict()
        part_of = partial(_different_part, trained=self.settings, wanted=settings)
        new = {key: part for key in expected if (part := part_of(key))}
        unused = {key: part for key in state if (part := part_of(key))}
        loaded = {key: value for key, value in state.items() if key not in unused}
        kept = {key: expected[key] for key in new}
        load_state(network, loaded | kept, self.path)
        lines = []
        if new:
            lines.append(f"{self.path}: new, with random weights: {', '.join(sorted(set(new.values())))}")
        if only_unused := set(unused.values()) - set(new.values()):
            lines.append(f"{self.path}: not used: {', '.join(sorted(only_unused))}")
        return lines


def _different_part(key: str, trained: ModelSettings, wanted: ModelSettings) -> str | None:
    """The part of the network, in words, to which a weight belongs that cannot be loaded; None if it can.

    Such a weight exists in only one of the two networks, or its meaning differs.

    Args:
        key: key in the state dict of either network.
        trained, wanted: settings of the checkpoint and of the network to load it into.
    """
    module, *others = key.split(".")
    task = next((name for name in others[:2] if name in TASK_NAMES), None)
    if module == "erp_encoder" or task is None:
        return None
    if task not in trained.tasks or task not in wanted.tasks:
        return f"all of {task}"
    if module == "cross_task":
        if min(len(trained.tasks), len(wanted.tasks)) < 2:
            return "cross-task attention"
        return "joining layers of the cross-task attention" if _joins_tasks(others, trained, wanted) else None
    if task == "segmentation" and module in ("heads", "intermediate_heads") and _differ_in_classes(trained, wanted):
        return "heads of segmentation (other classes)"
    return None


def _joins_tasks(names: list[str], trained: ModelSettings, wanted: ModelSettings) -> bool:
    return trained.tasks != wanted.tasks and names[0] == "collaborations" and names[2] in ("others", "join")


def _differ_in_classes(trained: ModelSettings, wanted: ModelSettings) -> bool:
    """Whether the number of classes differs, or their names if those of the checkpoint are known."""
    differ = len(trained.class_names) != len(wanted.class_names)
    return differ or bool(find_mismatches(trained, wanted, ("segmentation",)))


# Options that may differ when loading weights: they do not change shapes, or `load_into` handles them (--task).
_SAME_WEIGHTS = {"--b2f", "--ico_level", "--task"}


def _different_options(trained: ModelSettings, wanted: ModelSettings) -> dict[str, tuple[str, str]]:
    """Training options that differ between two networks and have an effect in both, with both values."""
    options = zip(_architecture(trained).items(), _architecture(wanted).values(), strict=True)
    return {flag: (old, new) for (flag, old), new in options if old and new and old != new}


def _remedy(flag: str, trained: str, wanted: str) -> str:
    """How to make an option match; ``on`` and ``off`` are the values of flags without arguments."""
    if trained in ("on", "off"):
        return f"{'pass' if trained == 'on' else 'drop'} {flag}"
    return f"pass {flag} {trained} (not {wanted})"


def _architecture(settings: ModelSettings) -> dict[str, str]:
    """Values of the training options that define the architecture; empty if an option has no effect."""
    fuses, collaborates = settings.fusion != "none", len(settings.tasks) > 1
    return {
        "--backbone": settings.backbone,
        "--task": join_tasks(settings.tasks),
        "--fusion": settings.fusion,
        "--cross_task": settings.cross_task if collaborates else "",
        "--no_intermediate_losses": "off" if settings.intermediate else "on",
        "--b2f": settings.b2f if fuses else "",
        "--ico_level": str(settings.ico_level) if fuses else "",
    }


def open_checkpoint(path: str | Path, run: Path | None = None) -> Checkpoint:
    """Load the checkpoint at a path, or the one in this repository.

    Args:
        path: see `find_checkpoint`, or DEFAULT (pass ``./default`` for a file or folder of that name).
        run: see `find_checkpoint`.

    Raises:
        UserError: when there is no checkpoint, or it cannot be used.
    """
    if path != DEFAULT:
        return load_checkpoint(find_checkpoint(path, run))
    if not DEFAULT_WEIGHTS.is_file():
        raise UserError(f"the weights of this repository are missing: restore {DEFAULT_WEIGHTS}, or pass a checkpoint")
    return load_checkpoint(DEFAULT_WEIGHTS)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of Elite360M, from this repository or the released code.

    Raises:
        UserError: when the file is neither, is damaged, or contains Python objects.
    """
    digest, content = read_checkpoint(path, ELITE360M)
    if "format" in content:
        return parse_checkpoint(path, digest, content, Checkpoint, ModelSettings, _valid_settings)
    state = strip_prefixes(content)
    if is_released_format(state):
        return _released_checkpoint(path, digest, state)
    if released_achievement.is_released_format(state):
        raise other_program(path, ELITE360M)
    if any(key.startswith(_OWN_KEY) for key in state):
        raise UserError(
            f"{path} contains weights of train_elite360m.py without their settings: pass a file written by training, "
            f"such as {LAST_MODEL}"
        )
    raise no_checkpoint(path, ELITE360M)


def _valid_settings(settings: ModelSettings) -> dict[str, bool]:
    """Whether the value of each setting is valid."""
    height = settings.height
    return {
        "backbone": find_backbone(str(settings.backbone)) is not None,
        "tasks": bool(settings.tasks) and set(TASK_NAMES) >= set(settings.tasks),
        "ico_level": settings.ico_level in ICO_LEVELS,
        "height": isinstance(height, int) and height > 0 and height % 32 == 0,
        "width": settings.width == 2 * height,
        "fusion": settings.fusion in (*FUSIONS, "none"),
        "b2f": settings.b2f in ("released", "corrected"),
        "cross_task": settings.cross_task in ("coco", "none"),
        "fold": settings.fold in (None, *FOLDS),
    }


def _released_checkpoint(path: Path, digest: str, state: dict[str, torch.Tensor]) -> Checkpoint:
    """Released weights, with the released code's default settings and placeholder classes."""
    backbone, num_classes = released_architecture(state, path)
    settings = ModelSettings(
        backbone=backbone,
        tasks=("depth", "normal", "segmentation"),
        ico_level=4,
        height=512,
        width=1024,
        dataset=UNKNOWN_DATASET,
        class_names=tuple(f"class {i}" for i in range(num_classes)),
        class_colours=distinct_colors(num_classes),
    )
    own_state = settings.build_network().state_dict()
    network, log_variances = convert_released_weights(state, own_state, path)
    return Checkpoint(path, digest, settings, network, {"log_variances": log_variances})

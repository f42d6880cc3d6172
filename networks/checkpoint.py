"""Checkpoints: their content, and how they are found, written, read and compared.

A checkpoint is a dict of tensors, numbers and strings, loaded with ``weights_only=True``: an untrusted
file cannot run code. ``settings`` holds all that is needed to rebuild the network and to interpret its predictions;
files of the released program, which hold only weights, are recognized by their keys.
"""

import hashlib
import io
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from networks.backbones import find_backbone
from networks.elite360m import Elite360M
from networks.fusion import FUSIONS
from networks.released_weights import (
    convert_released_weights,
    is_released_format,
    released_architecture,
)
from utils.checkpoint_files import LAST_MODEL, load_plain_data, save_content
from utils.colors import distinct_colors
from utils.errors import UserError
from utils.files import atomic_path
from utils.state_dicts import require_fit, strip_prefixes, unwrap
from utils.tasks import METERS, TASK_NAMES, join_tasks

FORMAT = "elite360m"
VERSION = 1
UNKNOWN_DATASET = "unknown (released weights)"
_OWN_KEY = "erp_encoder.backbone."  # prefix in the state dict of every network of this program
_LONGEST_NAME = 60  # characters of a name in a message
_SHOWN = 3  # runs or files listed in a message
ICO_LEVELS = (2, 3, 4)  # supported levels of the icosphere


@dataclass(frozen=True)
class ModelSettings:
    """The architecture of a network, and the meaning of its predictions.

    Attributes:
        backbone: key of `networks.backbones.BACKBONES`, or ``timm:NAME``.
        tasks: task names in the order of `utils.tasks.TASK_NAMES`.
        ico_level: level of the icosphere.
        height, width: of the training panoramas, in pixels.
        dataset: name of the training dataset.
        class_names, class_colours: of the K semantic classes; colors are 8-bit RGB (spelled as the key in checkpoints).
        depth_unit: unit of depth, in words.
        normal_frame: "camera" (x right, y down, z forward) or "world" (the frame of the training data).
        fusion, b2f, cross_task, intermediate: the network's parts; see `Elite360M`.
    """

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

    @property
    def meaning_is_known(self) -> bool:
        """Whether unit of depth, frame of normals and class names were recorded; released weights have none."""
        return self.dataset != UNKNOWN_DATASET

    def as_dict(self) -> dict:
        """As plain data."""
        return asdict(self)

    def build_network(self, pretrained: bool = False) -> Elite360M:
        """A network of these settings; see `Elite360M` for `pretrained`."""
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
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        path: the file.
        sha256: of the bytes of the file, in hexadecimal.
        settings: of the network.
        network: state dict of the network, with the names of this program.
        weighting: state dict of the balancing method.
        balancing: the method's name, a key of `losses.balancing.BALANCINGS`.
        epoch: number of epochs of training; 0 if unknown.
    """

    path: Path
    sha256: str
    settings: ModelSettings
    network: dict[str, torch.Tensor]
    weighting: dict[str, torch.Tensor]
    balancing: str = "uncertainty"
    epoch: int = 0

    def build_network(self) -> Elite360M:
        """The network with the weights of this checkpoint.

        Raises:
            UserError: when the weights do not fit the settings.
        """
        network = self.settings.build_network()
        load_state(network, self.network, self.path)
        return network

    def require(self, backbone: str, tasks: tuple[str, ...], num_classes: int) -> None:
        """Make sure that the network is what the command line and the dataset ask for.

        Raises:
            UserError: when the backbone or the number of classes differ, or a task is missing.
        """
        settings = self.settings
        if settings.backbone != backbone:
            known = settings.backbone
            raise UserError(f"{self.path} was trained with --backbone {known}, not {backbone}: pass --backbone {known}")
        if missing := [task for task in tasks if task not in settings.tasks]:
            trained = join_tasks(settings.tasks)
            raise UserError(
                f"{self.path} was trained with --task {trained}, not for {missing[0]}: pass --task {trained}"
            )
        if "segmentation" in tasks:
            self._require_classes(num_classes)

    def require_same_architecture(self, settings: ModelSettings) -> None:
        """Make sure that a network of these settings can start from the weights.

        Raises:
            UserError: naming the options that differ, with both values.
        """
        different = _different_options(self.settings, settings)
        if different.keys() - _SAME_WEIGHTS:
            listed = ", ".join(_in_words(flag, *values) for flag, values in different.items())
            raise UserError(f"{self.path} was trained {listed}: pass the same options")
        if "segmentation" in settings.tasks:
            self._require_classes(len(settings.class_names))

    def differences(self, settings: ModelSettings) -> list[str]:
        """Other differences between the settings of the checkpoint and these, a line of text each."""
        lines = [
            f"{self.path} was trained {_in_words(flag, *values)}"
            for flag, values in _different_options(self.settings, settings).items()
        ]
        mismatches = find_mismatches(self.settings, settings, settings.tasks)
        return lines + [f"{self.path}: {mismatch}" for mismatch in mismatches.values()]

    def _require_classes(self, num_classes: int) -> None:
        known = len(self.settings.class_names)
        if known != num_classes:
            raise UserError(
                f"{self.path} predicts {known} classes ({self.settings.dataset}), but the dataset has {num_classes}: "
                "use a checkpoint of the same classes, or drop segmentation from --task"
            )


_SAME_WEIGHTS = {"--b2f", "--ico_level"}  # options that change the computation but not the shapes of the weights


def _different_options(trained: ModelSettings, wanted: ModelSettings) -> dict[str, tuple[str, str]]:
    """Training options that differ between two networks and matter to both, with both values."""
    options = zip(_architecture(trained).items(), _architecture(wanted).values(), strict=True)
    return {flag: (then, now) for (flag, then), now in options if then and now and then != now}


def _in_words(flag: str, trained: str, wanted: str) -> str:
    """How an option of a training differs; ``on`` and ``off`` are those of flags without a value."""
    if trained in ("on", "off"):
        return f"{'with' if trained == 'on' else 'without'} {flag}"
    return f"with {flag} {trained} (not {wanted})"


def _architecture(settings: ModelSettings) -> dict[str, str]:
    """Training options that define the architecture; the value is empty if the option has no effect."""
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


class Meaning(Protocol):
    """Meaning of depth, normals and labels, of predictions or of ground truth."""

    depth_unit: str
    normal_frame: str
    class_names: tuple[str, ...]


class Mismatch(NamedTuple):
    """A difference in meaning between predictions and ground truth of a task. The fields are keys in results.json."""

    what: str
    predicted: str
    truth: str

    def __str__(self) -> str:
        predicted, target = self.predicted[:_LONGEST_NAME], self.truth[:_LONGEST_NAME]
        return f"{self.what} is '{predicted}' in the predictions but '{target}' in the ground truth"


def find_mismatches(settings: ModelSettings, target: Meaning, tasks: tuple[str, ...]) -> dict[str, Mismatch]:
    """The tasks whose predictions and ground truth differ in meaning; empty if that of the predictions is unknown.

    Args:
        settings: of the network that predicts.
        target: meaning of the ground truth.
        tasks: to compare.
    """
    if not settings.meaning_is_known:
        return {}
    compared = {
        "depth": Mismatch("the unit of depth", settings.depth_unit, target.depth_unit),
        "normal": Mismatch("the frame of the normals", settings.normal_frame, target.normal_frame),
        "segmentation": _first_other_class(settings.class_names, target.class_names),
    }
    wanted = {task: compared[task] for task in tasks if task in compared}
    return {task: mismatch for task, mismatch in wanted.items() if mismatch.predicted != mismatch.truth}


def _first_other_class(predicted: tuple[str, ...], target: tuple[str, ...]) -> Mismatch:
    pairs = enumerate(zip_longest(predicted, target, fillvalue=""))
    label, (ours, theirs) = next(((i, pair) for i, pair in pairs if pair[0] != pair[1]), (0, ("", "")))
    return Mismatch(f"class {label}", ours, theirs)


def save_checkpoint(
    path: Path,
    settings: ModelSettings,
    network: torch.nn.Module,
    weighting: torch.nn.Module,
    epoch: int,
    balancing: str = "uncertainty",
    **more,
) -> None:
    """Write a checkpoint atomically. `more`: further entries."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "settings": settings.as_dict(),
        "network": network.state_dict(),
        "weighting": weighting.state_dict(),
        "balancing": balancing,
        "epoch": epoch,
        **more,
    }
    with atomic_path(path) as temporary:
        save_content(content, temporary)


def find_checkpoint(path: str | Path, run: Path | None = None) -> Path:
    """Find the checkpoint file of a path given by a user.

    Args:
        path: a file, a run folder or one within it, or a folder that holds runs, such as the --log_dir of a training.
        run: the run to choose among several: the relative path of its folder, ``<task value>/<backbone>``.

    Raises:
        UserError: when there is none, or there are several, which the message lists.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(f"no checkpoint: {path} does not exist")
    within_run = [Path(*LAST_MODEL.parts[i:]) for i in range(len(LAST_MODEL.parts))]
    for candidate in [*within_run, *([run / LAST_MODEL] if run else [])]:
        if (path / candidate).is_file():
            return path / candidate
    runs = sorted(found.parents[2] for found in _below(path, str(LAST_MODEL)))
    if len(runs) == 1:
        return runs[0] / LAST_MODEL
    if runs:
        hint = ", or --task and --backbone of it" if run else ""
        raise UserError(f"{path} holds {len(runs)} runs ({_some(runs, path)}): pass one of them{hint}")
    files = sorted(found for found in [*path.glob("*.pth"), *_below(path, "*.pth")] if found.parent.name != "state")
    if files:
        raise UserError(f"{path} contains no {LAST_MODEL}, but {_some(files, path)}: pass a checkpoint file")
    raise UserError(f"no checkpoint: there is no {LAST_MODEL} in {path}; pass a checkpoint file or a run folder")


def _below(folder: Path, pattern: str) -> list[Path]:
    """Files matching a pattern up to three levels below a folder: a --log_dir, its tasks, their runs."""
    return [found for depth in (1, 2, 3) for found in folder.glob("*/" * depth + pattern)]


def _some(paths: list[Path], folder: Path) -> str:
    """The first of the paths, relative to a folder."""
    shown = [str(path.relative_to(folder)) for path in paths[:_SHOWN]]
    return ", ".join(shown) + (", ..." if len(paths) > _SHOWN else "")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of this program or of the released one.

    Raises:
        UserError: when the file is neither, is damaged, or holds more than plain data.
    """
    try:
        file = path.read_bytes()  # once: a training may replace the file between hashing and loading
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(file).hexdigest()
    content = unwrap(load_plain_data(io.BytesIO(file), path))
    if not isinstance(content, dict):
        raise UserError(f"{path} is neither a checkpoint of this program nor weights of the released one")
    kind = content.get("format")
    if kind == FORMAT:
        return _own_checkpoint(path, digest, content)
    if isinstance(kind, str) and kind.startswith(FORMAT):
        raise UserError(
            f"{path} is a training state, for --resume, not a checkpoint: pass {LAST_MODEL} of the same run instead"
        )
    state = strip_prefixes(content)
    if is_released_format(state):
        return _released_checkpoint(path, digest, state)
    if any(key.startswith(_OWN_KEY) for key in state):
        raise UserError(
            f"{path} holds weights of this program without their settings: pass a file that training wrote, such as "
            f"{LAST_MODEL}"
        )
    raise UserError(f"{path} is neither a checkpoint of this program nor weights of the released one")


def load_state(module: torch.nn.Module, state: dict[str, torch.Tensor], path: Path, what: str = "the network") -> None:
    """Load a state dict strictly; prefixes such as ``module.`` are stripped from its keys.

    Raises:
        UserError: when keys are missing, unknown or of another shape.
    """
    state = strip_prefixes(state)
    require_fit(state, module.state_dict(), path, what)
    module.load_state_dict(state)


def _own_checkpoint(path: Path, digest: str, content: dict) -> Checkpoint:
    if content.get("version") != VERSION:
        version = f"{content.get('version')}"[:20]
        raise UserError(f"{path} is of version {version}; this program reads version {VERSION}")
    try:
        settings = dict(content["settings"])
        settings |= {
            "tasks": tuple(settings["tasks"]),
            "class_names": tuple(settings["class_names"]),
            "class_colours": tuple(tuple(color) for color in settings["class_colours"]),
        }
        checkpoint = Checkpoint(
            path,
            digest,
            ModelSettings(**settings),
            dict(unwrap(content["network"])),
            dict(content["weighting"]),
            content.get("balancing", "uncertainty"),
            int(content["epoch"]),
        )
        wrong = _unknown_setting(checkpoint.settings)
    except KeyError as error:
        raise UserError(f"{path} is an incomplete checkpoint: {f'{error}'[:100]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is an incomplete or altered checkpoint: {f'{error}'[:100]}") from error
    if wrong:
        value = f"{getattr(checkpoint.settings, wrong)}"[:_LONGEST_NAME]
        raise UserError(f"{path} has settings that this program does not know: {wrong} is {value}")
    return checkpoint


def _unknown_setting(settings: ModelSettings) -> str | None:
    """The name of a setting with an unknown value, or None."""
    height, names, colors = settings.height, settings.class_names, settings.class_colours
    is_known = {
        "backbone": find_backbone(str(settings.backbone)) is not None,
        "tasks": bool(settings.tasks) and set(TASK_NAMES) >= set(settings.tasks),
        "ico_level": settings.ico_level in ICO_LEVELS,
        "height": isinstance(height, int) and height > 0 and height % 32 == 0,
        "width": settings.width == 2 * height,
        "dataset": isinstance(settings.dataset, str),
        "class_names": bool(names) and all(isinstance(name, str) for name in names),
        "class_colours": len(colors) == len(names) and all(len(color) == 3 for color in colors),
        "depth_unit": isinstance(settings.depth_unit, str),
        "normal_frame": settings.normal_frame in ("camera", "world"),
        "fusion": settings.fusion in (*FUSIONS, "none"),
        "b2f": settings.b2f in ("released", "corrected"),
        "cross_task": settings.cross_task in ("coco", "none"),
    }
    return next((name for name, known in is_known.items() if not known), None)


def _released_checkpoint(path: Path, digest: str, state: dict[str, torch.Tensor]) -> Checkpoint:
    """The released program saves only weights: its default settings, and placeholder classes, are supplied here."""
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

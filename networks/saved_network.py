"""What the checkpoints of both programs have in common: how they are found, written, read and compared.

A checkpoint is a dict of tensors, numbers and strings, loaded with ``weights_only=True``: an untrusted
file cannot run code. ``settings`` holds all that is needed to rebuild the network and to interpret its predictions;
files of the released code bases, which hold only weights, are recognized by their keys.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, TypeVar

import torch

from utils.checkpoint_files import LAST_MODEL, load_plain_data, save_content
from utils.errors import UserError
from utils.files import atomic_path
from utils.state_dicts import require_fit, strip_prefixes, unwrap
from utils.tasks import CLASS_TASKS, DETECTION, TASK_NAMES

VERSION = 1
UNKNOWN_DATASET = "unknown (released weights)"
ELITE360M, ACHIEVEMENT = "elite360m", "achievement"  # formats: the ends of the scripts' names
_STATE = "elite360m training state"  # begins the format of the state of a training of either program
_LONGEST_NAME = 60  # characters of a name in a message
_SHOWN = 3  # runs or files listed in a message


class NetworkSettings(Protocol):
    """The architecture of a network, and the meaning of its predictions: a frozen dataclass of plain data.

    Attributes:
        format: of its checkpoints.
        backbone, tasks: names.
        dataset: name of the training dataset, or UNKNOWN_DATASET.
        class_names, class_colours: of the K semantic classes; colors are 8-bit RGB (spelled as the key in checkpoints).
        depth_unit: unit of depth, in words.
        normal_frame: "camera" or "world".
    """

    format: str
    backbone: str
    tasks: tuple[str, ...]
    dataset: str
    class_names: tuple[str, ...]
    class_colours: tuple[tuple[int, int, int], ...]
    depth_unit: str
    normal_frame: str

    def as_dict(self) -> dict:
        """As plain data."""

    def build_network(self, pretrained: bool | Path = False) -> torch.nn.Module:
        """A network of these settings."""


@dataclass(frozen=True)
class SavedNetwork:
    """A loaded checkpoint.

    Attributes:
        path: the file.
        sha256: of the bytes of the file, in hexadecimal.
        settings: of the network.
        network: state dict of the network, with our names.
        weighting: state dict of the balancing method.
        balancing: the method's name, a key of `losses.balancing.BALANCINGS`.
        epoch: number of epochs of training; 0 if unknown.
        backbone_flag, tasks_flag, between_tasks: options of the program, and what separates the values of the latter.
    """

    backbone_flag: ClassVar[str]
    tasks_flag: ClassVar[str]
    between_tasks: ClassVar[str]

    path: Path
    sha256: str
    settings: NetworkSettings
    network: dict[str, torch.Tensor]
    weighting: dict[str, torch.Tensor]
    balancing: str = "uncertainty"
    epoch: int = 0

    def build_network(self) -> torch.nn.Module:
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
            flag, known = self.backbone_flag, settings.backbone
            raise UserError(f"{self.path} was trained with {flag} {known}, not {backbone}: pass {flag} {known}")
        if missing := [task for task in tasks if task not in settings.tasks]:
            trained = self._option_of(settings.tasks)
            raise UserError(f"{self.path} was trained with {trained}, not for {missing[0]}: pass {trained}")
        if set(CLASS_TASKS) & set(tasks):
            self.require_classes(num_classes)

    def require_classes(self, num_classes: int) -> None:
        """Make sure that the network predicts this number of classes.

        Raises:
            UserError: when it does not.
        """
        known = len(self.settings.class_names)
        if known != num_classes:
            raise UserError(
                f"{self.path} predicts {known} classes ({self.settings.dataset}), but the dataset has {num_classes}: "
                f"use a checkpoint of the same classes{self.other_tasks_remedy()}"
            )

    def other_tasks_remedy(self) -> str:
        """How to use this network with a dataset of other classes, as the end of a message; empty if it cannot be."""
        others = tuple(task for task in self.settings.tasks if task not in CLASS_TASKS)
        return f", or evaluate its other tasks with {self._option_of(others)}" if others else ""

    def _option_of(self, tasks: tuple[str, ...]) -> str:
        """The option that chooses these tasks."""
        return f"{self.tasks_flag} {self.between_tasks.join(tasks)}"


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


def find_mismatches(settings: NetworkSettings, target: Meaning, tasks: tuple[str, ...]) -> dict[str, Mismatch]:
    """The tasks whose predictions and ground truth differ in meaning; empty if that of the predictions is unknown.

    Args:
        settings: of the network that predicts.
        target: meaning of the ground truth.
        tasks: to compare.
    """
    if settings.dataset == UNKNOWN_DATASET:
        return {}
    classes = _first_other_class(settings.class_names, target.class_names)
    compared = {
        "depth": Mismatch("the unit of depth", settings.depth_unit, target.depth_unit),
        "normal": Mismatch("the frame of the normals", settings.normal_frame, target.normal_frame),
        "segmentation": classes,
        DETECTION: classes,
    }
    wanted = {task: compared[task] for task in tasks if task in compared}
    return {task: mismatch for task, mismatch in wanted.items() if mismatch.predicted != mismatch.truth}


def _first_other_class(predicted: tuple[str, ...], target: tuple[str, ...]) -> Mismatch:
    pairs = enumerate(zip_longest(predicted, target, fillvalue=""))
    label, (ours, theirs) = next(((i, pair) for i, pair in pairs if pair[0] != pair[1]), (0, ("", "")))
    return Mismatch(f"class {label}", ours, theirs)


def save_checkpoint(
    path: Path,
    settings: NetworkSettings,
    network: torch.nn.Module,
    weighting: torch.nn.Module,
    epoch: int,
    balancing: str = "uncertainty",
    **more,
) -> None:
    """Write a checkpoint atomically. `more`: further entries."""
    content = {
        "format": settings.format,
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


def read_checkpoint(path: Path, format_name: str) -> tuple[str, dict]:
    """The content of a checkpoint, or the bare state dict in a file without a format.

    Args:
        path: the file.
        format_name: of the checkpoints that are asked for.

    Returns:
        The hash of the file, see `SavedNetwork`, and its content.

    Raises:
        UserError: when the file is damaged, holds more than plain data, or is a training state or a checkpoint of the
            other program.
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
    if kind == format_name or not isinstance(kind, str):
        return digest, content
    if kind.startswith(_STATE):
        raise UserError(
            f"{path} is a training state, for --resume, not a checkpoint: pass {LAST_MODEL} of the same run instead"
        )
    if kind in (ELITE360M, ACHIEVEMENT):
        raise other_program(path, kind)
    raise UserError(f"{path} has the format {kind[:_LONGEST_NAME]}, which this program does not know")


def other_program(path: Path, format_name: str) -> UserError:
    """What to say of a checkpoint, or released weights, of the program with another format."""
    scripts = f"eval_{format_name}.py or predict_{format_name}.py"
    return UserError(f"{path} belongs to the other program: use {scripts}, or another file")


Settings = TypeVar("Settings", bound=NetworkSettings)
Saved = TypeVar("Saved", bound=SavedNetwork)


def parse_checkpoint(
    path: Path,
    digest: str,
    content: dict,
    checkpoint_class: type[Saved],
    settings_class: type[Settings],
    is_known: Callable[[Settings], dict[str, bool]],
) -> Saved:
    """The checkpoint of a content that `save_checkpoint` wrote.

    Args:
        path, digest, content: see `read_checkpoint`.
        checkpoint_class, settings_class: of the program.
        is_known: from settings to whether the value of each is one that the program knows.

    Raises:
        UserError: when something is missing, of another version, or unknown.
    """
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
        checkpoint = checkpoint_class(
            path,
            digest,
            settings_class(**settings),
            dict(unwrap(content["network"])),
            dict(content["weighting"]),
            content.get("balancing", "uncertainty"),
            int(content["epoch"]),
        )
        known = _common_settings_known(checkpoint.settings) | is_known(checkpoint.settings)
    except KeyError as error:
        raise UserError(f"{path} is an incomplete checkpoint: {f'{error}'[:100]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is an incomplete or altered checkpoint: {f'{error}'[:100]}") from error
    if wrong := next((name for name, is_fine in known.items() if not is_fine), None):
        value = f"{getattr(checkpoint.settings, wrong)}"[:_LONGEST_NAME]
        raise UserError(f"{path} has settings that this program does not know: {wrong} is {value}")
    return checkpoint


def _common_settings_known(settings: NetworkSettings) -> dict[str, bool]:
    names, colors = settings.class_names, settings.class_colours
    return {
        "tasks": bool(settings.tasks) and set(TASK_NAMES) >= set(settings.tasks),
        "dataset": isinstance(settings.dataset, str),
        "class_names": (bool(names) or not set(CLASS_TASKS) & set(settings.tasks))
        and all(isinstance(name, str) for name in names),
        "class_colours": len(colors) == len(names) and all(len(color) == 3 for color in colors),
        "depth_unit": isinstance(settings.depth_unit, str),
        "normal_frame": settings.normal_frame in ("camera", "world"),
    }


def load_state(module: torch.nn.Module, state: dict[str, torch.Tensor], path: Path, what: str = "the network") -> None:
    """Load a state dict strictly; prefixes such as ``module.`` are stripped from its keys.

    Raises:
        UserError: when keys are missing, unknown or of another shape.
    """
    state = strip_prefixes(state)
    require_fit(state, module.state_dict(), path, what)
    module.load_state_dict(state)

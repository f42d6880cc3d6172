"""Checkpoints of both programs: finding, writing, reading and comparing them.

A checkpoint is a dict of tensors, numbers and strings, loaded with ``weights_only=True``, so that an untrusted file
cannot run code. ``settings`` holds everything needed to rebuild the network and to interpret its predictions. Files of
the released code, which hold only weights, are recognized by their keys.
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
from utils.tasks import CLASS_TASKS, DETECTION

VERSION = 1
UNKNOWN_DATASET = "unknown (released weights)"
ELITE360M, ACHIEVEMENT = "elite360m", "achievement"  # formats, which are also the suffixes of the scripts' names
_AUTHORS = {ELITE360M: "Ai & Wang", ACHIEVEMENT: "Yun & Cho"}  # of the released code
_STATE = "elite360m training state"  # begins the format of training states of both programs
_LONGEST_NAME = 60  # characters of a name in a message
_SHOWN = 3  # runs or files listed in a message


class NetworkSettings(Protocol):
    """The architecture of a network, and the meaning of its predictions: a frozen dataclass of plain data.

    Attributes:
        format: format of its checkpoints, ELITE360M or ACHIEVEMENT.
        backbone, tasks: names of the backbone and of the tasks.
        dataset: name of the training dataset, or UNKNOWN_DATASET.
        class_names, class_colours: names and 8-bit RGB colors of the K semantic classes (spelled like the keys in
            checkpoints).
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
        """The settings as plain data."""

    def build_network(self, pretrained: bool | Path = False) -> torch.nn.Module:
        """Build a network with these settings."""


@dataclass(frozen=True)
class SavedNetwork:
    """A loaded checkpoint.

    Attributes:
        path: the file.
        sha256: SHA-256 of the file, in hexadecimal.
        settings: settings of the network.
        network: state dict of the network, with our names.
        weighting: state dict of the balancing method.
        balancing: name of the balancing method, a key of `losses.balancing.BALANCINGS`.
        epoch: number of training epochs; 0 if unknown.
        backbone_flag, tasks_flag, between_tasks: the program's options for backbone and tasks, and the separator of
            task names in the latter.
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
        """Build the network with the weights of this checkpoint.

        Raises:
            UserError: when the weights do not fit the settings.
        """
        network = self.settings.build_network()
        load_state(network, self.network, self.path)
        return network

    def require(self, backbone: str, tasks: tuple[str, ...], num_classes: int) -> None:
        """Make sure that the network fits the command line and the dataset.

        Raises:
            UserError: when the backbone or the number of classes differs, or a task is missing.
        """
        settings = self.settings
        if settings.backbone != backbone:
            flag, trained = self.backbone_flag, settings.backbone
            raise UserError(f"{self.path} was trained with {flag} {trained}, not {backbone}: pass {flag} {trained}")
        if missing := [task for task in tasks if task not in settings.tasks]:
            trained = self._task_option(settings.tasks)
            raise UserError(f"{self.path} was trained with {trained}, not for {missing[0]}: pass {trained}")
        if set(CLASS_TASKS) & set(tasks):
            self.require_classes(num_classes, self.other_tasks_remedy())

    def require_classes(self, num_classes: int, other_remedy: str = "") -> None:
        """Make sure that the network predicts this number of classes.

        Args:
            num_classes: number of classes of the dataset.
            other_remedy: end of the message.

        Raises:
            UserError: when it does not.
        """
        predicted = len(self.settings.class_names)
        if predicted != num_classes:
            raise UserError(
                f"{self.path} predicts {predicted} classes ({self.settings.dataset}), but the dataset has "
                f"{num_classes}: use a checkpoint with the same classes{other_remedy}"
            )

    def other_tasks_remedy(self) -> str:
        """How to evaluate this network on a dataset of other classes, as the end of a message; empty if impossible."""
        others = tuple(task for task in self.settings.tasks if task not in CLASS_TASKS)
        if not others:
            return ""
        return f", or evaluate its other tasks: pass the path of this file and {self._task_option(others)}"

    def _task_option(self, tasks: tuple[str, ...]) -> str:
        """The command-line option that selects these tasks."""
        return f"{self.tasks_flag} {self.between_tasks.join(tasks)}"


class Meaning(Protocol):
    """The meaning of depth, normals and labels in predictions or ground truth."""

    depth_unit: str
    normal_frame: str
    class_names: tuple[str, ...]


class Mismatch(NamedTuple):
    """A difference in meaning between the predictions and ground truth of a task. Fields are keys in results.json."""

    what: str
    predicted: str
    truth: str

    def __str__(self) -> str:
        predicted, target = self.predicted[:_LONGEST_NAME], self.truth[:_LONGEST_NAME]
        return f"{self.what} is '{predicted}' in the predictions but '{target}' in the ground truth"


def find_mismatches(settings: NetworkSettings, target: Meaning, tasks: tuple[str, ...]) -> dict[str, Mismatch]:
    """The tasks whose predictions and ground truth differ in meaning; empty for networks with unknown meaning.

    Args:
        settings: settings of the predicting network.
        target: meaning of the ground truth.
        tasks: tasks to compare.
    """
    if settings.dataset == UNKNOWN_DATASET:
        return {}
    classes = _compare_classes(settings.class_names, target.class_names)
    compared = {
        "depth": Mismatch("the unit of depth", settings.depth_unit, target.depth_unit),
        "normal": Mismatch("the frame of the normals", settings.normal_frame, target.normal_frame),
        "segmentation": classes,
        DETECTION: classes,
    }
    selected = {task: compared[task] for task in tasks if task in compared}
    return {task: pair for task, pair in selected.items() if pair.predicted != pair.truth}


def _compare_classes(predicted: tuple[str, ...], target: tuple[str, ...]) -> Mismatch:
    """The first class whose names differ; equal names if there is none."""
    for label, (ours, theirs) in enumerate(zip_longest(predicted, target, fillvalue="")):
        if ours != theirs:
            return Mismatch(f"class {label}", ours, theirs)
    return Mismatch("class 0", "", "")


def save_checkpoint(
    path: Path,
    settings: NetworkSettings,
    network: torch.nn.Module,
    weighting: torch.nn.Module,
    epoch: int,
    balancing: str = "uncertainty",
    **more,
) -> None:
    """Write a checkpoint atomically; `more` are additional entries."""
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
    """Find the checkpoint file at a path that a user passes.

    Args:
        path: a file, a run folder or a folder within it, or a folder with runs such as a --log_dir.
        run: relative path ``<task value>/<backbone>`` of the run to choose among several.

    Raises:
        UserError: when there is no checkpoint, or there are several, which the message lists.
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
    runs = sorted(file.parents[2] for file in _files_below(path, str(LAST_MODEL)))
    if len(runs) == 1:
        return runs[0] / LAST_MODEL
    if runs:
        wanted = f", but not {run} (--task, --backbone)" if run else ""
        raise UserError(f"{path} contains {len(runs)} runs ({_first_of(runs, path)}){wanted}: pass one of them")
    files = sorted(file for file in [*path.glob("*.pth"), *_files_below(path, "*.pth")] if file.parent.name != "state")
    if files:
        raise UserError(f"{path} contains no {LAST_MODEL}, but {_first_of(files, path)}: pass a checkpoint file")
    raise UserError(f"no checkpoint: there is no {LAST_MODEL} in {path}; pass a checkpoint file or a run folder")


def _files_below(folder: Path, pattern: str) -> list[Path]:
    """Files matching a pattern one to three levels below a folder: in a --log_dir, its tasks and their runs."""
    return [file for depth in (1, 2, 3) for file in folder.glob("*/" * depth + pattern)]


def _first_of(paths: list[Path], folder: Path) -> str:
    """The first few paths, relative to a folder."""
    shown = [str(path.relative_to(folder)) for path in paths[:_SHOWN]]
    return ", ".join(shown) + (", ..." if len(paths) > _SHOWN else "")


def read_checkpoint(path: Path, format_name: str) -> tuple[str, dict]:
    """Read the content of a checkpoint, or the bare state dict in a file without a format.

    Args:
        path: the file.
        format_name: the expected format, ELITE360M or ACHIEVEMENT.

    Returns:
        The SHA-256 of the file and its content.

    Raises:
        UserError: when the file is damaged, contains Python objects, or is a training state or a checkpoint of the
            other program.
    """
    try:
        file = path.read_bytes()  # once: training may replace the file between hashing and loading
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(file).hexdigest()
    content = unwrap(load_plain_data(io.BytesIO(file), path))
    if not isinstance(content, dict):
        raise no_checkpoint(path, format_name)
    found = content.get("format")
    if found == format_name or not isinstance(found, str):
        return digest, content
    if found.startswith(_STATE):
        raise UserError(f"{path} is a training state, for --resume: pass {LAST_MODEL} of the same run instead")
    if found in (ELITE360M, ACHIEVEMENT):
        raise other_program(path, format_name)
    raise UserError(f"{path} has the unknown format {found[:_LONGEST_NAME]}: pass another file")


def other_program(path: Path, format_name: str) -> UserError:
    """The error for a checkpoint or released weights of the other program, when `format_name` is expected."""
    [other] = {ELITE360M, ACHIEVEMENT} - {format_name}
    return UserError(
        f"{path} belongs to train_{other}.py, eval_{other}.py and predict_{other}.py: use these scripts, or pass a "
        f"checkpoint of train_{format_name}.py"
    )


def no_checkpoint(path: Path, format_name: str) -> UserError:
    """The error for a file that is neither of the format `format_name` nor released weights of this program."""
    return UserError(
        f"{path} is neither a checkpoint of train_{format_name}.py nor weights of {_AUTHORS[format_name]}'s released "
        f"code: pass a file written by training, such as {LAST_MODEL}"
    )


Settings = TypeVar("Settings", bound=NetworkSettings)
Saved = TypeVar("Saved", bound=SavedNetwork)


def parse_checkpoint(
    path: Path,
    digest: str,
    content: dict,
    checkpoint_class: type[Saved],
    settings_class: type[Settings],
    are_valid: Callable[[Settings], dict[str, bool]],
) -> Saved:
    """Build a checkpoint from the content that `save_checkpoint` wrote.

    Args:
        path, digest, content: see `read_checkpoint`.
        checkpoint_class, settings_class: classes of the program.
        are_valid: returns whether the value of each setting is valid.

    Raises:
        UserError: when the version differs, or an entry is missing or invalid.
    """
    if content.get("version") != VERSION:
        version = f"{content.get('version')}"[:20]
        raise UserError(f"{path} has version {version}, but this program reads version {VERSION}: pass another file")
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
        valid = _valid_common_settings(checkpoint.settings) | are_valid(checkpoint.settings)
    except KeyError as error:
        raise UserError(f"{path} is an incomplete checkpoint: {f'{error}'[:100]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is an incomplete or altered checkpoint: {f'{error}'[:100]}") from error
    if invalid := next((name for name, is_valid in valid.items() if not is_valid), None):
        value = f"{getattr(checkpoint.settings, invalid)}"[:_LONGEST_NAME]
        raise UserError(f"{path} has an unknown setting: {invalid} is {value}; pass another file")
    return checkpoint


def _valid_common_settings(settings: NetworkSettings) -> dict[str, bool]:
    """Whether the value of each setting is valid, for settings with the same valid values in both programs."""
    names, colors = settings.class_names, settings.class_colours
    return {
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

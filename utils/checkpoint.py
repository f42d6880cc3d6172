"""Checkpoints: what is in one, where they lie, how they are written and read.

A checkpoint is a dict of tensors, numbers and strings, loaded with ``weights_only=True``: a file from a stranger can
hold wrong weights but no code. ``settings`` tells all that is needed to build the network again and to read its
predictions; files of the released program, which hold weights alone, are recognised by their keys.
"""

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from networks.elite360m import Elite360M
from networks.released_weights import (
    convert_released_weights,
    is_released_format,
    released_architecture,
)
from tasks import TASKS
from tasks.display import Look
from utils.errors import UserError
from utils.files import atomic_path
from utils.run_folder import LAST_MODEL
from utils.tasks import METRES
from utils.visualize import distinct_colours

FORMAT = "elite360m"
VERSION = 1


@dataclass(frozen=True)
class ModelSettings:
    """What a network is, and what its predictions mean.

    Attributes:
        backbone: key of `networks.backbones.BACKBONES`.
        tasks: task names in the order of `tasks.TASKS`.
        ico_level: level of the icosphere.
        height, width: pixels of the panoramas it was trained on.
        dataset: the name of the dataset it was trained on.
        class_names, class_colours: of the K semantic classes; colours are 8-bit RGB.
        depth_unit: what a depth of 1 means, in words.
        normal_frame: "camera" (x right, y down, z forward) or "world" (the frame of the training data).
    """

    backbone: str
    tasks: tuple[str, ...]
    ico_level: int
    height: int
    width: int
    dataset: str
    class_names: tuple[str, ...]
    class_colours: tuple[tuple[int, int, int], ...]
    depth_unit: str = METRES
    normal_frame: str = "camera"

    @property
    def look(self) -> Look:
        """What pictures and files of its predictions depend on."""
        return Look(self.class_names, self.class_colours, self.depth_unit, self.normal_frame)

    def as_dict(self) -> dict:
        """As plain data."""
        return asdict(self)

    def build_network(self, pretrained: bool = False) -> Elite360M:
        """A network of these settings; see `Elite360M` for `pretrained`."""
        return Elite360M(self.backbone, len(self.class_names), self.tasks, self.ico_level, pretrained)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        path: the file.
        settings: of the network.
        network: its state dict, under our names.
        weighting: state dict of the loss weighting.
        epoch: how many epochs it was trained; 0 when unknown.
    """

    path: Path
    settings: ModelSettings
    network: dict[str, torch.Tensor]
    weighting: dict[str, torch.Tensor]
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
            raise UserError(f"{self.path} holds {settings.backbone}, not {backbone}: mend --backbone")
        if missing := [task for task in tasks if task not in settings.tasks]:
            raise UserError(f"{self.path} was trained for {', '.join(settings.tasks)}, not for {', '.join(missing)}")
        if "segmentation" in tasks and len(settings.class_names) != num_classes:
            raise UserError(
                f"{self.path} tells {len(settings.class_names)} classes apart ({settings.dataset}), "
                f"but the dataset has {num_classes}"
            )


def save_checkpoint(
    path: Path, settings: ModelSettings, network: torch.nn.Module, weighting: torch.nn.Module, epoch: int, **more
) -> None:
    """Write a checkpoint, whole or not at all. `more` is kept beside the rest (the optimiser's state, say)."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "settings": settings.as_dict(),
        "network": network.state_dict(),
        "weighting": weighting.state_dict(),
        "epoch": epoch,
        **more,
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as file:  # a file of ours: its errors are OSErrors
        torch.save(content, file)


def find_checkpoint(path: str | Path, run: Path | None = None) -> Path:
    """The checkpoint file that a path given by a user means.

    Args:
        path: a file, a run folder, or, with `run`, a folder that holds the run folder `run`.
        run: the relative path of a run folder, ``<task value>/<backbone>``.

    Raises:
        UserError: when there is none.
    """
    path = Path(path)
    candidates = [path, path / LAST_MODEL] + ([path / run / LAST_MODEL] if run else [])
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if not path.exists():
        raise UserError(f"no checkpoint: {path} does not exist")
    raise UserError(f"no checkpoint: there is no {candidates[-1]}; give a checkpoint file or a run folder")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of ours or of the released program.

    Raises:
        UserError: when the file is neither, is damaged, or holds more than plain data.
    """
    content = _load_plain_data(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return _own_checkpoint(path, content)
    if isinstance(content, dict) and is_released_format(content):
        return _released_checkpoint(path, content)
    raise UserError(f"{path} is neither a checkpoint of this program nor weights of the released one")


def load_content(path: Path, format_name: str) -> dict:
    """What a file of ours holds, given the name of its format.

    Raises:
        UserError: when the file is missing or damaged, is of another format, or holds more than plain data.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing")
    content = _load_plain_data(path)
    if not isinstance(content, dict) or content.get("format") != format_name:
        raise UserError(f"{path} is not what it should be ({format_name})")
    return content


def _load_plain_data(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged, no checkpoint, or holds more than plain data: it is not loaded, as it could run code"
        ) from error
    except Exception as error:  # a damaged file makes torch stumble in many ways
        raise UserError(f"{path} cannot be read as a checkpoint: it is damaged or something else") from error


def load_state(module: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a state dict, every key accounted for.

    Raises:
        UserError: when keys are missing, unknown or of another size.
    """
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        details = " ".join(str(error).split())
        raise UserError(f"the weights in {path} do not fit the network: {details}") from error


def _own_checkpoint(path: Path, content: dict) -> Checkpoint:
    if content.get("version") != VERSION:
        raise UserError(f"{path} is of version {content.get('version')}; this program reads version {VERSION}")
    try:
        settings = content["settings"]
        settings |= {
            "tasks": tuple(settings["tasks"]),
            "class_names": tuple(settings["class_names"]),
            "class_colours": tuple(tuple(colour) for colour in settings["class_colours"]),
        }
        return Checkpoint(
            path, ModelSettings(**settings), content["network"], content["weighting"], int(content["epoch"])
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is an incomplete checkpoint: {error} is missing or wrong") from error


def _released_checkpoint(path: Path, state: dict[str, torch.Tensor]) -> Checkpoint:
    """The released program saves the weights alone: its defaults, and nameless classes, are supplied here."""
    backbone, num_classes = released_architecture(state)
    settings = ModelSettings(
        backbone=backbone,
        tasks=tuple(TASKS),
        ico_level=4,
        height=512,
        width=1024,
        dataset="unknown (released weights)",
        class_names=tuple(f"class {i}" for i in range(num_classes)),
        class_colours=distinct_colours(num_classes),
    )
    own_state = settings.build_network().state_dict()
    network, log_variances = convert_released_weights(state, own_state)
    return Checkpoint(path, settings, network, {"log_variances": log_variances})

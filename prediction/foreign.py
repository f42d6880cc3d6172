"""Predictions of another program: a folder of maps, and predictions.json, which declares their meaning.

STEM is the id of a sample without its suffix, or only the last part of that. The maps are the files ``STEM_depth``,
``STEM_normal`` and ``STEM_labels`` with one of SUFFIXES, or the arrays ``depth``, ``normal`` and ``labels`` of
``STEM.npz``. `Declaration` describes predictions.json.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from datasets.class_maps import ClassMap
from datasets.classes import SemanticClasses
from datasets.sample_files import SampleFiles
from utils.array_files import ARRAY_SUFFIXES, read_array
from utils.errors import UserError
from utils.images import ImageFile
from utils.openexr import read_openexr
from utils.tasks import METERS, RELATIVE, TASK_NAMES

DECLARATION = "predictions.json"
SUFFIXES = (*ARRAY_SUFFIXES, ".exr", ".png")
_DATASET = "predictions of another program"
_ENDINGS = {"depth": "depth", "normal": "normal", "segmentation": "labels"}
_UNITS = {"m": 1.0, "mm": 0.001, "relative": 1.0}
_AXES = ("x", "y", "z")
_KEYS = ("size", "unit", "frame", "axes", "classes", "class_map")
_SHORTEST = 0.1  # minimum length of a stored normal
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Declaration:
    """The content of predictions.json. Tasks without an entry are not predicted.

    Attributes:
        size: ``"size": [H, W]`` of every map.
        unit: ``"unit"`` of depth along the ray: "m", "mm", "relative", or meters per value.
        frame: ``"frame"`` of normals toward the camera: "camera" (x right, y down, z forward) or "world".
        axes: ``"axes"`` (optional): the stored components that are x, y and z, such as ["x", "-z", "y"].
        classes: ``"classes"``: the names of labels 0, 1, ...
        class_map: ``"class_map"`` (optional): names of the dataset's classes by names of `classes`.
        sha256: of the file.
    """

    size: tuple[int, int]
    unit: str | float | None
    frame: str | None
    axes: tuple[str, ...]
    classes: tuple[str, ...] | None
    class_map: dict[str, str]
    sha256: str

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that are predicted."""
        given = zip(TASK_NAMES, (self.unit, self.frame, self.classes), strict=True)
        return tuple(task for task, value in given if value is not None)


def read_declaration(folder: str | Path) -> Declaration:
    """Read predictions.json in a folder.

    Raises:
        UserError: when it is missing or damaged, or an entry is not one that `Declaration` lists.
    """
    path = Path(folder) / DECLARATION
    try:
        file = path.read_bytes()
        content = dict(json.loads(file))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: it declares what the predictions mean, see docs/evaluate.md") from error
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a JSON object: {f'{error}'[:100]}") from error
    unit, frame, classes = (content.get(key) for key in ("unit", "frame", "classes"))
    size, axes, class_map = content.get("size"), content.get("axes", list(_AXES)), content.get("class_map", {})
    is_valid = {
        "size": _is_size(size),
        "unit": unit is None or unit in _UNITS if not _is_number(unit) else unit > 0,
        "frame": frame in (None, "camera", "world"),
        "axes": isinstance(axes, list) and sorted(f"{axis}".removeprefix("-") for axis in axes) == [*_AXES],
        "classes": classes is None or _are_names(classes),
        "class_map": isinstance(class_map, dict) and all(isinstance(name, str) for name in class_map.values()),
    }
    invalid = [key for key, valid in is_valid.items() if not valid] + [key for key in content if key not in _KEYS]
    if invalid:
        entry = f"{invalid[0][:40]} {f'{content.get(invalid[0])}'[:60]}"
        raise UserError(f"{path}: {entry} is not a valid entry: see docs/evaluate.md")
    names = tuple(classes) if classes is not None else None
    return Declaration(tuple(size), unit, frame, tuple(axes), names, class_map, hashlib.sha256(file).hexdigest())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(size: object) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)


def _are_names(names: object) -> bool:
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)


@dataclass(frozen=True)
class ForeignSettings:
    """The meaning of the predictions, in the form of a network's settings, with the classes of the dataset."""

    tasks: tuple[str, ...]
    class_names: tuple[str, ...]
    class_colours: tuple[tuple[int, int, int], ...]
    depth_unit: str
    normal_frame: str
    dataset: str = _DATASET


class ForeignPredictions:
    """Reads the predictions of another program.

    Args:
        folder: of the predictions.
        declaration: of that folder.
        tasks: to read.
        classes: of the dataset.
        class_map: from the classes of the dataset to the coarser ones that are evaluated, if any; predictions may have
            either.

    Attributes:
        path, sha256, epoch, settings: as in `networks.saved_network.SavedNetwork`.

    Raises:
        UserError: when a task is not predicted, or a predicted class is none of the dataset's.
    """

    epoch = 0

    def __init__(
        self,
        folder: str | Path,
        declaration: Declaration,
        tasks: tuple[str, ...],
        classes: SemanticClasses,
        class_map: ClassMap | None = None,
    ):
        self.path = Path(folder)
        self.sha256 = declaration.sha256
        self._declaration = declaration
        self._tasks = tasks
        self._files = SampleFiles(self.path)
        if missing := [task for task in tasks if task not in declaration.tasks]:
            predicted = ", ".join(declaration.tasks) or "nothing"
            raise UserError(f"{self.path / DECLARATION} describes {predicted}, not {missing[0]}: choose another --task")
        self._labels = self._map_classes(classes, class_map) if "segmentation" in tasks else None
        unit = RELATIVE if declaration.unit == "relative" else METERS
        self.settings = ForeignSettings(
            declaration.tasks, classes.names, classes.colors, unit, declaration.frame or "camera"
        )

    def predict(self, batch: dict) -> dict[str, torch.Tensor]:
        """The predictions of a batch, on its device and at the declared size H x W: depth (B, 1, H, W), normal
        (B, 3, H, W), labels (B, 1, H, W) int64 for segmentation.

        Raises:
            UserError: when a file is missing, damaged, of another size, has other values than declared, or matches
                several samples.
        """
        device = batch["rgb"].device
        return {
            task: torch.stack([self._read(sample, task) for sample in batch["id"]]).to(device) for task in self._tasks
        }

    def _map_classes(self, classes: SemanticClasses, class_map: ClassMap | None) -> np.ndarray:
        """The evaluated label of each declared class, (K',)."""
        known = {name.casefold(): label for label, name in enumerate(classes.names)}
        if class_map:
            known = {name: class_map.labels[label] for name, label in known.items()}
            classes = class_map.classes
            known |= {name.casefold(): label for label, name in enumerate(classes.names)}
        renamed = [self._declaration.class_map.get(name, name) for name in self._declaration.classes]
        if unknown := [name for name in renamed if name.casefold() not in known]:
            listed = ", ".join(unknown[:_SHOWN])
            raise UserError(
                f"{self.path / DECLARATION}: the dataset has no class {listed[:100]}: name it in class_map as one of "
                f"{', '.join(classes.names)[:200]}"
            )
        return np.array([known[name.casefold()] for name in renamed])

    def _read(self, sample: str, task: str) -> torch.Tensor:
        """The prediction of a sample, (., H, W)."""
        path = self._files.find(sample, (*(f"_{_ENDINGS[task]}{suffix}" for suffix in SUFFIXES), ".npz"))
        if path is None:
            stem, ending = Path(sample).with_suffix(""), _ENDINGS[task]
            raise UserError(
                f"{self.path} has no {task} of {sample}: expected {stem}_{ending} or {stem.name}_{ending} with "
                f"{', '.join(SUFFIXES)}, or {stem.name}.npz"
            )
        stored = read_map(path, _ENDINGS[task])
        if stored.shape[:2] != self._declaration.size:
            height, width = self._declaration.size
            raise UserError(f"{path} is of shape {stored.shape}, but {DECLARATION} declares size [{height}, {width}]")
        decode = {"depth": self._decode_depth, "normal": self._decode_normal, "segmentation": self._decode_labels}
        return decode[task](stored, path)

    def _decode_depth(self, stored: np.ndarray, path: Path) -> torch.Tensor:
        if stored.ndim != 2:
            raise UserError(f"{path} is of shape {stored.shape}: depth is (H, W)")
        unit = self._declaration.unit
        depth = torch.from_numpy(stored.astype(np.float32)) * _UNITS.get(unit, unit)
        if not depth.isfinite().all():
            raise UserError(f"{path} has depths that are not finite: predict every pixel")
        return depth[None]

    def _decode_normal(self, stored: np.ndarray, path: Path) -> torch.Tensor:
        if stored.shape[2:] != (3,):
            raise UserError(f"{path} is of shape {stored.shape}: normals are (H, W, 3)")
        if stored.dtype.kind == "u":
            if not stored.any(axis=-1).all():
                raise UserError(f"{path} has black pixels, which are missing normals: predict every pixel")
            stored = stored.astype(np.float32) * (2 / np.iinfo(stored.dtype).max) - 1
        values = torch.from_numpy(stored.astype(np.float32)).movedim(-1, 0)
        components = [
            values[_AXES.index(axis[-1])] * (-1 if axis.startswith("-") else 1) for axis in self._declaration.axes
        ]
        normal = torch.stack(components)
        if not (normal.norm(dim=0) > _SHORTEST).all():  # also rejects NaN
            raise UserError(f"{path} has normals that are not finite or of length 0: predict every pixel")
        return F.normalize(normal, dim=0)

    def _decode_labels(self, stored: np.ndarray, path: Path) -> torch.Tensor:
        if stored.ndim != 2 or stored.dtype.kind not in "iu":
            raise UserError(f"{path} is {stored.dtype} of shape {stored.shape}: labels are integers, (H, W)")
        if stored.min() < 0 or stored.max() >= len(self._labels):
            wrong = stored.max() if stored.min() >= 0 else stored.min()
            raise UserError(f"{path} has label {wrong}, but {DECLARATION} names {len(self._labels)} classes")
        return torch.from_numpy(self._labels[stored])[None]


def read_map(path: Path, name: str) -> np.ndarray:
    """Read a map: the array of a .npy file, the array of this name in a .npz file (in STEM_NAME.npz: the only one), or
    the pixels of a .png or .exr file.

    Raises:
        UserError: when the file is damaged or has no such array.
    """
    if path.suffix == ".exr":
        return _join_channels(read_openexr(path), path, name)
    if path.suffix == ".png":
        file = ImageFile(path)
        return file.three_channels() if name == "normal" else file.single_channel(name)
    return read_array(path, None if path.stem.endswith(f"_{name}") else name)


def _join_channels(channels: dict[str, np.ndarray], path: Path, name: str) -> np.ndarray:
    """Normals (H, W, 3) from channels R, G, B or X, Y, Z; other maps (H, W) from one channel, or several equal ones."""
    if name == "normal":
        for names in ("RGB", "XYZ"):
            if {*names} <= channels.keys():
                return np.stack([channels[channel] for channel in names], axis=-1)
        raise UserError(f"{path} has the channels {', '.join(channels)[:100]}: normals are R, G, B or X, Y, Z")
    first, *others = [values for channel, values in channels.items() if channel != "A"] or channels.values()
    if any(not np.array_equal(first, other, equal_nan=True) for other in others):
        raise UserError(f"{path} has different values in its channels {', '.join(channels)[:100]}: expected one map")
    return first

"""dataset.json: the meaning of the files of `datasets.folder`, see docs/data.md."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.classes import SemanticClasses
from utils.colors import distinct_colors
from utils.errors import UserError
from utils.tasks import MAP_OF_TASK

FILE_NAME = "dataset.json"
REST = "rest"  # as a split: all panoramas that are in no other split
_RELATIVE = "relative"
_SPLITS = ("train", "val", "test")
_MAX_CLASSES = 127  # labels are int8
_MAX_SHOWN = 60  # characters of a key or value in a message
_AXES = {"right": (0, 1), "left": (0, -1), "down": (1, 1), "up": (1, -1), "forward": (2, 1), "backward": (2, -1)}


@dataclass(frozen=True)
class FolderDescription:
    """The content of a dataset.json.

    Attributes:
        path: the file.
        patterns: paths of ``rgb`` and the available maps (``depth``, ``semantic``, ``normal``), all with equally many
            ``*``.
        depth_scale: meters per stored unit; None: depth is relative.
        missing_depth: stored value of missing depth in addition to 0 and non-finite values; None: no such value.
        normal_range: stored values of the components -1 and 1.
        normal_decoding: see `datasets.panorama.Panorama`.
        normal_frame: "camera" or "world".
        classes: semantic classes.
        class_ids: stored id of each label.
        ignored_ids: stored ids of pixels without a class.
        splits: value of each split: REST, a text file, or a list of names and patterns of names.
        digest: hash of the meaning of the files: everything but the patterns and the splits.
    """

    path: Path
    patterns: dict[str, str]
    depth_scale: float | None
    missing_depth: float | None
    normal_range: tuple[float, float]
    normal_decoding: np.ndarray
    normal_frame: str
    classes: SemanticClasses
    class_ids: tuple[int, ...]
    ignored_ids: tuple[int, ...]
    splits: dict[str, str | list[str]]
    digest: str


@dataclass(frozen=True)
class _Key:
    """A key of a JSON object: the expected value in words, a check of values, and the default if it is optional."""

    expected: str
    is_valid: Callable[[Any], bool]
    is_required: bool = True
    default: Any = None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= 255 for item in value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and item for item in value)


def _is_pattern(value: object) -> bool:
    if not isinstance(value, str) or "*" not in value or "**" in value or "\\" in value or value.startswith("/"):
        return False
    return ".." not in value.split("/")


def _is_range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]


def _are_axes(value: object) -> bool:
    names = value if isinstance(value, list) and all(isinstance(name, str) for name in value) else []
    return len(names) == 3 and {_AXES[name][0] for name in names if name in _AXES} == {0, 1, 2}


_PATTERN = "a path relative to the folder with * for the name of the panorama, such as depth/*.png"
_SPLIT = f'"{REST}", a text file with one name per line, or a list of names, in which * matches any characters'
_CLASSES = f"a list of at most {_MAX_CLASSES} objects with id, name and optionally color"
_SECTIONS = {
    "files": _Key("an object with the patterns of rgb and of the maps", lambda value: isinstance(value, dict)),
    "depth": _Key("an object with unit", lambda value: isinstance(value, dict), is_required=False),
    "normal": _Key("an object with frame and range", lambda value: isinstance(value, dict), is_required=False),
    "classes": _Key(
        _CLASSES, lambda value: isinstance(value, list) and 0 < len(value) <= _MAX_CLASSES, is_required=False
    ),
    "ignored_ids": _Key("a list of ids from 0 to 255", _are_ids, is_required=False, default=()),
    "splits": _Key("an object with train, val, test", lambda value: isinstance(value, dict), False, {}),
}
_FILES = {
    "rgb": _Key(_PATTERN, _is_pattern),
    **{kind: _Key(_PATTERN, _is_pattern, is_required=False) for kind in MAP_OF_TASK.values()},
}
_DEPTH = {
    "unit": _Key(
        f'the meters per stored unit, such as 0.001, or "{_RELATIVE}"',
        lambda value: value == _RELATIVE or (_is_number(value) and value > 0),
    ),
    "missing": _Key("the stored value of missing depth", _is_number, is_required=False),
}
_NORMAL = {
    "frame": _Key('"camera" or "world"', lambda value: value in ("camera", "world")),
    "range": _Key("the stored values of the components -1 and 1, such as [0, 255] or [-1, 1]", _is_range),
    "axes": _Key(
        f"the directions of the three components, among {', '.join(_AXES)}",
        _are_axes,
        is_required=False,
        default=("right", "down", "forward"),
    ),
}
_CLASS_KEYS = {
    "id": _Key("the stored id, from 0 to 255", lambda value: _are_ids([value])),
    "name": _Key("a name", lambda value: isinstance(value, str) and value != ""),
    "color": _Key("three numbers from 0 to 255", lambda value: _are_ids(value) and len(value) == 3, is_required=False),
}
_SPLIT_KEYS = {
    part: _Key(_SPLIT, lambda value: (isinstance(value, str) and value != "") or _are_texts(value), is_required=False)
    for part in _SPLITS
}
_SECTION_OF_MAP = {"depth": "depth", "normal": "normal", "semantic": "classes"}


def read_description(root: Path) -> FolderDescription:
    """Read the dataset.json of a folder.

    Raises:
        UserError: when the file is missing, or a key is missing, unknown or invalid.
    """
    path = root / FILE_NAME
    sections = _validated(_read_json(path), _SECTIONS, f"{path}: ")
    patterns = _read_patterns(sections, path)
    depth = _validated(sections["depth"], _DEPTH, f"{path}: depth.") if "depth" in patterns else {"unit": 1.0}
    normal = {"frame": "camera", "range": [0, 255], "axes": _NORMAL["axes"].default}
    if "normal" in patterns:
        normal = _validated(sections["normal"], _NORMAL, f"{path}: normal.")
    classes, class_ids = _read_classes(sections, path) if "semantic" in patterns else (SemanticClasses((), ()), ())
    splits = _validated(sections["splits"], _SPLIT_KEYS, f"{path}: splits.")
    splits = {part: value for part, value in splits.items() if value is not None}
    if list(splits.values()).count(REST) > 1:
        raise UserError(f'{path}: splits: only one split can be "{REST}"')
    meaning = [depth, normal, classes.names, class_ids, list(sections["ignored_ids"])]
    return FolderDescription(
        path=path,
        patterns=patterns,
        depth_scale=None if depth["unit"] == _RELATIVE else float(depth["unit"]),
        missing_depth=depth.get("missing"),
        normal_range=tuple(normal["range"]),
        normal_decoding=_normal_decoding(*normal["range"], normal["axes"]),
        normal_frame=normal["frame"],
        classes=classes,
        class_ids=class_ids,
        ignored_ids=tuple(sections["ignored_ids"]),
        splits=splits,
        digest=hashlib.sha256(json.dumps(meaning).encode()).hexdigest(),
    )


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: --dataset Folder needs it, see docs/data.md#a-dataset-of-your-own"
        ) from error
    except (OSError, ValueError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected an object with the keys {', '.join(_SECTIONS)}")
    return content


def _validated(content: dict, keys: dict[str, _Key], prefix: str) -> dict:
    """The values of all keys of a JSON object, including defaults.

    Args:
        content: the JSON object.
        keys: the known keys.
        prefix: file and object, before the key in messages.

    Raises:
        UserError: when a key is missing, unknown, or has an unexpected value.
    """
    for name in content:
        if name not in keys:
            raise UserError(f"{prefix}{name[:_MAX_SHOWN]} is unknown: choose from {', '.join(keys)}")
    for name, key in keys.items():
        if name in content and not key.is_valid(content[name]):
            value = json.dumps(content[name])[:_MAX_SHOWN]
            raise UserError(f"{prefix}{name} is {value}: expected {key.expected}")
        if name not in content and key.is_required:
            raise UserError(f"{prefix}{name} is missing: expected {key.expected}")
    return {name: content.get(name, key.default) for name, key in keys.items()}


def _read_patterns(sections: dict, path: Path) -> dict[str, str]:
    """The patterns of RGB and of the maps, after checking that exactly these maps have sections."""
    files = _validated(sections["files"], _FILES, f"{path}: files.")
    patterns = {kind: pattern for kind, pattern in files.items() if pattern is not None}
    for kind, section in _SECTION_OF_MAP.items():
        if kind in patterns and sections[section] is None:
            raise UserError(f"{path}: files.{kind} requires {section}: {_SECTIONS[section].expected}")
        if kind not in patterns and sections[section] is not None:
            raise UserError(f"{path}: {section} requires files.{kind}: {_PATTERN}")
    if len(patterns) == 1:
        raise UserError(f"{path}: files needs at least one of {', '.join(_SECTION_OF_MAP)}")
    for kind, pattern in patterns.items():
        if pattern.count("*") != patterns["rgb"].count("*"):
            raise UserError(f"{path}: files.{kind} must have as many * as files.rgb, for the parts of the same names")
    return patterns


def _read_classes(sections: dict, path: Path) -> tuple[SemanticClasses, tuple[int, ...]]:
    """The classes, in the order of the file, and their stored ids."""
    defaults = distinct_colors(len(sections["classes"]))
    entries = []
    for number, entry in enumerate(sections["classes"]):
        if not isinstance(entry, dict):
            raise UserError(f"{path}: classes: expected {_CLASSES}")
        entries.append(_validated(entry, _CLASS_KEYS, f"{path}: classes[{number}]."))
    for key in ("id", "name"):
        values = [entry[key] for entry in entries]
        repeated = [value for value in values if values.count(value) > 1]
        if repeated:
            raise UserError(f"{path}: classes: several have the {key} {json.dumps(repeated[0])}")
    ids = tuple(entry["id"] for entry in entries)
    if both := set(ids) & set(sections["ignored_ids"]):
        raise UserError(f"{path}: ignored_ids has {min(both)}, which is also the id of a class")
    colors = tuple(tuple(entry["color"] or color) for entry, color in zip(entries, defaults, strict=True))
    return SemanticClasses(tuple(entry["name"] for entry in entries), colors), ids


def _normal_decoding(low: float, high: float, axes: list[str]) -> np.ndarray:
    """(3, 4), from stored (a, b, c, 1) to (x, y, z): right, down, forward."""
    matrix = np.zeros((3, 4))
    for component, name in enumerate(axes):
        axis, sign = _AXES[name]
        matrix[axis, component] = sign * 2 / (high - low)
        matrix[axis, 3] = sign * -(high + low) / (high - low)
    return matrix

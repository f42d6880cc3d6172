"""Your own dataset, described by the dataset.json in its folder: --dataset Folder.

* **Tree**, encodings, frames, classes and splits: see `datasets.folder_description` and docs/data.md.
* **Depth** and **normals**: lossless images, ``.npy``, ``.npz``, ``.hdr`` or OpenEXR, see `datasets.map_files`.
* **Split**: "train" never includes "val".
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np

from datasets.folder_description import FILE_NAME, REST, FolderDescription, read_description
from datasets.map_files import holds_floats, read_depth, read_normals
from datasets.on_disk import DiskPanoramaDataset, PanoramaFiles, label_table, list_lines, relative_depth_scale
from datasets.panorama import Panorama
from utils.errors import UserError
from utils.tasks import MAP_OF_TASK, METERS, RELATIVE, TASK_NAMES, join_tasks

_MAX_8BIT_RANGE = 256  # largest upper end of the range of 8-bit normals: 255, or 256 for v / 128 - 1
_TOLERANCE = 0.01  # fraction of the range by which stored normals may exceed it


class Folder(DiskPanoramaDataset):
    """See the top of this file, and `DiskPanoramaDataset` for the arguments. dataset.json sets the normal frame.

    Raises:
        UserError: when dataset.json is missing or invalid, or has no ground truth for one of the tasks.
    """

    name = "Folder"
    counts = None
    val_within_train = False
    labels_remedy = "save them as 8-bit gray or palette images"
    unknown_id_remedy = f": add it to classes or ignored_ids in {FILE_NAME}"

    def __init__(
        self,
        root: str | Path,
        split: str,
        height: int,
        width: int,
        augment: Callable[[Panorama], Panorama] | None = None,
        hold_out_val: bool = False,
        list_file: str | Path | None = None,
        tasks: tuple[str, ...] = TASK_NAMES,
    ):
        if not Path(root).is_dir():
            raise UserError(f"--dataset_rootdir {root} is not a folder")
        self.description = description = read_description(Path(root))
        available = described_tasks(description)
        if missing := [task for task in tasks if task not in available]:
            raise UserError(
                f"{description.path} describes no ground truth for {missing[0]}: pass --task {join_tasks(available)}, "
                f"or add files.{MAP_OF_TASK[missing[0]]}"
            )
        self.example = description.patterns["rgb"]
        self.classes = description.classes
        self.labels = label_table(
            {id_: label for label, id_ in enumerate(description.class_ids)}, description.ignored_ids
        )
        self.normal_decoding = description.normal_decoding
        self.depth_unit = RELATIVE if description.depth_scale is None else METERS
        frame = description.normal_frame
        super().__init__(root, split, height, width, augment, hold_out_val, list_file, frame, tasks)

    def find(self, part: str) -> Iterable[PanoramaFiles]:
        if part not in self.description.splits:
            raise UserError(f"{self.description.path}: splits.{part} is missing: add it, or choose another split")
        names = self._names_of(part)
        for other in self.description.splits.keys() - {part}:
            if self.description.splits[part] == REST:
                names -= self._names_of(other)
            elif self.description.splits[other] != REST and (both := names & self._names_of(other)):
                raise UserError(f"{self.description.path}: splits.{other} and splits.{part} both have {min(both)}")
        absent = dict.fromkeys(field.name for field in fields(PanoramaFiles))
        for name in names:
            paths = {kind: _fill(pattern, name) for kind, pattern in self.description.patterns.items()}
            yield PanoramaFiles(**absent | paths)

    def from_list(self, files: PanoramaFiles) -> PanoramaFiles:
        """Depth and normals must have the suffixes given in dataset.json, so that panoramas can be stacked."""
        for kind in ("depth", "normal"):
            path, pattern = getattr(files, kind), self.description.patterns.get(kind)
            if path and pattern and Path(path).suffix.lower() != Path(pattern).suffix.lower():
                raise UserError(
                    f"{self.list_file}: {path} needs the suffix of files.{kind} ({pattern}) in {self.description.path}"
                )
        return files

    def decode_depth(self, depth: np.ndarray) -> tuple[np.ndarray, float]:
        if self._holds_floats("depth"):
            depth = np.nan_to_num(depth.astype(np.float32, copy=False), nan=0, posinf=0, neginf=0)
        if self.description.missing_depth is not None:
            depth[depth == np.float32(self.description.missing_depth)] = 0
        scale = self.description.depth_scale
        return depth, relative_depth_scale(depth) if scale is None else scale

    def read(self, index: int) -> Panorama:
        panorama = super().read(index)
        if self.files[index].normal is None and self._holds_floats("normal"):  # the dtype of the other panoramas
            panorama.normal = np.full(panorama.normal.shape, np.nan, np.float32)
        return panorama

    def fingerprint(self) -> str:
        """Also covers the meaning of the files as described in dataset.json."""
        both = f"{super().fingerprint()} {self.description.digest}"
        return f"{len(self)} {self.noun} (sha256 {hashlib.sha256(both.encode()).hexdigest()[:16]})"

    def _read_depth(self, path: Path) -> np.ndarray:
        """(H, W) uint16 or float32, as stored."""
        return read_depth(path)

    def _read_normals(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 or float32, as stored."""
        low, high = self.description.normal_range
        normals = read_normals(path, bits=8 if high <= _MAX_8BIT_RANGE else 16)
        margin = _TOLERANCE * (high - low)
        known = normals if normals.dtype == np.uint8 or np.isfinite(normals.sum()) else normals[np.isfinite(normals)]
        if known.size and (known.min() < low - margin or known.max() > high + margin):
            raise UserError(
                f"{path} holds numbers from {known.min():g} to {known.max():g}, but normal.range in "
                f"{self.description.path} is [{low:g}, {high:g}]"
            )
        return normals

    def _holds_floats(self, kind: str) -> bool:
        """Whether maps of a kind are decoded from floats: stored as floats, or normals stored as 16-bit color."""
        is_16bit = kind == "normal" and self.description.normal_range[1] > _MAX_8BIT_RANGE
        return is_16bit or holds_floats(self.description.patterns.get(kind, ""))

    def _names_of(self, split: str) -> set[str]:
        """Names of the panoramas of a split; all panoramas for REST."""
        value = self.description.splits[split]
        if value == REST:
            return self._all_names()
        entries = list_lines(self.root / value) if isinstance(value, str) else value
        names = {entry for entry in entries if "*" not in entry}
        num_parts = self.example.count("*")
        if wrong := next((name for name in names if name.count("/") + 1 != num_parts), None):
            raise UserError(
                f"{self.description.path}: splits.{split} has the name {wrong}, but names have {num_parts} part(s) "
                f"separated by /, one for each * of files.rgb"
            )
        patterns = [_as_regex(entry, ".*") for entry in entries if "*" in entry]
        if patterns:
            names |= {name for name in self._all_names() if any(pattern.fullmatch(name) for pattern in patterns)}
        return names

    def _all_names(self) -> set[str]:
        """Names of the panoramas with at least one needed file: the matches of the ``*``, joined by /."""
        names = set()
        for kind in self.needed:
            pattern = self.description.patterns[kind]
            regex = _as_regex(pattern, "([^/]+)")
            for path in self.root.glob(re.sub(r"([?[])", r"[\1]", pattern)):
                relative = path.relative_to(self.root).as_posix()
                match = regex.fullmatch(relative)
                if match and "/." not in f"/{relative}":  # not hidden files, which macOS creates
                    names.add("/".join(match.groups()))
        return names


def described_tasks(description: FolderDescription) -> tuple[str, ...]:
    """The tasks for which a folder has ground truth."""
    return tuple(task for task in TASK_NAMES if MAP_OF_TASK[task] in description.patterns)


def _fill(pattern: str, name: str) -> str:
    """The path of the panorama with this name."""
    for part in name.split("/"):
        pattern = pattern.replace("*", part, 1)
    return pattern


def _as_regex(pattern: str, star: str) -> re.Pattern:
    return re.compile(star.join(map(re.escape, pattern.split("*"))))

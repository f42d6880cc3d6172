"""What the datasets on disk have in common: finding panoramas, own lists, decoding images, reporting errors.

A subclass defines where its files lie, how they are encoded and how it is split: `datasets.matterport3d`,
`datasets.stanford2d3d`, `datasets.structured3d`.
"""

import codecs
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasets.panorama import Panorama, PanoramaDataset
from utils.errors import UserError
from utils.images import ImageFile
from utils.tasks import IGNORE_LABEL, TASK_NAMES

NORMAL_MAP_8BIT = np.hstack([np.eye(3) * 2 / 255, -np.ones((3, 1))])  # n = 2 v / 255 - 1
_UNKNOWN = -2  # in a label table: an id that must not occur
_MAP_OF_TASK = {"depth": "depth", "segmentation": "semantic", "normal": "normal"}  # in the order of a list's columns
_ABSENT = "-"  # in a list, instead of a path


@dataclass(frozen=True)
class PanoramaFiles:
    """Where a panorama and its ground truth lie: paths relative to the root of the dataset, with forward slashes.

    A map that is None is not there, or not needed.
    """

    rgb: str
    depth: str | None
    semantic: str | None
    normal: str | None

    def paths(self) -> list[str]:
        """The paths that are not None."""
        return [path for path in (self.rgb, self.depth, self.semantic, self.normal) if path is not None]


class DiskPanoramaDataset(PanoramaDataset):
    """A dataset on disk, of which only the files are read that the tasks need.

    RGB is any image; depth 16-bit gray; labels ids of up to 8 bits, gray or the indices into a palette; normals 8-bit
    RGB. Maps are in a lossless format, of the size of the RGB image. A map without any valid pixel is an empty mask, as
    is one that a list does not name.

    Args:
        root: folder of the dataset.
        split: "train", "val" (a part of the data to choose models by) or "test".
        height, width: H x W of the samples, W = 2H.
        augment: see `PanoramaDataset`.
        hold_out_val: whether the panoramas of "val" are kept out of "train".
        list_file: a text file that names the panoramas instead of the dataset's own rule, see `read_list`.
        normal_frame: frame of the stored normals, "camera" or "world" (see `Panorama`).
        tasks: see `PanoramaDataset`.

    Attributes:
        files: of each panorama, RGB and the maps that the tasks need.
        expected_count: panoramas of the complete dataset, None with a list.

    Raises:
        UserError: when the folder or the list is missing, or there is no panorama.
    """

    # What a subclass defines.
    name: str  # in --dataset
    counts: dict[str, int]  # panoramas in the complete dataset: "train" without "val", "val", "test"
    val_within_train: bool  # whether "train" holds the panoramas of "val" unless they are held out
    example: str  # an RGB image that one would expect, relative to the root
    labels: np.ndarray  # (256,) int8: the label of each stored id
    labels_remedy: str  # what to do about label maps that hold no ids
    normal_map: np.ndarray = NORMAL_MAP_8BIT  # see `Panorama`

    def __init__(
        self,
        root: str | Path,
        split: str,
        height: int,
        width: int,
        augment: Callable[[Panorama], Panorama] | None = None,
        hold_out_val: bool = False,
        list_file: str | Path | None = None,
        normal_frame: str = "camera",
        tasks: tuple[str, ...] = TASK_NAMES,
    ):
        super().__init__(height, width, augment, tasks)
        self.root = Path(root)
        self.split = split
        self.normal_frame = normal_frame
        if not self.root.is_dir():
            raise UserError(f"--dataset_rootdir {root} is not a folder")
        if list_file:
            self.files = [self.from_list(files) for files in read_list(Path(list_file), self.needed)]
            self.expected_count = None  # whoever wrote the list knows
        else:
            parts = ["train", "val"] if split == "train" and self.val_within_train and not hold_out_val else [split]
            self.files = sorted((files for part in parts for files in self.find(part)), key=lambda files: files.rgb)
            self.expected_count = sum(self.counts[part] for part in parts)
            if not self.files:
                raise UserError(
                    f"{root} holds no panorama of {self.name}'s split {split}: expected files such as {self.example}"
                )
        unneeded = dict.fromkeys(set(_MAP_OF_TASK.values()) - set(self.needed))
        self.files = [replace(files, **unneeded) for files in self.files]

    @property
    def needed(self) -> list[str]:
        """Fields of `PanoramaFiles` that the tasks need, in the order of a list's columns."""
        return ["rgb", *(name for task, name in _MAP_OF_TASK.items() if task in self.tasks)]

    @abstractmethod
    def find(self, part: str) -> Iterable[PanoramaFiles]:
        """All panoramas of "train" (without "val"), "val" or "test" in the tree, in any order."""

    @abstractmethod
    def depth_scale(self, depth: np.ndarray) -> float:
        """Meters per unit of a stored depth map; marks of missing depth are set to 0 in place."""

    def from_list(self, files: PanoramaFiles) -> PanoramaFiles:
        """The files that a line of a list means."""
        return files

    def names(self, pattern: PanoramaFiles) -> set[str]:
        """All that the ``*`` in these paths stands for, in any of the files that the tasks need.

        So a panorama of which one file is there is found, and its other files are reported as missing.
        """
        found = set()
        for kind in self.needed:
            before, _, after = getattr(pattern, kind).partition("*")
            start = len(before.rpartition("/")[2])
            paths = self.root.glob(f"{before}[!.]*{after}")  # not those of macOS, which begin with a dot
            found.update(path.name[start : -len(after)] for path in paths)
        return found

    def missing_files(self) -> list[str]:
        """Paths, relative to the root, of all files that should be read and are not there."""
        root = os.fspath(self.root)
        paths = (path for files in self.files for path in files.paths())
        return [path for path in paths if not os.path.isfile(os.path.join(root, path))]

    def __len__(self) -> int:
        return len(self.files)

    def sample_names(self) -> list[str]:
        return [repr(files) for files in self.files]

    def read(self, index: int) -> Panorama:
        """A panorama as it is stored.

        Raises:
            UserError: when one of its files is missing, damaged or not what it should be.
        """
        files = self.files[index]
        rgb = ImageFile(self.root / files.rgb).rgb()
        shape = rgb.shape[:2]
        if shape[1] != 2 * shape[0]:
            raise UserError(f"{self.root / files.rgb} is {_size(shape)}: an ERP image is twice as wide as high")
        maps = {
            "depth": np.zeros(shape, np.uint16),
            "semantic": np.full(shape, IGNORE_LABEL, np.int8),
            "normal": np.zeros((*shape, 3), np.uint8),  # black is missing in all datasets
        }
        readers = {"depth": self._read_depth, "semantic": self._read_labels, "normal": self._read_normals}
        for kind, read_map in readers.items():
            path = getattr(files, kind)
            if path is None:
                continue
            maps[kind] = read_map(self.root / path)
            if maps[kind].shape[:2] != shape:
                raise UserError(
                    f"{self.root / path} is {_size(maps[kind].shape)}, but {self.root / files.rgb} is {_size(shape)}"
                )
        return Panorama(
            rgb,
            **maps,
            id=files.rgb,
            depth_scale=self.depth_scale(maps["depth"]),
            normal_map=self.normal_map,
            normal_frame=self.normal_frame,
        )

    def _read_depth(self, path: Path) -> np.ndarray:
        """(H, W) uint16, as stored."""
        return ImageFile(path).single_channel("depth", bits=16)

    def _read_labels(self, path: Path) -> np.ndarray:
        """(H, W) int8, -1 = ignore."""
        ids = ImageFile(path).single_channel(f"label ids: {self.labels_remedy}")
        semantic = self.labels.take(ids.astype(np.uint8, copy=False))
        semantic[ids >= len(self.labels)] = _UNKNOWN
        if semantic.min() == _UNKNOWN:
            wrong = int(ids[semantic == _UNKNOWN][0])
            raise UserError(f"{path} holds the label id {wrong}, which {self.name} does not have")
        return semantic

    def _read_normals(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8, as stored."""
        return ImageFile(path).three_channels()


def label_table(label_of_id: dict[int, int], ignored: Iterable[int]) -> np.ndarray:
    """Label of each 8-bit id, (256,) int8: as given, -1 for those to ignore; all others must not occur."""
    table = np.full(256, _UNKNOWN, np.int8)
    table[list(ignored)] = IGNORE_LABEL
    table[list(label_of_id)] = list(label_of_id.values())
    return table


def read_list(path: Path, needed: list[str]) -> list[PanoramaFiles]:
    """The panoramas that a list names: a line of UTF-8 text for each, with the paths of its files.

    * The columns are ``rgb depth semantic normal``, or RGB and the maps that are needed, in this order. A ``-`` instead
      of a path means that the panorama has no such map.
    * Columns are separated by tabs if the line holds any, so that its names may hold blanks, and by blanks otherwise.
    * Paths are relative to the root of the dataset, with forward slashes; absolute ones and ``..`` work as well.
    * Empty lines and lines that begin with ``#`` are skipped, as are byte order marks.

    Args:
        path: of the list.
        needed: fields of `PanoramaFiles`, in the order of the columns; the first is "rgb".

    Raises:
        UserError: when the list is missing, empty or no such text, or a line has other columns.
    """
    entries = []
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            try:
                entries.append(_parse_line(line, needed))
            except UserError as error:
                raise UserError(f"{path}, line {number}: {error}") from None
    if not entries:
        raise UserError(f"the list {path} names no panorama")
    return entries


def _read_text(path: Path) -> str:
    """A text file, without byte order marks (of which lists that were joined have several)."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise UserError(f"the list {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        found = ", but in UTF-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
        raise UserError(f"the list {path} is not UTF-8 text{found}: save it as UTF-8")
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def _parse_line(line: str, needed: list[str]) -> PanoramaFiles:
    """The files that a line of a list names, see `read_list`."""
    columns = [column.strip() for column in line.split("\t")] if "\t" in line else line.split()
    expected = {len(order): order for order in (needed, ["rgb", *_MAP_OF_TASK.values()])}
    for mark in (",", ";", '"', "'"):
        if mark in line and (len(columns) not in expected or any(path.strip(mark) != path for path in columns)):
            raise UserError(f"columns are separated by tabs or blanks, without quotes, but the line holds {mark}")
    if len(columns) not in expected:
        words = {2: "two", 3: "three", 4: "four"}
        orders = " or ".join(f"{words[number]} paths ({' '.join(order)})" for number, order in expected.items())
        raise UserError(f"expected {orders}, got {len(columns)}; names with blanks need tabs between them")
    if "" in columns:
        raise UserError(f"nothing stands between two tabs: write {_ABSENT} for a path that is not there")
    if "\\" in line:
        raise UserError("paths have forward slashes, but the line holds a backslash")
    if columns[0] == _ABSENT:
        raise UserError("the first path is that of the RGB image and is required")
    paths = (None if path == _ABSENT else path for path in columns)
    return PanoramaFiles(**dict.fromkeys(_MAP_OF_TASK.values()) | dict(zip(expected[len(columns)], paths, strict=True)))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"

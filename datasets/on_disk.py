"""Base class of the datasets on disk: finding panoramas, reading lists, decoding images, reporting errors.

A subclass defines the paths of its files, their encoding and its splits: `datasets.matterport3d`,
`datasets.stanford2d3d`, `datasets.structured3d`, `datasets.folder`.
"""

import codecs
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from datasets.classes import SemanticClasses
from datasets.panorama import Panorama, PanoramaDataset
from utils.errors import UserError
from utils.images import ImageFile
from utils.tasks import IGNORE_LABEL, MAP_OF_TASK, MAX_DEPTH, TASK_NAMES

NORMAL_DECODING_8BIT = np.hstack([np.eye(3) * 2 / 255, -np.ones((3, 1))])  # n = 2 v / 255 - 1
_UNKNOWN = -2  # in a label table: an invalid id
_ABSENT = "-"  # in a list, in place of a path


@dataclass(frozen=True)
class PanoramaFiles:
    """The files of a panorama: paths relative to the root of the dataset, with forward slashes.

    A map is None if it is missing or not needed.
    """

    rgb: str
    depth: str | None
    semantic: str | None
    normal: str | None

    def paths(self) -> list[str]:
        """The paths that are not None."""
        return [path for field in fields(self) if (path := getattr(self, field.name)) is not None]


class DiskPanoramaDataset(PanoramaDataset):
    """A dataset on disk. Only the files that the tasks need are read.

    RGB is any image; depth is 16-bit gray; labels are 8-bit ids, as gray or palette indices; normals are 8-bit RGB
    (`datasets.folder` reads more formats). Maps are lossless and have the size of the RGB image. A map that a list
    omits has no valid pixel.

    Args:
        root: folder of the dataset.
        split: "train", "val" (for model selection) or "test".
        height, width: H x W of the samples, W = 2H.
        augment: see `PanoramaDataset`.
        hold_out_val: whether "train" excludes the panoramas of "val".
        list_file: text file that lists the panoramas, in place of the split's, see `read_list`.
        normal_frame: frame of the stored normals, "camera" or "world" (see `Panorama`).
        tasks: see `PanoramaDataset`.

    Attributes:
        files: RGB and the maps that the tasks need, of each panorama.
        parts: the split, or "train" and "val" if the former includes the latter.
        expected_count: number of panoramas in the complete dataset; None if unknown, as with a list.

    Raises:
        UserError: when the folder or the list is missing, or there is no panorama.
    """

    # Defined by subclasses.
    name: str  # as in --dataset
    counts: dict[str, int] | None  # in the complete dataset: "train" without "val", "val", "test"; None: unknown
    val_within_train: bool  # whether "train" includes "val" unless it is held out
    example: str  # path of an RGB image, relative to the root
    classes: SemanticClasses
    labels: np.ndarray  # (256,) int8: the label of each stored id
    labels_remedy: str  # advice for label maps without ids
    unknown_id_remedy: str = ""  # advice for invalid ids
    normal_decoding: np.ndarray = NORMAL_DECODING_8BIT  # see `Panorama`

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
        self.parts: tuple[str, ...] = (split,)
        self.normal_frame = normal_frame
        self.list_file = list_file
        if not self.root.is_dir():
            raise UserError(f"--dataset_rootdir {root} is not a folder")
        if list_file:
            self.files = [self.from_list(files) for files in read_list(Path(list_file), self.needed)]
            self.expected_count = None  # unknown
        else:
            if split == "train" and self.val_within_train and not hold_out_val:
                self.parts = ("train", "val")
            found = (files for part in self.parts for files in self.find(part))
            self.files = sorted(found, key=lambda files: files.rgb)
            self.expected_count = sum(self.counts[part] for part in self.parts) if self.counts else None
            if not self.files:
                raise UserError(
                    f"{root} holds no panorama of {self.name}'s split {split}: expected files such as {self.example}"
                )
        unneeded = dict.fromkeys(set(MAP_OF_TASK.values()) - set(self.needed))
        self.files = [replace(files, **unneeded) for files in self.files]

    @property
    def needed(self) -> list[str]:
        """Fields of `PanoramaFiles` that the tasks need, in the order of a list's columns."""
        return ["rgb", *(name for task, name in MAP_OF_TASK.items() if task in self.tasks)]

    @abstractmethod
    def find(self, part: str) -> Iterable[PanoramaFiles]:
        """All panoramas of "train" (without "val"), "val" or "test" in the tree, in any order."""

    @abstractmethod
    def decode_depth(self, depth: np.ndarray) -> tuple[np.ndarray, float]:
        """The stored depth (H, W) uint16 with missing depth set to 0, and its unit in meters."""

    def from_list(self, files: PanoramaFiles) -> PanoramaFiles:
        """The files of a panorama, given its line in a list. Subclasses may adapt them."""
        return files

    def names_matching(self, pattern: PanoramaFiles) -> set[str]:
        """What ``*`` stands for in the paths of existing files, for any of the files that the tasks need.

        With ``rgb="area_1/rgb/*_rgb.png"``, the file ``area_1/rgb/hall_rgb.png`` has the name ``hall``. One file is
        enough to find a panorama; `missing_files` reports the others.

        Args:
            pattern: paths with one ``*`` each, in the last part.
        """
        found = set()
        for kind in self.needed:
            before, _, after = getattr(pattern, kind).partition("*")
            start = len(before.rpartition("/")[2])
            paths = self.root.glob(f"{before}[!.]*{after}")  # not hidden files, which macOS creates
            found.update(path.name[start : -len(after)] for path in paths)
        return found

    def missing_files(self) -> list[str]:
        """Paths, relative to the root, of needed files that do not exist."""
        root = os.fspath(self.root)
        paths = (path for files in self.files for path in files.paths())
        return [path for path in paths if not os.path.isfile(os.path.join(root, path))]

    def __len__(self) -> int:
        return len(self.files)

    def sample_names(self) -> list[str]:
        return [repr(files) for files in self.files]

    def read(self, index: int) -> Panorama:
        """Read a panorama as stored.

        Raises:
            UserError: when one of its files is missing, damaged or in the wrong format.
        """
        files = self.files[index]
        rgb = ImageFile(self.root / files.rgb).rgb()
        shape = rgb.shape[:2]
        if shape[1] != 2 * shape[0]:
            raise UserError(f"{self.root / files.rgb} is {_size(shape)}: an ERP image is twice as wide as high")
        maps = {
            "depth": np.zeros(shape, np.uint16),
            "semantic": np.full(shape, IGNORE_LABEL, np.int8),
            "normal": np.zeros((*shape, 3), np.uint8),  # black: missing, in all datasets
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
        maps["depth"], depth_scale = self.decode_depth(maps["depth"])
        return Panorama(
            rgb,
            **maps,
            id=files.rgb,
            depth_scale=depth_scale,
            normal_decoding=self.normal_decoding,
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
            raise UserError(
                f"{path} holds the label id {wrong}, which {self.name} does not have{self.unknown_id_remedy}"
            )
        return semantic

    def _read_normals(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8, as stored."""
        return ImageFile(path).three_channels()


def label_table(label_of_id: dict[int, int], ignored: Iterable[int]) -> np.ndarray:
    """Labels (256,) int8 of all 8-bit ids: -1 for ignored ids, a marker for ids that are neither given nor ignored."""
    table = np.full(256, _UNKNOWN, np.int8)
    table[list(ignored)] = IGNORE_LABEL
    table[list(label_of_id)] = list(label_of_id.values())
    return table


def relative_depth_scale(depth: np.ndarray) -> float:
    """The factor that maps the largest stored depth of an image (H, W), 0 = missing, to MAX_DEPTH."""
    largest = np.float32(depth.max()) or np.float32(1)
    scale = np.float32(MAX_DEPTH) / largest
    # Rounding must not make the largest depth exceed 10, which would be invalid.
    return float(scale if scale * largest <= MAX_DEPTH else np.nextafter(scale, np.float32(0)))


def read_list(path: Path, needed: list[str]) -> list[PanoramaFiles]:
    """Read a list of panoramas: UTF-8 text, each line with the paths of the files of one panorama.

    * The columns are ``rgb depth semantic normal``, or RGB and the needed maps, in this order. ``-`` in place of a path
      stands for a map that the panorama lacks.
    * Columns are separated by tabs if the line contains any (names may then contain spaces), otherwise by spaces.
    * Paths are relative to the root of the dataset, with forward slashes; absolute paths and ``..`` also work.
    * Empty lines, lines that begin with ``#``, and byte order marks are skipped.

    Args:
        path: the list.
        needed: fields of `PanoramaFiles`, in the order of the columns; the first is "rgb".

    Raises:
        UserError: when the list is missing, empty or in another format.
    """
    entries = []
    for number, line in _numbered_lines(path):
        try:
            entries.append(_parse_line(line, needed))
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    if not entries:
        raise UserError(f"the list {path} names no panorama")
    return entries


def list_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, except empty lines and lines that begin with ``#``.

    Raises:
        UserError: when the file is missing or is not UTF-8 text.
    """
    return [line for _, line in _numbered_lines(path)]


def _numbered_lines(path: Path) -> list[tuple[int, str]]:
    lines = enumerate((line.strip() for line in _read_text(path).split("\n")), start=1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _read_text(path: Path) -> str:
    """A text file, without byte order marks (concatenated lists may have several)."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise UserError(f"the list {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        encoding = ", but UTF-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
        raise UserError(f"the list {path} is not UTF-8 text{encoding}: save it as UTF-8")
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def _parse_line(line: str, needed: list[str]) -> PanoramaFiles:
    """Parse a line of a list, see `read_list`."""
    columns = [column.strip() for column in line.split("\t")] if "\t" in line else line.split()
    expected = {len(order): order for order in (needed, ["rgb", *MAP_OF_TASK.values()])}
    for mark in (",", ";", '"', "'"):
        if mark in line and (len(columns) not in expected or any(path.strip(mark) != path for path in columns)):
            raise UserError(f"separate columns by tabs or spaces, without quotes: the line holds {mark}")
    if len(columns) not in expected:
        words = {2: "two", 3: "three", 4: "four"}
        orders = " or ".join(f"{words[number]} paths ({' '.join(order)})" for number, order in expected.items())
        raise UserError(f"expected {orders}, got {len(columns)}; separate names with spaces by tabs")
    if "" in columns:
        raise UserError(f"no path between two tabs: write {_ABSENT} for a missing map")
    if "\\" in line:
        raise UserError("use forward slashes in paths: the line holds a backslash")
    if columns[0] == _ABSENT:
        raise UserError("the first path, of the RGB image, is required")
    paths = (None if path == _ABSENT else path for path in columns)
    return PanoramaFiles(**dict.fromkeys(MAP_OF_TASK.values()) | dict(zip(expected[len(columns)], paths, strict=True)))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"

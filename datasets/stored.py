"""What the datasets on disk have in common: finding panoramas, own lists, decoding pictures, telling what is wrong.

A dataset of its own says where its files lie, how they are encoded and how it is split: `datasets.matterport3d`,
`datasets.stanford2d3d`, `datasets.structured3d`.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from datasets.panorama import Panorama, PanoramaDataset
from utils.errors import UserError
from utils.images import ImageFile
from utils.tasks import IGNORE_LABEL, MAX_DEPTH

NORMAL_MAP_8BIT = np.hstack([np.eye(3) * 2 / 255, -np.ones((3, 1))])  # n = 2 v / 255 - 1
_UNKNOWN = -2  # in a label table: an id that must not occur


@dataclass(frozen=True)
class PanoramaFiles:
    """Where a panorama and its truth lie: paths relative to the root of the dataset, with forward slashes."""

    rgb: str
    depth: str
    semantic: str
    normal: str


class StoredPanoramas(PanoramaDataset):
    """A dataset on disk. RGB is any picture, depth a 16-bit grey PNG, labels 8-bit ids, normals an 8-bit RGB PNG.

    Args:
        root: folder of the dataset.
        split: "train", "val" (a part of the data to choose models by) or "test".
        height, width: H x W of the samples, W = 2H.
        augment: see `PanoramaDataset`.
        hold_out_val: whether the panoramas of "val" are kept out of "train".
        list_file: a text file that names the panoramas instead of the dataset's own rule: in each line the relative
            paths of RGB, depth, labels and normals, with blanks between them.
        normal_frame: frame of the stored normals, "camera" or "world" (see `Panorama`).

    Raises:
        UserError: when the folder or the list is missing, or there is no panorama.
    """

    # What a dataset of its own fills in.
    name: str  # in --dataset
    counts: dict[str, int]  # panoramas in the complete dataset: "train" without "val", "val", "test"
    val_is_of_train: bool  # whether "train" holds the panoramas of "val" unless they are held out
    example: str  # a depth map that one would expect, relative to the root
    labels: np.ndarray  # (256,) int8: the label of each stored id
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
    ):
        super().__init__(height, width, augment)
        self.root = Path(root)
        self.split = split
        self.normal_frame = normal_frame
        if not self.root.is_dir():
            raise UserError(f"--dataset_rootdir {root} is no folder")
        if list_file:
            self.files = [self.from_list(files) for files in read_list(Path(list_file))]
            self.expected_count = None  # whoever wrote the list knows
        else:
            parts = ["train", "val"] if split == "train" and self.val_is_of_train and not hold_out_val else [split]
            self.files = sorted((files for part in parts for files in self.find(part)), key=astuple)
            self.expected_count = sum(self.counts[part] for part in parts)
            if not self.files:
                raise UserError(
                    f"{root} holds no panorama of {self.name}'s split {split}: expected files such as {self.example}"
                )

    @abstractmethod
    def find(self, part: str) -> Iterable[PanoramaFiles]:
        """All panoramas of "train" (without "val"), "val" or "test" in the tree, in any order."""

    @abstractmethod
    def depth_scale(self, depth: np.ndarray) -> float:
        """Metres per unit of a stored depth map; marks of missing depth are set to 0 in place."""

    def from_list(self, files: PanoramaFiles) -> PanoramaFiles:
        """The files that a line of a list means."""
        return files

    def __len__(self) -> int:
        return len(self.files)

    def sample_names(self) -> list[str]:
        return ["\t".join(map(str, astuple(files))) for files in self.files]

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
        depth = ImageFile(self.root / files.depth).require(16, "grey").grey()
        semantic = self._labels(files.semantic)
        normal = ImageFile(self.root / files.normal).require(8, "colour").rgb()
        for path, array in ((files.depth, depth), (files.semantic, semantic), (files.normal, normal)):
            if array.shape[:2] != shape:
                raise UserError(
                    f"{self.root / path} is {_size(array.shape)}, but {self.root / files.rgb} is {_size(shape)}"
                )
        scale = self.depth_scale(depth)
        if not ((depth > 0) & (depth <= MAX_DEPTH / scale)).any():
            raise UserError(f"{self.root / files.depth} holds no depth above 0 and up to {MAX_DEPTH:g} m")
        return Panorama(rgb, depth, normal, semantic, files.rgb, scale, self.normal_map, self.normal_frame)

    def _labels(self, path: str) -> np.ndarray:
        """(H, W) int8, -1 = ignore. Of a palette picture the indices count, of a colour picture the first channel."""
        image = ImageFile(self.root / path)
        if image.bits > 8:
            raise UserError(f"{image.path} holds {image.bits}-bit {image.channels} pixels: expected 8-bit ids")
        ids = image.grey()
        semantic = self.labels.take(ids)
        if semantic.min() == _UNKNOWN:
            wrong = int(ids[semantic == _UNKNOWN][0])
            raise UserError(f"{image.path} holds the label id {wrong}, which {self.name} does not have")
        return semantic


def label_table(label_of_id: dict[int, int], ignored: Iterable[int]) -> np.ndarray:
    """Label of each 8-bit id, (256,) int8: as told, -1 for those to ignore; all others must not occur."""
    table = np.full(256, _UNKNOWN, np.int8)
    table[list(ignored)] = IGNORE_LABEL
    table[list(label_of_id)] = list(label_of_id.values())
    return table


def read_list(path: Path) -> list[PanoramaFiles]:
    """The panoramas that a list names (see `StoredPanoramas`); empty lines are skipped.

    Raises:
        UserError: when the list is missing or empty, or a line does not have four paths.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"the list {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the list {path} is no text file") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        paths = line.split()
        if paths and len(paths) != 4:
            raise UserError(f"{path}, line {number}: expected four paths (rgb depth semantic normal), got {len(paths)}")
        if paths:
            entries.append(PanoramaFiles(*paths))
    if not entries:
        raise UserError(f"the list {path} names no panorama")
    return entries


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"

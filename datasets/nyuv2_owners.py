"""The owners' file of NYU v2, ``nyu_depth_v2_labeled.mat``, and normals that others computed for it.

The folder also needs ``splits.mat`` (the official split into 795 and 654) and ``classMapping40.mat`` (894 labels to 40
classes), both of a few kB. Images are 480x640, numbered from 1.

Normals come from one of three sources, which are not interchangeable, each in a separate folder:

* "eigen": ``normals_gt/{normals,masks}/%04d.png``, numbered from 0, 8 bits around 127, mask 0 = missing;
* "ladicky": ``nyu_normals_gt/{train,test}/%05d.png``, numbered from 1, n = 2 v / 255 - 1, missing where Eigen's masks,
  if present, are 0;
* "geonet": ``nyuv2/{train,test}/<number>_normal.png`` as in DSINE's archive, n = 2 v / 255 - 1, black = missing. Files
  are numbered by image, from 1 or 0, or by position in the split, which is detected.

With "depth", normals are estimated from the depth instead.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from datasets.nyuv2_decoding import decode_normals, read_mat, unit_vectors
from utils.errors import UserError
from utils.extras import import_extra
from utils.images import ImageFile

SPLITS, MAPPING = "splits.mat", "classMapping40.mat"
_WHERE_SMALL_FILES_ARE = "download it from a public repository such as ankurhanda/nyuv2-meta-data"
_TITLES = {
    "eigen": "Eigen",
    "ladicky": "Ladicky",
    "geonet": "GeoNet",
    "depth": "estimated from the depth (no ground truth)",
}
NORMAL_SOURCES = tuple(_TITLES)


class OwnersFile:
    """``nyu_depth_v2_labeled.mat`` with ``splits.mat`` and ``classMapping40.mat``.

    Raises:
        UserError: when one of them is missing or damaged, or h5py is missing.
    """

    NAME = "nyu_depth_v2_labeled.mat"

    def __init__(self, root: Path):
        self.path = root / self.NAME
        self._open: tuple | None = None  # process and file
        for name in (SPLITS, MAPPING):
            if not (root / name).is_file():
                raise UserError(f"{root / name} is missing: {_WHERE_SMALL_FILES_ARE}")
        self.count = len(self._dataset("images"))
        self._numbers = {
            part: self._read_numbers(root / SPLITS, key) for part, key in (("train", "trainNdxs"), ("test", "testNdxs"))
        }
        mapping = np.asarray(read_mat(root / MAPPING, "mapClass")).ravel()
        if not mapping.size or mapping.min() < 1 or mapping.max() > 40:
            raise UserError(f"{root / MAPPING}: mapClass must have numbers from 1 to 40")
        self._id_40 = np.concatenate([[0], mapping]).astype(np.uint8)

    def __getstate__(self) -> dict:
        """Open files cannot be sent to other processes."""
        return self.__dict__ | {"_open": None}

    @property
    def _stored(self):
        """The open file. Each process opens it again, as forked processes would share the file position."""
        if self._open is None or self._open[0] != os.getpid():
            try:
                self._open = os.getpid(), import_extra("h5py", self.NAME).File(self.path, "r")
            except OSError as error:
                raise UserError(f"{self.path} is not a MATLAB 7.3 file, or is incomplete: download it again") from error
        return self._open[1]

    def _dataset(self, key: str):
        if key not in self._stored:
            raise UserError(f"{self.path} has no {key}")
        return self._stored[key]

    def _read_numbers(self, path: Path, key: str) -> list[int]:
        numbers = [int(number) for number in np.asarray(read_mat(path, key)).ravel()]
        if numbers and not 1 <= min(numbers) <= max(numbers) <= self.count:
            raise UserError(f"{path}: {key} must have numbers from 1 to {self.count}, the images of {self.path}")
        return numbers

    def numbers(self, part: str) -> list[int]:
        """Numbers (from 1) of the images of "train" or "test"."""
        return self._numbers[part]

    def read(self, key: str, number: int) -> np.ndarray:
        """An image of the array ``images`` (H, W, 3), or of another array (H, W)."""
        try:
            return np.ascontiguousarray(self._dataset(key)[number - 1].T)
        except OSError as error:
            raise UserError(f"{self.path}: image {number} of {key} is damaged") from error

    def ids_40(self, number: int) -> np.ndarray:
        """Ids (H, W) uint8 of the 40 classes, 1 to 40, 0 = unlabeled."""
        labels = self.read("labels", number)
        if labels.max() >= len(self._id_40):
            raise UserError(f"{self.path}: label {labels.max()} of image {number} is not in {MAPPING}")
        return self._id_40[labels]

    @cached_property
    def _scenes(self) -> list[str]:
        if "scenes" not in self._stored:
            return []
        references = np.asarray(self._stored["scenes"]).ravel()
        return ["".join(map(chr, np.asarray(self._stored[reference]).ravel())) for reference in references]

    def scene(self, number: int) -> str | None:
        """Name of an image's scene, such as ``kitchen_0004``; None if the file has no scenes."""
        return self._scenes[number - 1] if self._scenes else None


@dataclass(frozen=True)
class NormalFiles:
    """Normals from one source for the owners' images.

    Attributes:
        source: one of `NORMAL_SOURCES`.
        normals, masks: files by image number; `masks` is empty if the source has none.
    """

    source: str
    normals: dict[int, Path]
    masks: dict[int, Path]

    @property
    def title(self) -> str:
        return _TITLES[self.source]

    def paths(self, number: int) -> list[Path]:
        """The files of an image."""
        return [files[number] for files in (self.normals, self.masks) if number in files]

    def read(self, number: int) -> np.ndarray:
        """Unit vectors (H, W, 3) float32 along the axes of the source, (0, 0, 0) = missing.

        Raises:
            UserError: when a file is missing, damaged or in the wrong format.
        """
        if number not in self.normals:
            raise UserError(f"{self.title}'s normals of image {number} are missing")
        colors = ImageFile(self.normals[number]).three_channels()
        if self.source == "eigen":
            normal = unit_vectors((colors.astype(np.float32) - 127) / 127)
        else:
            normal = decode_normals(colors)
        if number in self.masks:
            normal[ImageFile(self.masks[number]).single_channel("a mask") == 0] = 0
        return normal


def find_normals(root: Path, source: str | None, owners: OwnersFile) -> NormalFiles | None:
    """The normals of a source for the owners' file.

    Args:
        root: folder of the owners' file.
        source: one of `NORMAL_SOURCES`; None: the source found in the folder.
        owners: the owners' file.

    Returns:
        The normals; None if no source was given and none is found.

    Raises:
        UserError: when the normals of the given source are missing, or several sources are found and none is given.
    """
    if source == "depth":
        return NormalFiles("depth", {}, {})
    folders = {"eigen": root / "normals_gt", "ladicky": root / "nyu_normals_gt", "geonet": root / "nyuv2"}
    if source is None:
        found = [name for name, folder in folders.items() if folder.is_dir()]
        if len(found) > 1:
            raise UserError(f"{root} has normals of several sources: pass --normals {' or '.join(found)}")
        if not found:
            return None
        source = found[0]
    folder = folders[source]
    if not folder.is_dir():
        raise UserError(f"--normals {source}: {folder} is missing")
    parts = {part: owners.numbers(part) for part in ("train", "test")}
    masks = {}
    if source in ("eigen", "ladicky") and (folders["eigen"] / "masks").is_dir():
        numbers = (number for part in parts.values() for number in part)
        masks = {number: folders["eigen"] / "masks" / f"{number - 1:04d}.png" for number in numbers}
    normals = {}
    for part, numbers in parts.items():
        if source == "eigen":
            normals |= {number: folder / "normals" / f"{number - 1:04d}.png" for number in numbers}
        elif source == "ladicky":
            normals |= {number: folder / part / f"{number:05d}.png" for number in numbers}
        else:
            normals |= _geonet_files(folder / part, numbers)
    return NormalFiles(source, normals, masks)


def _geonet_files(folder: Path, numbers: list[int]) -> dict[int, Path]:
    """File of each image, for any of the numberings described at the top of this file."""
    paths = {}
    for path in folder.glob("*_normal.png"):
        name = path.name.removesuffix("_normal.png")
        if name.isdigit():
            paths[int(name)] = path
    for numbering in (numbers, [number - 1 for number in numbers], range(len(numbers)), range(1, len(numbers) + 1)):
        if set(numbering) == set(paths):
            return {number: paths[name] for number, name in zip(numbers, numbering, strict=True)}
    raise UserError(f"{folder} has {len(paths)} *_normal.png, whose numbers do not match the {len(numbers)} images")

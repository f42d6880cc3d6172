"""The public copies of NYU v2's multi-task data, each with its tree, encodings and class set.

======= ========================================== ======= ========= =================================================
letter  copy                                       classes size      normals
======= ========================================== ======= ========= =================================================
M       MTAN, LibMTL, Auto-Lambda                  13      288x384   float .npy
H       the same on the hub (tanganke/nyuv2)       13      288x384   float, in parquet files
A       ASTMT's NYUD_MT.tgz                        40      425x560   .jpg
B       MTI-Net's NYUD_MT.tgz (Achievement's)      40      425x560   float .npy
C       ATRC's NYUDv2.tar.gz (InvPT, TaskPrompter) 40      425x560   8-bit .png
O       the owners' nyu_depth_v2_labeled.mat       40      480x640   from another source, see `OwnersLayout`
======= ========================================== ======= ========= =================================================

The archives of A and B have the same name: copies are recognized by their content (`find_layout`). Depth is in meters
along the optical axis, 0 = missing. 40 classes are stored as 1 to 40, 0 = ignore; 13 classes as 0 to 12, -1 = ignore.
The axes of the normals are undocumented: see `datasets.preparation.pinhole_normals`.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from datasets.nyuv2_decoding import (
    checked,
    colors_of_floats,
    decode_normals,
    labels_13,
    labels_40,
    meters,
    read_mat,
    read_npy,
    unit_vectors,
)
from datasets.nyuv2_hub import HubRows
from datasets.nyuv2_owners import NormalFiles, OwnersFile, find_normals
from datasets.preparation.pinhole_normals import estimate_normals
from utils.errors import UserError
from utils.images import ImageFile
from utils.pinhole import Pinhole

# Intrinsics of the color camera from the owners' toolbox, which counts pixels from 1.
NYU_CAMERA = Pinhole(518.8579, 519.4696, 325.5824 - 1, 253.7362 - 1, 480, 640)
WINDOW = (45, 40, 425, 560)  # top, left, height, width: the valid window, without the white frame
COUNTS = {"train": 795, "test": 654}
SCENES_FILE = "scenes.txt"  # written by `tools.prepare_nyuv2`: an id and its scene in each line
NOTE = "prepared_nyuv2.json"  # written by `tools.prepare_nyuv2`
_SCENE_ID = re.compile(r"^(?P<scene>[a-z][a-z_]*_\d{4}[a-z]?)[_-]")  # an id that begins with the owners' scene name


class Layout(ABC):
    """One copy on disk.

    Attributes:
        letter, title: letter and name of the copy, see the table above.
        num_classes: 13 or 40.
        normal_source: who computed the normals, if known.
        is_window: whether images show only `WINDOW` of the 480x640 pixels, possibly resized.
    """

    letter: str
    title: str
    num_classes: int = 40
    normal_source: str = "unknown (as packed)"
    is_window: bool = True

    def __init__(self, root: Path):
        self.root = root

    @abstractmethod
    def ids(self, part: str) -> list[str]:
        """Image ids of "train" or "test", in the order of the copy."""

    @abstractmethod
    def rgb(self, image_id: str) -> np.ndarray:
        """(H, W, 3) uint8."""

    @abstractmethod
    def depth(self, image_id: str) -> np.ndarray:
        """(H, W) float32 meters along the optical axis, 0 = missing."""

    @abstractmethod
    def labels(self, image_id: str) -> np.ndarray:
        """(H, W) int8 labels, -1 = ignore."""

    @abstractmethod
    def normals(self, image_id: str) -> np.ndarray:
        """(H, W, 3) float32 unit vectors along the axes of the copy, (0, 0, 0) = missing."""

    def scene(self, image_id: str) -> str | None:
        """The scene of an image; None if unknown."""
        found = _SCENE_ID.match(image_id)
        return found["scene"] if found else None

    def files(self, image_id: str, kinds: Iterable[str]) -> list[Path]:
        """Files of an image with its "rgb", "depth", "normal" or "semantic"; empty if all images share a file."""
        return []

    def camera(self, height: int, width: int) -> Pinhole:
        """Intrinsics of stored H x W images; approximate for the 288x384 copies."""
        return stored_camera(self.is_window, height, width)


class NpyLayout(Layout):
    """M: <part>/{image,label,depth,normal}/<number>.npy."""

    letter, title, num_classes = "M", "MTAN / LibMTL (.npy)", 13
    normal_source = "Eigen"
    FOLDERS = {"rgb": "image", "depth": "depth", "normal": "normal", "semantic": "label"}  # noqa: RUF012
    PART_FOLDERS = {"train": "train", "test": "val"}  # noqa: RUF012 - constants

    def ids(self, part: str) -> list[str]:
        folder = self.PART_FOLDERS[part]
        numbers = [path.stem for path in (self.root / folder / "image").glob("[!.]*.npy")]
        wrong = [name for name in numbers if not name.isdigit()]
        if wrong:
            raise UserError(f"{self.root / folder / 'image' / wrong[0]}.npy: expected a number as file name")
        return [f"{folder}/{number}" for number in sorted(map(int, numbers))]

    def files(self, image_id: str, kinds: Iterable[str]) -> list[Path]:
        return [self.path(image_id, kind) for kind in kinds]

    def path(self, image_id: str, kind: str) -> Path:
        """The file of one map."""
        folder, number = image_id.split("/")
        return self.root / folder / self.FOLDERS[kind] / f"{number}.npy"

    def rgb(self, image_id: str) -> np.ndarray:
        path = self.path(image_id, "rgb")
        return colors_of_floats(read_npy(path, 3), str(path))

    def depth(self, image_id: str) -> np.ndarray:
        return meters(read_npy(self.path(image_id, "depth"), 1))

    def labels(self, image_id: str) -> np.ndarray:
        path = self.path(image_id, "semantic")
        return labels_13(read_npy(path, 1), str(path))

    def normals(self, image_id: str) -> np.ndarray:
        return unit_vectors(read_npy(self.path(image_id, "normal"), 3))


class HubLayout(Layout):
    """H: parquet files, channels first. Whole row groups are read, so random order is slow."""

    letter, title, num_classes = "H", "tanganke/nyuv2 of the hub (parquet)", 13
    normal_source = "Eigen"

    def __init__(self, root: Path):
        super().__init__(root)
        self._rows = {"train": HubRows(root, "train"), "test": HubRows(root, "val")}

    def ids(self, part: str) -> list[str]:
        folder = NpyLayout.PART_FOLDERS[part]
        return [f"{folder}/{row}" for row in range(len(self._rows[part]))]

    def _read(self, image_id: str, column: str, channels: int) -> tuple[np.ndarray, str]:
        """An array (H, W, channels) or (H, W), and its location for messages."""
        folder, row = image_id.split("/")
        rows = self._rows["train" if folder == "train" else "test"]
        where = f"row {row} of {folder} in {self.root}"
        array = rows.read(int(row), column)
        return checked(np.moveaxis(array, 0, -1) if array.ndim == 3 else array, channels, f"{where}, {column}"), where

    def rgb(self, image_id: str) -> np.ndarray:
        return colors_of_floats(*self._read(image_id, "image", 3))

    def depth(self, image_id: str) -> np.ndarray:
        return meters(self._read(image_id, "depth", 1)[0])

    def labels(self, image_id: str) -> np.ndarray:
        return labels_13(*self._read(image_id, "segmentation", 1))

    def normals(self, image_id: str) -> np.ndarray:
        return unit_vectors(self._read(image_id, "normal", 3)[0])


class ListLayout(Layout):
    """A, B and C: gt_sets/{train,val}.txt with one id per line, and {images,depth,normals,segmentation}/<id>.*."""

    FOLDERS = {"rgb": "images", "depth": "depth", "normal": "normals", "semantic": "segmentation"}  # noqa: RUF012
    suffixes: dict[str, str]

    def __init__(self, root: Path):
        super().__init__(root)
        self._scenes = _read_scenes(root / SCENES_FILE)

    def ids(self, part: str) -> list[str]:
        path = self.root / "gt_sets" / f"{NpyLayout.PART_FOLDERS[part]}.txt"
        try:
            return path.read_text(encoding="utf-8").split()
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing: expected a list of image ids, one per line") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text") from error

    def scene(self, image_id: str) -> str | None:
        return self._scenes.get(image_id) or super().scene(image_id)

    def files(self, image_id: str, kinds: Iterable[str]) -> list[Path]:
        return [self.path(image_id, kind) for kind in kinds]

    def path(self, image_id: str, kind: str) -> Path:
        """The file of one map."""
        return self.root / self.FOLDERS[kind] / (image_id + self.suffixes[kind])

    def rgb(self, image_id: str) -> np.ndarray:
        return ImageFile(self.path(image_id, "rgb")).rgb()

    def depth(self, image_id: str) -> np.ndarray:
        path = self.path(image_id, "depth")
        return meters(checked(read_mat(path, "depth"), 1, str(path)) if path.suffix == ".mat" else read_npy(path, 1))

    def labels(self, image_id: str) -> np.ndarray:
        path = self.path(image_id, "semantic")
        if path.suffix == ".mat":
            ids = checked(read_mat(path, "segmentation"), 1, str(path))
        else:
            ids = ImageFile(path).single_channel("label ids")
        return labels_40(ids, str(path))

    def normals(self, image_id: str) -> np.ndarray:
        path = self.path(image_id, "normal")
        if path.suffix == ".npy":
            return unit_vectors(read_npy(path, 3))
        image = ImageFile(path)
        return decode_normals(image.three_channels() if path.suffix == ".png" else image.rgb())


class ASTMTLayout(ListLayout):
    """A, see `ListLayout`."""

    letter, title = "A", "ASTMT's NYUD_MT (.mat labels, .jpg normals)"
    suffixes = {"rgb": ".jpg", "depth": ".mat", "normal": ".jpg", "semantic": ".mat"}  # noqa: RUF012


class MTINetLayout(ListLayout):
    """B, see `ListLayout`; also written by `tools.prepare_nyuv2`."""

    letter, title = "B", "MTI-Net's NYUD_MT (.npy normals)"
    suffixes = {"rgb": ".jpg", "depth": ".npy", "normal": ".npy", "semantic": ".png"}  # noqa: RUF012

    def __init__(self, root: Path):
        super().__init__(root)
        note = read_note(root)
        if note:
            self.normal_source = note["normals"]
            self.title = f"MTI-Net's layout, prepared from the owners' file ({note['depth']} depth)"


class ATRCLayout(ListLayout):
    """C, see `ListLayout`."""

    letter, title = "C", "ATRC's NYUDv2 (.png normals)"
    suffixes = {"rgb": ".png", "depth": ".npy", "normal": ".png", "semantic": ".png"}  # noqa: RUF012


class OwnersLayout(Layout):
    """O: ``nyu_depth_v2_labeled.mat`` with ``splits.mat`` and ``classMapping40.mat``, and normals from another source.

    Args:
        root: folder with these files.
        normals: "eigen", "ladicky" or "geonet", see `datasets.nyuv2_owners`; "depth": estimated from the depth; None:
            the source found in the folder.
        raw_depth: use depth as measured, with holes, instead of the filled depth.
    """

    letter, title, is_window = "O", "the owners' nyu_depth_v2_labeled.mat", False

    def __init__(self, root: Path, normals: str | None = None, raw_depth: bool = False):
        super().__init__(root)
        self._file = OwnersFile(root)
        self._raw_depth = raw_depth
        self._normals: NormalFiles | None = find_normals(root, normals, self._file)
        self.normal_source = self._normals.title if self._normals else "none"
        self.title += f" ({'raw' if raw_depth else 'filled'} depth)"

    def ids(self, part: str) -> list[str]:
        return [f"{number:04d}" for number in self._file.numbers(part)]

    def scene(self, image_id: str) -> str | None:
        return self._file.scene(int(image_id))

    def rgb(self, image_id: str) -> np.ndarray:
        return self._file.read("images", int(image_id))

    def depth(self, image_id: str) -> np.ndarray:
        return meters(self._file.read("rawDepths" if self._raw_depth else "depths", int(image_id)))

    def labels(self, image_id: str) -> np.ndarray:
        return labels_40(self._file.ids_40(int(image_id)), f"image {image_id} of {self._file.path}")

    def files(self, image_id: str, kinds: Iterable[str]) -> list[Path]:
        if "normal" in kinds and self._normals:
            return self._normals.paths(int(image_id))
        return []

    def normals(self, image_id: str) -> np.ndarray:
        if self._normals is None:
            raise UserError(
                f"{self.root} has no normals for the owners' file (normals_gt, nyu_normals_gt or DSINE's nyuv2): "
                "add one of these folders, or run python -m tools.prepare_nyuv2"
            )
        if self._normals.source == "depth":
            depth = self.depth(image_id)
            return estimate_normals(depth, self.camera(*depth.shape))
        return self._normals.read(int(image_id))


def stored_camera(is_window: bool, height: int, width: int) -> Pinhole:
    """Intrinsics of H x W images that show the whole view of the camera, or only its `WINDOW`."""
    return (NYU_CAMERA.cropped(*WINDOW) if is_window else NYU_CAMERA).scaled(height, width)


def window_of(height: int, width: int) -> tuple[int, int, int, int]:
    """`WINDOW` scaled from 480x640 to H x W."""
    top, left, rows, columns = WINDOW
    down, right = height / NYU_CAMERA.height, width / NYU_CAMERA.width
    return round(top * down), round(left * right), round(rows * down), round(columns * right)


def find_layout(root: Path, normals: str | None = None, raw_depth: bool = False) -> Layout:
    """Recognize the copy in a folder by its content.

    Args:
        root: the folder, or its parent.
        normals, raw_depth: only for the owners' file, see `OwnersLayout`.

    Raises:
        UserError: when there is no copy or more than one, or the arguments do not apply to it.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: pass the folder of a copy of NYU v2")
    for folder in (root, *(root / name for name in ("NYUD_MT", "NYUDv2", "nyuv2", "NYUv2"))):
        found = _layouts_in(folder)
        if len(found) > 1:
            names = " and ".join(f"{layout.letter} ({layout.title})" for layout in found)
            raise UserError(f"{folder} has several copies of NYU v2, {names}: keep one per folder")
        if not found:
            continue
        if found[0] is OwnersLayout:
            return OwnersLayout(folder, normals, raw_depth)
        if normals or raw_depth:
            raise UserError(
                f"{'--normals' if normals else '--raw_depth'} is for the owners' file: drop it for copy "
                f"{found[0].letter} ({found[0].title}) in {folder}"
            )
        return found[0](folder)
    if (root / NOTE).is_file():
        raise UserError(f"{root} was not prepared completely: run python -m tools.prepare_nyuv2 again")
    raise UserError(
        f"{root} has no copy of NYU v2: expected train/image/0.npy, train-*.parquet, "
        "gt_sets/train.txt or nyu_depth_v2_labeled.mat"
    )


def _layouts_in(folder: Path) -> list[type[Layout]]:
    found: list[type[Layout]] = []
    if any((folder / part / "image").is_dir() for part in ("train", "val")):
        found.append(NpyLayout)
    if HubRows.paths(folder, "train") or HubRows.paths(folder, "val"):
        found.append(HubLayout)
    if (folder / "gt_sets").is_dir():
        found.append(_list_layout_in(folder))
    if (folder / OwnersFile.NAME).is_file():
        found.append(OwnersLayout)
    return found


def _list_layout_in(folder: Path) -> type[ListLayout]:
    """A, B or C, by the suffixes of the maps."""
    suffixes = {}
    for kind, name in ListLayout.FOLDERS.items():
        first = next((folder / name).glob("[!.]*"), None)
        if first is not None:
            suffixes[kind] = first.suffix
    matching = [
        layout
        for layout in (MTINetLayout, ATRCLayout, ASTMTLayout)
        if all(layout.suffixes[kind] == suffix for kind, suffix in suffixes.items())
    ]
    if not suffixes or not matching:
        found = ", ".join(f"{ListLayout.FOLDERS[kind]}/*{suffix}" for kind, suffix in suffixes.items()) or "no maps"
        raise UserError(f"{folder} has gt_sets/ and {found}, which is not a known copy of NYU v2")
    return matching[0]


def _read_scenes(path: Path) -> dict[str, str]:
    """The scene of each image id; empty if the file does not exist."""
    if not path.is_file():
        return {}
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(line) != 2 for line in lines):
        raise UserError(f"{path}: expected an id and its scene in each line")
    return dict(lines)


def read_note(root: Path) -> dict | None:
    """The notes that `tools.prepare_nyuv2` leaves in its output; None for other trees."""
    path = root / NOTE
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: prepare the data again") from error

"""Pascal VOC 2007 and 2012 (Everingham et al.) with boxes and segmentation: --dataset VOC.

* **Files**: ``VOC2007`` and ``VOC2012`` as published, in the folder, or in its ``VOC`` or ``VOCdevkit``; in each year
  ``JPEGImages``, ``Annotations``, ``ImageSets/Main`` and ``SegmentationClass``.
* **Training images**: the list ``trainvalsegdet`` of both years, with the masks in ``SegmentationClassAug``;
  `tools.prepare_voc` writes both. Images without a mask have boxes only.
* **Test images**: ``segval`` of 2012, the official segmentation validation list, and for detection also ``test`` of
  2007; with the masks in ``SegmentationClass``.
* **Validation images** ("val"): a tenth of the training images.
"""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from torchvision.datasets import VOCDetection

from datasets.boxes import boxes_of_objects, no_objects
from datasets.classes import SemanticClasses
from datasets.held_out import indices_of_split
from datasets.perspective import PerspectiveDataset, PerspectiveImage, without_maps
from utils.colors import distinct_colors
from utils.errors import UserError
from utils.images import ImageFile
from utils.tasks import CLASS_TASKS, DETECTION, IGNORE_LABEL

VOC_CLASSES = SemanticClasses(
    names=(
        *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    ),
    colors=distinct_colors(21),
)
YEARS = ("2007", "2012")
TRAIN_LIST, SEGMENTATION_TEST_LIST = "trainvalsegdet", "segval"  # of the released code, not official
_BORDER = 255  # in masks: borders of objects, ignored


class VOC(PerspectiveDataset):
    """See the top of this file, and `PerspectiveDataset` for the other arguments.

    Args:
        root: the folder.
        split: "train", "val" (part of the training images) or "test".
        hold_out_val: whether "train" excludes the images of "val".

    Attributes:
        images: (year, id) of each image.

    Raises:
        UserError: when a folder or a list is missing, or the split is empty.
    """

    name = "VOC"
    classes = VOC_CLASSES
    labeled_tasks = CLASS_TASKS

    def __init__(
        self,
        root: str | Path,
        split: str,
        height: int,
        width: int,
        augment: Callable[[PerspectiveImage, int, int], PerspectiveImage] | None = None,
        hold_out_val: bool = False,
        tasks: tuple[str, ...] = CLASS_TASKS,
    ):
        super().__init__(height, width, augment, tasks)
        self.root = find_voc(Path(root))
        self.split = split
        self._masks = "SegmentationClass" if split == "test" else "SegmentationClassAug"
        self.images = [(year, id_) for year, name in self._lists() for id_ in read_ids(self.root, year, name)]
        groups = [same_image(year, image_id) for year, image_id in self.images]
        chosen = indices_of_split(split, self.sample_names(), groups, hold_out_val)
        self.images = [self.images[index] for index in chosen]
        if not self.images:
            raise UserError(f"{self.root} has no image of the split {split}")

    def _lists(self) -> list[tuple[str, str]]:
        """Year and name of each list of the split."""
        if self.split != "test":
            return [(year, TRAIN_LIST) for year in YEARS]
        return [("2007", "test")] * (DETECTION in self.tasks) + [("2012", SEGMENTATION_TEST_LIST)]

    def __len__(self) -> int:
        return len(self.images)

    def sample_names(self) -> list[str]:
        return [f"{year}/{image_id}" for year, image_id in self.images]

    def missing_files(self) -> list[str]:
        kinds = [("JPEGImages", ".jpg"), *([("Annotations", ".xml")] if DETECTION in self.tasks else [])]
        paths = (self._path(year, kind, image_id, suffix) for year, image_id in self.images for kind, suffix in kinds)
        return [str(path) for path in paths if not path.is_file()]

    def read(self, index: int) -> PerspectiveImage:
        """Read an image as stored.

        Raises:
            UserError: when one of its files is missing, damaged or in the wrong format.
        """
        year, image_id = self.images[index]
        image = without_maps(ImageFile(self._path(year, "JPEGImages", image_id, ".jpg")).rgb(), f"VOC{year}/{image_id}")
        if DETECTION in self.tasks:
            image.objects = read_objects(self._path(year, "Annotations", image_id, ".xml"))
            image.boxes = boxes_of_objects(image.objects)
        mask = self._path(year, self._masks, image_id, ".png")
        if "segmentation" in self.tasks and mask.is_file():
            image.semantic = read_mask(mask)
            if image.semantic.shape != image.rgb.shape[:2]:
                raise UserError(f"{mask} differs in size from the image")
        return image

    def _path(self, year: str, folder: str, image_id: str, suffix: str) -> Path:
        return self.root / f"VOC{year}" / folder / (image_id + suffix)


def find_voc(root: Path) -> Path:
    """The folder with VOC2007 and VOC2012: `root` or a subfolder.

    Raises:
        UserError: when VOC2007 or VOC2012 is missing.
    """
    for folder in (root, root / "VOC", root / "VOCdevkit"):
        if any((folder / f"VOC{year}").is_dir() for year in YEARS):
            missing = [year for year in YEARS if not (folder / f"VOC{year}").is_dir()]
            if missing:
                raise UserError(f"{folder} has no VOC{missing[0]}: both years are needed")
            return folder
    raise UserError(f"{root}: expected VOC2007 and VOC2012 in it, or in its VOC or VOCdevkit")


def read_ids(root: Path, year: str, name: str, sets: str = "Main") -> list[str]:
    """Read the image ids of a list, ``ImageSets/<sets>/<name>.txt`` of a year.

    Raises:
        UserError: when the list is missing or is not UTF-8 text.
    """
    path = root / f"VOC{year}" / "ImageSets" / sets / f"{name}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        if name in (TRAIN_LIST, SEGMENTATION_TEST_LIST):
            raise UserError(f"{path} is missing: run python -m tools.prepare_voc --root {root}") from error
        raise UserError(f"{path} is missing: it is part of the official archives of VOC{year}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    return [line.split()[0] for line in lines if line.strip()]


def same_image(year: str, image_id: str) -> str:
    """A name shared by an image of VOC2007, such as 000032, and its copy in VOC2012, named 2007_000032."""
    return f"{year}_{image_id}" if year == "2007" else image_id


def read_objects(path: Path) -> np.ndarray:
    """Read the objects (M, 6) float64 of an XML file, see `datasets.boxes`.

    Raises:
        UserError: when the file is missing or damaged, or has an unknown class.
    """
    try:
        annotation = VOCDetection.parse_voc_xml(ElementTree.parse(path).getroot())["annotation"]
        rows = [
            [
                *(float(entry["bndbox"][corner]) for corner in ("xmin", "ymin", "xmax", "ymax")),
                VOC_CLASSES.names.index(entry["name"], 1),
                int(entry.get("difficult") or 0),
            ]
            for entry in annotation.get("object", [])
        ]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except (ElementTree.ParseError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a VOC annotation, or is damaged: {error}") from error
    return np.array(rows, np.float64) if rows else no_objects()


def read_mask(path: Path) -> np.ndarray:
    """Read the labels (H, W) int8 of a mask, -1 at the borders of objects.

    Raises:
        UserError: when the file is missing or damaged, or has an unknown class.
    """
    ids = ImageFile(path).single_channel("label ids", bits=8)
    if ((ids >= len(VOC_CLASSES)) & (ids != _BORDER)).any():
        raise UserError(f"{path} holds the label id {ids[ids != _BORDER].max()}: expected 0 to 20, or 255 to ignore")
    return np.where(ids == _BORDER, IGNORE_LABEL, ids).astype(np.int8)

"""COCO 2017 (Lin et al.) with boxes and segmentation of its 80 classes: --dataset COCO.

* **Files**: ``annotations/instances_{train,val}2017.json`` and ``images/{train,val}2017`` in the folder, or in
  ``mscoco`` or ``COCO`` there. The test images are those of val2017; "val" is a tenth of those of train2017.
* **Classes**: 81 for both tasks, the background and the 80 things. The released code has as many for detection as for
  segmentation, too, but 171 with stuff, of which two are beyond its network.
* **Boxes** are clipped to the image. Crowds have none; among the objects they are the difficult ones, as they need not
  be found. Corners of objects are COCO's plus 1, so that they relate to boxes as VOC's do.
* **Segmentation**: the maps of COCO-Stuff in ``stuff/{train,val}2017``, of which stuff is background, if that folder is
  there; else the outlines of the instances, drawn by pycocotools. Crowds are ignored.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from datasets.boxes import boxes_of_objects, clip_objects
from datasets.coco_labels import COCO_CLASSES, LABEL_OF_ID, find_first_id, instance_labels, stuff_labels
from datasets.held_out import indices_of_split
from datasets.perspective import PerspectiveDataset, PerspectiveImage, without_maps
from utils.errors import UserError
from utils.images import ImageFile
from utils.tasks import CLASS_TASKS, DETECTION

_OUTLINE = ("segmentation", "area", "iscrowd", "category_id")  # what `instance_labels` needs
_MOST_COMPARED = 16  # maps of COCO-Stuff, to detect which ids they hold


class COCO(PerspectiveDataset):
    """COCO 2017; see the top of this file, and `PerspectiveDataset` for the other arguments.

    Args:
        root: the folder.
        split: "train", "val" (a part of the training images) or "test".
        hold_out_val: whether the images of "val" are kept out of "train".

    Attributes:
        names: of the image files.

    Raises:
        UserError: when files are missing or damaged, or the split is empty.
    """

    name = "COCO"
    classes = COCO_CLASSES
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
        self.split = split
        self.root = next((Path(root) / one for one in ("mscoco", "COCO") if (Path(root) / one).is_dir()), Path(root))
        self._part = "val2017" if split == "test" else "train2017"
        images, annotations = read_instances(self.root / "annotations" / f"instances_{self._part}.json")
        names = [one["file_name"] for one in images]
        images = [images[index] for index in indices_of_split(split, names, names, hold_out_val)]
        if not images:
            raise UserError(f"{self.root} holds no image of the split {split}")
        self.names = [one["file_name"] for one in images]
        self._keep([annotations.get(one["id"], []) for one in images])
        self._first_id = self._find_first_id() if self._has_maps else 0

    def _keep(self, annotations: list[list[dict]]) -> None:
        """Keep what is needed of the annotations of each image, in a form that is small and fast to pickle."""
        self._has_maps = "segmentation" in self.tasks and (self.root / "stuff" / self._part).is_dir()
        objects = [objects_of(one) for one in annotations]
        self._ends = np.cumsum([len(one) for one in objects])
        self._objects = np.concatenate(objects)
        self._outlines: list[bytes] = []
        if "segmentation" in self.tasks and not self._has_maps:
            self._outlines = [
                json.dumps([{key: instance[key] for key in _OUTLINE} for instance in one]).encode()
                for one in annotations
            ]

    def __len__(self) -> int:
        return len(self.names)

    def sample_names(self) -> list[str]:
        return self.names

    def missing_files(self) -> list[str]:
        paths = [self._image_path(index) for index in range(len(self))]
        if self._has_maps:
            paths += [self._map_path(index) for index in range(len(self))]
        return [str(path) for path in paths if not path.is_file()]

    def read(self, index: int) -> PerspectiveImage:
        """An image as it is stored.

        Raises:
            UserError: when one of its files is missing, damaged or not what it should be; when pycocotools is missing.
        """
        image = without_maps(ImageFile(self._image_path(index)).rgb(), self.names[index])
        height, width = image.size
        if DETECTION in self.tasks:
            image.objects = clip_objects(self._objects_of(index), height, width)
            image.boxes = boxes_of_objects(image.objects)
        if self._has_maps:
            image.semantic = stuff_labels(self._stored_map(index), self._first_id)
            if image.semantic.shape != image.size:
                raise UserError(f"{self._map_path(index)} has another size than the image")
        elif self._outlines:
            image.semantic = instance_labels(json.loads(self._outlines[index]), height, width)
        return image

    def _objects_of(self, index: int) -> np.ndarray:
        """(M, 6), not clipped."""
        return self._objects[self._ends[index - 1] if index else 0 : self._ends[index]]

    def _image_path(self, index: int) -> Path:
        return self.root / "images" / self._part / self.names[index]

    def _map_path(self, index: int) -> Path:
        return self.root / "stuff" / self._part / f"{Path(self.names[index]).stem}.png"

    def _stored_map(self, index: int) -> np.ndarray:
        return ImageFile(self._map_path(index)).single_channel("category ids", bits=8)

    def _find_first_id(self) -> int:
        """Which numbers the maps hold, see `datasets.coco_labels.find_first_id`."""

        def maps() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            compared = 0
            for index in range(len(self)):
                if len(self._objects_of(index)) and self._map_path(index).is_file() and compared < _MOST_COMPARED:
                    compared += 1
                    yield self._stored_map(index), boxes_of_objects(self._objects_of(index))

        return find_first_id(maps(), str(self.root / "stuff" / self._part))


def read_instances(path: Path) -> tuple[list[dict], dict[int, list[dict]]]:
    """Images of an annotation file, in the order of their ids, and the annotations of each image id.

    Raises:
        UserError: when the file is missing or damaged, or has other classes.
    """
    try:
        content = json.loads(path.read_bytes())
        images = sorted(content["images"], key=lambda one: one["id"])
        categories = {one["id"]: one["name"] for one in content["categories"]}
        annotations: dict[int, list[dict]] = {}
        for one in content["annotations"]:
            annotations.setdefault(one["image_id"], []).append(one)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not an annotation file of COCO, or is damaged") from error
    if categories != {id_: COCO_CLASSES.names[label] for id_, label in LABEL_OF_ID.items()}:
        raise UserError(f"{path} has other categories than the 80 of COCO 2017")
    return images, annotations


def objects_of(annotations: list[dict]) -> np.ndarray:
    """The objects (M, 6) float64 of an image, see `datasets.boxes`; crowds are difficult ones."""
    rows = []
    for one in annotations:
        x, y, width, height = one["bbox"]
        corners = [x + 1, y + 1, x + width + 1, y + height + 1]
        rows.append([*corners, LABEL_OF_ID[one["category_id"]], one["iscrowd"]])
    return np.array(rows, np.float64).reshape(-1, 6)

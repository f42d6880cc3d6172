"""COCO 2017 (Lin et al.) with boxes and segmentation of its 80 classes: --dataset COCO.

* **Files**: ``annotations/instances_{train,val}2017.json`` and ``images/{train,val}2017`` in the folder, or in its
  ``mscoco`` or ``COCO``. "test" is val2017; "val" is a tenth of train2017.
* **Classes**: 81 for both tasks, the background and the 80 things. The released code has 171 for both, including stuff,
  although its label ids reach 172.
* **Boxes** are clipped to the image. Crowds have no boxes; as objects they are marked difficult, as they need not be
  detected. Corners of objects are COCO's plus 1, as VOC's are.
* **Segmentation**: the COCO-Stuff maps in ``stuff/{train,val}2017`` if that folder exists, with stuff as background;
  otherwise the instance outlines, drawn by pycocotools, with crowds ignored.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from datasets.boxes import boxes_of_objects, clip_objects
from datasets.coco_labels import COCO_CLASSES, LABEL_OF_ID, find_first_id, instance_labels, stuff_labels
from datasets.held_out import indices_of_split
from datasets.perspective import PerspectiveDataset, PerspectiveImage, without_maps
from utils.errors import UserError
from utils.images import ImageFile
from utils.tasks import CLASS_TASKS, DETECTION

_OUTLINE_KEYS = ("segmentation", "area", "iscrowd", "category_id")  # of annotations, for `instance_labels`
_MAX_COMPARED_MAPS = 16  # of COCO-Stuff, to detect which ids they hold


class COCO(PerspectiveDataset):
    """See the top of this file, and `PerspectiveDataset` for the other arguments.

    Args:
        root: the folder.
        split: "train", "val" (part of the training images) or "test".
        hold_out_val: whether "train" excludes the images of "val".

    Attributes:
        names: image file names.

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
        subfolders = (Path(root) / "mscoco", Path(root) / "COCO")
        self.root = next((folder for folder in subfolders if folder.is_dir()), Path(root))
        self._part = "val2017" if split == "test" else "train2017"
        path = self.root / "annotations" / f"instances_{self._part}.json"
        annotations = read_instances(path)
        names = list(annotations)
        self.names = [names[index] for index in indices_of_split(split, names, names, hold_out_val)]
        if not self.names:
            raise UserError(f"{self.root} has no image of the split {split}")
        try:
            self._store_annotations([annotations[name] for name in self.names])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} has an incomplete or damaged annotation: {error!r}") from error
        self._first_id = self._find_first_id() if self._has_maps else 0

    def _store_annotations(self, annotations: list[list[dict]]) -> None:
        """Store the needed annotations of each image in a form that is small and fast to pickle."""
        self._has_maps = "segmentation" in self.tasks and (self.root / "stuff" / self._part).is_dir()
        objects = [objects_of(instances) for instances in annotations]
        self._ends = np.cumsum([len(rows) for rows in objects])
        self._objects = np.concatenate(objects)
        self._outlines: list[bytes] = []
        if "segmentation" in self.tasks and not self._has_maps:
            self._outlines = [
                json.dumps([{key: instance[key] for key in _OUTLINE_KEYS} for instance in instances]).encode()
                for instances in annotations
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
        """Read an image as stored.

        Raises:
            UserError: when one of its files is missing, damaged or in the wrong format, or pycocotools is missing.
        """
        image = without_maps(ImageFile(self._image_path(index)).rgb(), self.names[index])
        height, width = image.size
        if DETECTION in self.tasks:
            image.objects = clip_objects(self._objects_of(index), height, width)
            image.boxes = boxes_of_objects(image.objects)
        if self._has_maps:
            image.semantic = stuff_labels(self._stored_map(index), self._first_id)
            if image.semantic.shape != image.size:
                raise UserError(f"{self._map_path(index)} differs in size from the image")
        elif self._outlines:
            image.semantic = instance_labels(json.loads(self._outlines[index]), height, width)
        return image

    def _objects_of(self, index: int) -> np.ndarray:
        """Objects (M, 6), not clipped."""
        return self._objects[self._ends[index - 1] if index else 0 : self._ends[index]]

    def _image_path(self, index: int) -> Path:
        return self.root / "images" / self._part / self.names[index]

    def _map_path(self, index: int) -> Path:
        return self.root / "stuff" / self._part / f"{Path(self.names[index]).stem}.png"

    def _stored_map(self, index: int) -> np.ndarray:
        return ImageFile(self._map_path(index)).single_channel("category ids", bits=8)

    def _find_first_id(self) -> int:
        """See `datasets.coco_labels.find_first_id`."""
        usable = (i for i in range(len(self)) if len(self._objects_of(i)) and self._map_path(i).is_file())
        maps = (
            (self._stored_map(i), boxes_of_objects(self._objects_of(i))) for i in islice(usable, _MAX_COMPARED_MAPS)
        )
        return find_first_id(maps, str(self.root / "stuff" / self._part))


def read_instances(path: Path) -> dict[str, list[dict]]:
    """Read an annotation file: the annotations of each image by its file name, in the order of image ids.

    Raises:
        UserError: when the file is missing or damaged, or has other classes.
    """
    try:
        content = json.loads(path.read_bytes())
        images = sorted(content["images"], key=lambda image: image["id"])
        categories = {category["id"]: category["name"] for category in content["categories"]}
        annotations_of = defaultdict(list)  # by image id
        for annotation in content["annotations"]:
            annotations_of[annotation["image_id"]].append(annotation)
        annotations = {image["file_name"]: annotations_of[image["id"]] for image in images}
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a COCO annotation file, or is damaged") from error
    if categories != {id_: COCO_CLASSES.names[label] for id_, label in LABEL_OF_ID.items()}:
        raise UserError(f"{path}: expected the 80 categories of COCO 2017")
    return annotations


def objects_of(annotations: list[dict]) -> np.ndarray:
    """The objects (M, 6) float64 of an image, see `datasets.boxes`; crowds are marked difficult."""
    rows = []
    for annotation in annotations:
        x, y, width, height = annotation["bbox"]
        corners = [x + 1, y + 1, x + width + 1, y + height + 1]
        rows.append([*corners, LABEL_OF_ID[annotation["category_id"]], annotation["iscrowd"]])
    return np.array(rows, np.float64).reshape(-1, 6)

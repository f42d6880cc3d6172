"""NYU v2 (Silberman et al., ECCV 2012) with depth, normals and segmentation: --dataset NYUv2.

* **Copies**: six are recognized, see `datasets.nyuv2_layouts`. Figures of different copies, class sets or sources of
  normals cannot be compared: `NYUv2.describe_source` tells them, for the results.
* **Split**, the official one: 795 "train", 654 "test". The paper steers its weights and chooses its epoch by the test
  images; "val" is a part of the training images instead: about a tenth, by scene where the copy tells scenes, else at
  random.
* **Normals**: their axes are found by comparison with depth, unless they are given. Samples are in our camera frame.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from datasets.held_out import held_out
from datasets.nyuv2_classes import CLASS_SETS, LABELS_13_OF_40
from datasets.nyuv2_layouts import COUNTS, Layout, find_layout
from datasets.partial_labels import read_partial_labels
from datasets.perspective import PerspectiveDataset, PerspectiveImage, without_maps
from datasets.preparation.pinhole_normals import (
    NORMAL_AXES,
    add_measurements,
    find_axes,
    implied_normals,
    measure_axes,
)
from utils.errors import UserError
from utils.provenance import sha256
from utils.tasks import TASK_NAMES

OUR_AXES = "right-down-forward"
_KIND_OF_TASK = {"depth": "depth", "normal": "normal", "segmentation": "semantic"}
_MOST_COMPARED = 16  # images from which the axes of the normals are found


class NYUv2(PerspectiveDataset):
    """See the top of this file, and `PerspectiveDataset` for the other arguments.

    Args:
        root: folder of a copy, see `datasets.nyuv2_layouts.find_layout`.
        split: "train", "val" (a part of the training images, see `hold_out`) or "test".
        hold_out_val: whether the images of "val" are kept out of "train".
        num_classes: 13 or 40; None: those of the copy. 13 can be made of 40.
        normal_axes: a key of `NORMAL_AXES`, the axes of the stored normals; None: found by comparison with depth.
        normals, raw_depth: for the owners' file, see `datasets.nyuv2_layouts.OwnersLayout`.
        partial_labels: a list that says of each training image which tasks it has ground truth of, see
            `datasets.partial_labels`; that of the others is missing in the split "train", as if it had not been stored.

    Attributes:
        layout: the copy.
        ids: of the images.
        axes: of the stored normals, a key of `NORMAL_AXES`; None without the task.
        axes_agreement: fraction of the compared normals that agree with depth; None if the axes were given.
        hold_out: how "val" was chosen, in words.
        expected_count: images of the complete split.

    Raises:
        UserError: when no copy is found, the split is empty, or the axes of the normals cannot be determined.
    """

    name = "NYUv2"

    def __init__(
        self,
        root: str | Path,
        split: str,
        height: int,
        width: int,
        augment: Callable[[PerspectiveImage, int, int], PerspectiveImage] | None = None,
        hold_out_val: bool = False,
        tasks: tuple[str, ...] = TASK_NAMES,
        num_classes: int | None = None,
        normal_axes: str | None = None,
        normals: str | None = None,
        raw_depth: bool = False,
        partial_labels: str | Path | None = None,
    ):
        super().__init__(height, width, augment, tasks)
        self.root = Path(root)
        self.split = split
        self.layout = find_layout(self.root, normals, raw_depth)
        num_classes = num_classes or self.layout.num_classes
        if num_classes not in CLASS_SETS or num_classes > self.layout.num_classes:
            raise UserError(
                f"{num_classes} classes: {self.root} holds copy {self.layout.letter} with {self.layout.num_classes}"
            )
        self.classes = CLASS_SETS[num_classes]
        self.ids, self.expected_count, self.hold_out = self._choose(split, hold_out_val)
        if not self.ids:
            raise UserError(f"{self.root} (copy {self.layout.letter}) holds no image of the split {split}")
        self._tasks_of = {}
        self._partial_labels = partial_labels and split == "train" and Path(partial_labels)
        if self._partial_labels:
            self._tasks_of = read_partial_labels(self._partial_labels, self.layout.ids("train"))
        self.axes, self.axes_agreement = self._find_axes(normal_axes) if "normal" in self.tasks else (None, None)

    @property
    def kinds(self) -> list[str]:
        """What is read: "rgb" and the maps that the tasks need."""
        return self._kinds_for(self.tasks)

    @staticmethod
    def _kinds_for(tasks: Collection[str]) -> list[str]:
        return ["rgb", *(kind for task, kind in _KIND_OF_TASK.items() if task in tasks)]

    def _kinds_of(self, image_id: str) -> list[str]:
        """What is read of an image."""
        return self._kinds_for({*self.tasks} & {*self._tasks_of.get(image_id, self.tasks)})

    def describe_source(self) -> dict[str, str | int | None]:
        """What figures depend on, for the results: copy, classes, size on the disk, normals, how "val" is chosen."""
        height, width = self.layout.rgb(self.ids[0]).shape[:2]
        facts = {
            "copy": f"{self.layout.letter}: {self.layout.title}",
            "classes": len(self.classes),
            "stored_size": f"{height}x{width}",
            "val": self.hold_out,
        }
        if self.axes:
            facts |= {"normals": self.layout.normal_source, "normal_axes": self.axes}
            facts["normal_axes_agreement"] = self.axes_agreement and round(self.axes_agreement, 3)
        if self._partial_labels:
            facts["partial_labels"] = f"{self._partial_labels.name} (sha256 {sha256(self._partial_labels)[:16]})"
        return facts

    def missing_files(self) -> list[str]:
        paths = (path for one in self.ids for path in self.layout.files(one, self._kinds_of(one)))
        return [str(path) for path in paths if not path.is_file()]

    def __len__(self) -> int:
        return len(self.ids)

    def sample_names(self) -> list[str]:
        return self.ids

    def read(self, index: int) -> PerspectiveImage:
        """An image as it is stored, its normals in our frame.

        Raises:
            UserError: when one of its files is missing, damaged or not what it should be.
        """
        image_id, layout = self.ids[index], self.layout
        image = without_maps(layout.rgb(image_id), image_id)
        kinds = self._kinds_of(image_id)
        if "depth" in kinds:
            image.depth = layout.depth(image_id)
        if "semantic" in kinds:
            labels = layout.labels(image_id)
            image.semantic = labels if len(self.classes) == layout.num_classes else LABELS_13_OF_40[labels]
        if "normal" in kinds:
            image.normal = layout.normals(image_id) * NORMAL_AXES[self.axes]
        for kind in kinds[1:]:
            shape = getattr(image, kind).shape[:2]
            if shape != image.rgb.shape[:2]:
                words = " and ".join("x".join(map(str, size)) for size in (image.rgb.shape[:2], shape))
                raise UserError(f"{self.root}, image {image_id}: RGB and {kind} have different sizes, {words}")
        return image

    def _choose(self, split: str, hold_out_val: bool) -> tuple[list[str], int, str]:
        """Ids of a split, how many there should be, and how "val" is chosen."""
        if split == "test":
            return self.layout.ids("test"), COUNTS["test"], "not used"
        ids = self.layout.ids("train")
        kept_out, words = hold_out(ids, self.layout)
        if split == "train":
            kept = [one for one in ids if not (hold_out_val and one in kept_out)]
            return kept, COUNTS["train"] - (len(kept_out) if hold_out_val else 0), words if hold_out_val else "not used"
        return [one for one in ids if one in kept_out], len(kept_out), words

    def _find_axes(self, given: str | None) -> tuple[str, float | None]:
        """The axes of the stored normals, and the agreement with depth by which they were found."""
        if self.layout.normal_source.startswith("estimated"):
            return OUR_AXES, None
        if given:
            if given not in NORMAL_AXES:
                raise UserError(f"--normal_axes {given}: choose one of {', '.join(NORMAL_AXES)}")
            return given, None
        measured, errors = [], []
        for image_id in evenly_spaced(self._ids_to_compare(), _MOST_COMPARED):
            try:
                measured.append(measured_axes(self.layout, image_id))
            except UserError as error:  # a bad sample is another's business
                errors.append(error)
        if not measured:
            raise UserError(f"{errors[0]}; --normal_axes would state the axes of the normals without depth")
        try:
            return find_axes(add_measurements(measured))
        except UserError as error:
            raise UserError(f"{self.root} (copy {self.layout.letter}): {error}: state them by --normal_axes") from error

    def _ids_to_compare(self) -> list[str]:
        """Those of training, whatever the split, so that all splits have the same axes; else those of the split."""
        try:
            return self.layout.ids("train") or self.ids
        except UserError:  # there are only test images
            return self.ids


def measured_axes(layout: Layout, image_id: str):
    """How the stored normals of an image compare with its depth, see `datasets.preparation.pinhole_normals`."""
    depth = layout.depth(image_id)
    return measure_axes(layout.normals(image_id), implied_normals(depth, layout.camera(*depth.shape)))


def hold_out(ids: list[str], layout: Layout) -> tuple[set[str], str]:
    """About a tenth of the training images, to choose by, and how they were chosen.

    Whole scenes if the copy tells the scene of every image: two images of one show much the same.
    """
    scenes = [layout.scene(image_id) for image_id in ids]
    by_scene = bool(ids) and all(scenes)
    chosen = held_out(ids, scenes if by_scene else ids)
    words = "whole scenes" if by_scene else "single images at random, as the copy tells no scenes"
    return chosen, f"{len(chosen)} of the {len(ids)} training images: {words}"


def evenly_spaced(items: list[str], most: int) -> list[str]:
    """At most this many of the items, evenly spaced."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))]

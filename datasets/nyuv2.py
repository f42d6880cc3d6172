"""NYU v2 (Silberman et al., ECCV 2012) with depth, normals and segmentation: --dataset NYUv2.

* **Copies**: six are recognized, see `datasets.nyuv2_layouts`. Metrics on different copies, class sets or sources of
  normals are not comparable: `NYUv2.describe_source` records these facts in the results.
* **Split**, official: 795 "train", 654 "test". The paper updates its weights and selects its epoch on the test images;
  here "val" is about a tenth of the training images: whole scenes if the copy identifies scenes, else random images.
* **Normals**: unless given, their axes are determined by comparison with depth. Samples are in our camera frame.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import numpy as np

from datasets.held_out import held_out
from datasets.nyuv2_classes import CLASS_SETS, LABELS_13_OF_40
from datasets.nyuv2_layouts import COUNTS, Layout, find_layout
from datasets.partial_labels import read_partial_labels
from datasets.perspective import PerspectiveDataset, PerspectiveImage, without_maps
from datasets.preparation.pinhole_normals import (
    NORMAL_AXES,
    AxesMeasurement,
    add_measurements,
    find_axes,
    implied_normals,
    measure_axes,
)
from utils.errors import UserError
from utils.provenance import sha256
from utils.tasks import MAP_OF_TASK, TASK_NAMES

OUR_AXES = "right-down-forward"
_MAX_COMPARED_IMAGES = 16  # for finding the axes of the normals


class NYUv2(PerspectiveDataset):
    """See the top of this file, and `PerspectiveDataset` for the other arguments.

    Args:
        root: folder of a copy, see `datasets.nyuv2_layouts.find_layout`.
        split: "train", "val" (part of the training images, see `hold_out`) or "test".
        hold_out_val: whether "train" excludes the images of "val".
        num_classes: 13 or 40; None: as in the copy. 40 classes can be merged to 13.
        normal_axes: axes of the stored normals, a key of `NORMAL_AXES`; None: determined by comparison with depth.
        normals, raw_depth: for the owners' file, see `datasets.nyuv2_layouts.OwnersLayout`.
        partial_labels: list of the tasks with ground truth for each training image, see `datasets.partial_labels`. The
            ground truth of other tasks is missing in "train", as if it were not stored.

    Attributes:
        layout: the copy.
        ids: image ids.
        axes: axes of the stored normals, a key of `NORMAL_AXES`; None if the tasks need no normals.
        axes_agreement: fraction of the compared normals that agree with depth; None if the axes were given.
        hold_out: how "val" was chosen, in words.
        expected_count: number of images in the complete split.

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
                f"--num_classes {num_classes}: {self.root} is copy {self.layout.letter}, "
                f"which has {self.layout.num_classes} classes"
            )
        self.classes = CLASS_SETS[num_classes]
        self.ids, self.expected_count, self.hold_out = self._choose(split, hold_out_val)
        if not self.ids:
            raise UserError(f"{self.root} (copy {self.layout.letter}) has no image of the split {split}")
        self._labeled_tasks_of: dict[str, tuple[str, ...]] = {}  # by image id
        self._partial_labels = partial_labels and split == "train" and Path(partial_labels)
        if self._partial_labels:
            self._labeled_tasks_of = read_partial_labels(self._partial_labels, self.layout.ids("train"))
        self.axes, self.axes_agreement = self._find_axes(normal_axes) if "normal" in self.tasks else (None, None)

    @property
    def kinds(self) -> list[str]:
        """The kinds of data that are read: "rgb", and the maps that the tasks need."""
        return _kinds_for(self.tasks)

    def _kinds_of(self, image_id: str) -> list[str]:
        """The kinds that are read for an image."""
        return _kinds_for({*self.tasks} & {*self._labeled_tasks_of.get(image_id, self.tasks)})

    def describe_source(self) -> dict[str, str | int | None]:
        """Facts that metrics depend on: copy, classes, stored size, normals, and how "val" was chosen."""
        facts = {
            "copy": f"{self.layout.letter}: {self.layout.title}",
            "classes": len(self.classes),
            "stored_size": self._stored_size(),
            "val": self.hold_out,
        }
        if self.axes:
            facts |= {"normals": self.layout.normal_source, "normal_axes": self.axes}
            facts["normal_axes_agreement"] = self.axes_agreement and round(self.axes_agreement, 3)
        if self._partial_labels:
            facts["partial_labels"] = f"{self._partial_labels.name} (sha256 {sha256(self._partial_labels)[:16]})"
        return facts

    def _stored_size(self) -> str:
        """Size of the first image that can be read, as bad samples may be skipped."""
        for image_id in self.ids:
            with suppress(UserError):
                height, width = self.layout.rgb(image_id).shape[:2]
                return f"{height}x{width}"
        raise UserError(f"{self.root} (copy {self.layout.letter}): none of the {len(self.ids)} images can be read")

    def missing_files(self) -> list[str]:
        paths = (path for image_id in self.ids for path in self.layout.files(image_id, self._kinds_of(image_id)))
        return [str(path) for path in paths if not path.is_file()]

    def __len__(self) -> int:
        return len(self.ids)

    def sample_names(self) -> list[str]:
        return self.ids

    def read(self, index: int) -> PerspectiveImage:
        """Read an image as stored, with normals in our camera frame.

        Raises:
            UserError: when one of its files is missing, damaged or in the wrong format.
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
                sizes = " and ".join("x".join(map(str, size)) for size in (image.rgb.shape[:2], shape))
                raise UserError(f"{self.root}, image {image_id}: RGB and {kind} differ in size, {sizes}")
        return image

    def _choose(self, split: str, hold_out_val: bool) -> tuple[list[str], int, str]:
        """Ids of a split, the number of images in the complete split, and how "val" was chosen."""
        if split == "test":
            return self.layout.ids("test"), COUNTS["test"], "not used"
        ids = self.layout.ids("train")
        kept_out, words = hold_out(ids, self.layout)
        if split == "train":
            kept = [image_id for image_id in ids if not (hold_out_val and image_id in kept_out)]
            return kept, COUNTS["train"] - (len(kept_out) if hold_out_val else 0), words if hold_out_val else "not used"
        return [image_id for image_id in ids if image_id in kept_out], len(kept_out), words

    def _find_axes(self, given: str | None) -> tuple[str, float | None]:
        """The axes of the stored normals, and their agreement with depth if determined by it."""
        if self.layout.normal_source.startswith("estimated"):
            return OUR_AXES, None
        if given:
            if given not in NORMAL_AXES:
                raise UserError(f"--normal_axes {given}: choose one of {', '.join(NORMAL_AXES)}")
            return given, None
        measured, errors = [], []
        ids = _evenly_spaced(self._ids_to_compare(), _MAX_COMPARED_IMAGES)
        for image_id in ids:
            try:
                measured.append(_measure_axes_of(self.layout, image_id))
            except UserError as error:  # bad samples are handled when they are loaded
                errors.append(error)
        if not measured:
            self.layout.normals(ids[0])  # raises if the normals, not the depth, are missing
            raise UserError(f"{errors[0]}: without depth, pass the axes of the normals as --normal_axes")
        try:
            return find_axes(add_measurements(measured))
        except UserError as error:
            raise UserError(
                f"{self.root} (copy {self.layout.letter}): {error}: pass the axes as --normal_axes"
            ) from error

    def _ids_to_compare(self) -> list[str]:
        """The training images, so that all splits find the same axes; without any, the images of the split."""
        try:
            return self.layout.ids("train") or self.ids
        except UserError:  # the copy has only test images
            return self.ids


def _measure_axes_of(layout: Layout, image_id: str) -> AxesMeasurement:
    """Compare the stored normals of an image with its depth."""
    depth = layout.depth(image_id)
    return measure_axes(layout.normals(image_id), implied_normals(depth, layout.camera(*depth.shape)))


def hold_out(ids: list[str], layout: Layout) -> tuple[set[str], str]:
    """About a tenth of the training images, for validation, and how they were chosen, in words.

    Whole scenes are held out if the copy identifies the scene of every image, as images of one scene look alike.
    """
    scenes = [layout.scene(image_id) for image_id in ids]
    by_scene = bool(ids) and all(scenes)
    chosen = held_out(ids, scenes if by_scene else ids)
    words = "whole scenes" if by_scene else "single images at random, as the copy tells no scenes"
    return chosen, f"{len(chosen)} of the {len(ids)} training images: {words}"


def _evenly_spaced(items: list[str], max_count: int) -> list[str]:
    indices = np.linspace(0, len(items) - 1, min(max_count, len(items))).round().astype(int)
    return [items[i] for i in np.unique(indices)]


def _kinds_for(tasks: Collection[str]) -> list[str]:
    return ["rgb", *(kind for task, kind in MAP_OF_TASK.items() if task in tasks)]

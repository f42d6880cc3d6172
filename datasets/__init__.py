"""Datasets of panoramas (`build_dataset`; samples: `datasets.panorama`) and of perspective images
(`build_perspective_dataset`; samples: `datasets.perspective`).

Importing this package is cheap: torch is not imported before a dataset is built.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.tasks import TASK_NAMES

if TYPE_CHECKING:
    from datasets.augment import Augmentation
    from datasets.panorama import PanoramaDataset
    from datasets.perspective import PerspectiveDataset
    from datasets.perspective_augment import PerspectiveAugmentation

# Module and class of each value of --dataset.
DATASETS = {
    "S2D3D": ("datasets.stanford2d3d", "Stanford2D3D"),
    "Struc3D": ("datasets.structured3d", "Structured3D"),
    "MP3D": ("datasets.matterport3d", "Matterport3D"),
    "Folder": ("datasets.folder", "Folder"),
    "Synthetic": ("datasets.synthetic", "SyntheticRooms"),
}
PERSPECTIVE_DATASETS = {
    "NYUv2": ("datasets.nyuv2", "NYUv2"),
    "VOC": ("datasets.voc", "VOC"),
    "COCO": ("datasets.coco", "COCO"),
    "NYU_BTS": ("datasets.nyu_bts", "NYUBTS"),
    "SyntheticNYU": ("datasets.synthetic_nyu", "SyntheticNYU"),
}
SPLITS = ("train", "val", "test")
CLASS_MAPS = ("nyu13",)  # see `datasets.class_maps`


def build_dataset(
    name: str,
    root: str | None,
    split: str,
    height: int = 512,
    width: int = 1024,
    augment: Augmentation | None = None,
    tasks: tuple[str, ...] = TASK_NAMES,
    **arguments,
) -> PanoramaDataset:
    """Build a dataset of panoramas.

    Args:
        name: a key of DATASETS.
        root: folder with the files; unused by ``Synthetic``.
        split: ``train``, ``val`` or ``test``.
        height, width: size of the samples in pixels, width = 2 * height.
        augment: random augmentation, for training.
        tasks: names of the tasks whose ground truth is read.
        arguments: arguments of specific datasets. ``Synthetic``: num_rooms, seed, cache_dir, rooms; all others:
            hold_out_val, list_file and, except ``Folder``, normal_frame (see `datasets.on_disk`); ``Struc3D``:
            metric_depth; ``S2D3D``: fold.

    Raises:
        UserError: when the name or the split is unknown, the root is missing, or no panorama is found.
    """
    dataset = _dataset_class(DATASETS, name, split)
    if name != "Synthetic":
        arguments["root"] = _require_root(root, name)
    return dataset(split=split, height=height, width=width, augment=augment, tasks=tasks, **arguments)


def build_perspective_dataset(
    name: str,
    root: str | None,
    split: str,
    height: int = 480,
    width: int = 640,
    augment: PerspectiveAugmentation | None = None,
    tasks: tuple[str, ...] = TASK_NAMES,
    **arguments,
) -> PerspectiveDataset:
    """Build a dataset of perspective images.

    Args:
        name: a key of PERSPECTIVE_DATASETS.
        root: folder with the files; unused by ``SyntheticNYU``.
        split: ``train``, ``val`` or ``test``.
        height, width: size of the samples in pixels.
        augment: random augmentation, for training; None: images are padded and resized.
        tasks: names of the tasks whose ground truth is read.
        arguments: arguments of specific datasets. ``SyntheticNYU``: num_rooms, seed; all others: hold_out_val;
            ``SyntheticNYU`` and ``NYUv2``: num_classes; ``NYUv2``: normal_axes, normals, raw_depth, partial_labels.

    Raises:
        UserError: when the name or the split is unknown, the root is missing, or no image is found.
    """
    dataset = _dataset_class(PERSPECTIVE_DATASETS, name, split)
    if name != "SyntheticNYU":
        arguments["root"] = _require_root(root, name)
    return dataset(split=split, height=height, width=width, augment=augment, tasks=tasks, **arguments)


def _dataset_class(datasets: dict[str, tuple[str, str]], name: str, split: str) -> type:
    if name not in datasets:
        raise UserError(f"--dataset {name}: choose one of {', '.join(datasets)}")
    if split not in SPLITS:
        raise UserError(f"split {split}: choose one of {', '.join(SPLITS)}")
    module, class_name = datasets[name]
    return getattr(import_module(module), class_name)


def _require_root(root: str | None, name: str) -> str:
    if root is None:
        raise UserError(f"--dataset {name} needs --dataset_rootdir, the folder with its files")
    return root

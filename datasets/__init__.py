"""Datasets: of panoramas (`build_dataset`, a sample: `datasets.panorama`) and of perspective images
(`build_perspective_dataset`, a sample: `datasets.perspective`).

Importing only this package is cheap: torch is imported when a dataset is built.
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

# The name in --dataset, and the module and class that hold it.
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
    """Make a dataset by its name in --dataset.

    Args:
        name: a key of DATASETS.
        root: folder of the files; not used by ``Synthetic``.
        split: ``train``, ``val`` or ``test``.
        height, width: size of the samples in pixels, width = 2 * height.
        augment: random augmentation, for training.
        tasks: names of the tasks whose ground truth is needed; no other is read.
        arguments: those that not all datasets take. ``Synthetic``: num_rooms, seed, cache_dir; those on disk:
            hold_out_val, list_file, normal_frame (see `datasets.on_disk`; not ``Folder``); ``Struc3D``: metric_depth;
            ``S2D3D``: fold.

    Raises:
        UserError: when the name or the split is unknown, the root is missing, or no panorama is found.
    """
    dataset = _dataset_class(DATASETS, name, split)
    if name != "Synthetic":
        arguments["root"] = _required(root, name)
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
    """Make a dataset of perspective images by its name in --dataset.

    Args:
        name: a key of PERSPECTIVE_DATASETS.
        root: folder of the files; not used by ``SyntheticNYU``.
        split: ``train``, ``val`` or ``test``.
        height, width: size of the samples in pixels.
        augment: makes random training images; None: images are padded and resized.
        tasks: names of the tasks whose ground truth is needed; no other is read.
        arguments: those that not all datasets take. ``SyntheticNYU``: num_rooms, seed; those on disk: hold_out_val;
            both of NYU's classes: num_classes; ``NYUv2``: normal_axes, normals, raw_depth, partial_labels.

    Raises:
        UserError: when the name or the split is unknown, the root is missing, or no image is found.
    """
    dataset = _dataset_class(PERSPECTIVE_DATASETS, name, split)
    if name != "SyntheticNYU":
        arguments["root"] = _required(root, name)
    return dataset(split=split, height=height, width=width, augment=augment, tasks=tasks, **arguments)


def _dataset_class(datasets: dict[str, tuple[str, str]], name: str, split: str) -> type:
    if name not in datasets:
        raise UserError(f"--dataset {name}: choose one of {', '.join(datasets)}")
    if split not in SPLITS:
        raise UserError(f"split {split}: choose one of {', '.join(SPLITS)}")
    module, class_name = datasets[name]
    return getattr(import_module(module), class_name)


def _required(root: str | None, name: str) -> str:
    if root is None:
        raise UserError(f"--dataset {name} needs --dataset_rootdir, the folder that holds it")
    return root

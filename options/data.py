"""First program (*_elite360m.py): from the command line to datasets of panoramas."""

import argparse
from pathlib import Path

from datasets import DATASETS, build_dataset
from datasets.augment import Augmentation
from datasets.loading import LoadingSettings
from datasets.on_disk import DiskPanoramaDataset
from datasets.panorama import PanoramaDataset
from options.elite360m import train_parser
from utils.errors import UserError
from utils.tasks import parse_tasks

NUM_TRAIN, NUM_VAL = 1000, 100  # rooms of Synthetic
_ON_DISK = tuple(name for name in DATASETS if name != "Synthetic")
# Flags that apply only to some datasets.
_DATASETS_OF_FLAG = {
    **dict.fromkeys(("num_train", "num_val", "cache_dir", "rooms"), ("Synthetic",)),
    **dict.fromkeys(("dataset_rootdir", "train_list", "val_list"), _ON_DISK),
    "normal_frame": tuple(name for name in _ON_DISK if name != "Folder"),  # it is in dataset.json
    "metric_depth": ("Struc3D",),
    "fold": ("S2D3D",),
}
_PASSED_ON = ("cache_dir", "rooms", "normal_frame", "metric_depth", "fold")  # to the dataset, with the same name


def training_set(options: argparse.Namespace) -> PanoramaDataset:
    """The training split, or the panoramas of --train_list, with augmentation.

    Raises:
        UserError: see `_open`.
    """
    augmentation = Augmentation(
        yaw=not options.disable_yaw_rotation_augmentation,
        flip=not options.disable_LR_flip_augmentation,
        color=not options.disable_color_augmentation,
        photo=options.photo_augmentation,
    )
    if options.dataset == "Synthetic":
        arguments = {"num_rooms": options.num_train or NUM_TRAIN}
    else:
        arguments = {"list_file": options.train_list, "hold_out_val": options.val_split == "val"}
    return _open(options, "train", options.height, options.width, augment=augmentation, **arguments)


def validation_set(options: argparse.Namespace) -> PanoramaDataset:
    """The split of --val_split, or the panoramas of --val_list.

    Raises:
        UserError: see `_open`.
    """
    return evaluation_set(options, options.val_split, options.height, options.width)


def evaluation_set(options: argparse.Namespace, split: str, height: int, width: int) -> PanoramaDataset:
    """A split of the dataset, or the panoramas of --val_list, at H x W.

    Raises:
        UserError: see `_open`.
    """
    if options.dataset == "Synthetic":
        arguments = {"num_rooms": options.num_val or NUM_VAL}
    else:
        arguments = {"list_file": options.val_list}
    return _open(options, split, height, width, **arguments)


def _open(options: argparse.Namespace, split: str, height: int, width: int, **arguments) -> PanoramaDataset:
    """A split of the dataset of --dataset, with the maps that --task needs.

    Raises:
        UserError: when flags are for another dataset, or it cannot be opened; when files are missing, unless bad
            samples may be skipped and some panoramas are complete.
    """
    defaults = train_parser()
    for flag, names in _DATASETS_OF_FLAG.items():
        default = defaults.get_default(flag)
        if getattr(options, flag, default) == default:  # the dataset's own default applies
            continue
        if options.dataset not in names:
            raise UserError(f"--{flag} is for --dataset {', '.join(names)}: drop it for {options.dataset}")
        if flag in _PASSED_ON:
            arguments[flag] = getattr(options, flag)
    lists = [flag for flag in ("train_list", "val_list") if hasattr(options, flag)]  # evaluation has only the latter
    if options.fold and all(getattr(options, flag) for flag in lists):  # no split is left that --fold could choose
        given = " and ".join(f"--{flag}" for flag in lists)
        raise UserError(f"--fold has no effect with {given}, which choose all panoramas: drop one of them")
    if options.cache_dir:  # here, not in a worker: fails with a clearer error
        Path(options.cache_dir).mkdir(parents=True, exist_ok=True)
    tasks = parse_tasks(options.task)
    dataset = build_dataset(options.dataset, options.dataset_rootdir, split, height, width, tasks=tasks, **arguments)
    if isinstance(dataset, DiskPanoramaDataset):
        _require_files(dataset, options)
    return dataset


def _require_files(dataset: DiskPanoramaDataset, options: argparse.Namespace) -> None:
    """Fail early, before the first step, if files are missing."""
    missing = dataset.missing_files()
    if not missing:
        return
    lost = set(missing)
    if not options.skip_bad_samples:
        remedy = "add them, or pass --skip_bad_samples to skip their panoramas"
    elif not any(lost.isdisjoint(files.paths()) for files in dataset.files):
        remedy = "add them: no panorama is complete, so --skip_bad_samples leaves none"
    else:
        return
    panoramas = f"the panoramas of {dataset.list_file}" if dataset.list_file else f"split {dataset.split}"
    noun, verb = ("files", "are") if len(lost) > 1 else ("file", "is")
    files = f"{len(lost)} {noun} that --task {options.task} reads {verb}"
    raise UserError(f"{files} missing from {panoramas}: {remedy}; the first is {dataset.root / missing[0]}")


def describe(dataset: PanoramaDataset, options: argparse.Namespace) -> str:
    """One line about a dataset: the number of panoramas, the unit of depth and the frame of the normals."""
    expected = dataset.expected_count if isinstance(dataset, DiskPanoramaDataset) else None
    missing = f" of the {expected} of the complete dataset" if expected not in (None, len(dataset)) else ""
    fold = f"fold {options.fold}, " if options.fold else ""
    parts = dataset.parts if isinstance(dataset, DiskPanoramaDataset) else (dataset.split,)
    return (
        f"{options.dataset}, {fold}split {' and '.join(parts)}: {len(dataset)} panoramas{missing}; depth in "
        f"{dataset.depth_unit}; normals in the {dataset.normal_frame} frame"
    )


def loading_settings(options: argparse.Namespace) -> LoadingSettings:
    """Options of data loading."""
    return LoadingSettings(options.batch_size, options.num_workers, options.skip_bad_samples)

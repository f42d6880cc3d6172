"""Datasets from command line options."""

import argparse
from pathlib import Path

from datasets import build_dataset
from datasets.augment import Augmentation
from datasets.loading import LoadingSettings
from datasets.on_disk import DiskPanoramaDataset
from datasets.panorama import PanoramaDataset
from utils.errors import UserError
from utils.tasks import parse_tasks


def open_dataset(options: argparse.Namespace, split: str, height: int, width: int) -> PanoramaDataset:
    """A split of the dataset that the options name, with the maps that their tasks need; augmented for training.

    Raises:
        UserError: when the dataset cannot be opened; when files are missing, unless bad samples may be skipped and
            some others are there.
    """
    if options.metric_depth and options.dataset != "Struc3D":
        raise UserError(
            f"--metric_depth is for Struc3D: the depth of {options.dataset} is always in metres, drop the flag"
        )
    if options.dataset == "Synthetic":
        _require_no_files(options)
        num_rooms = options.num_train if split == "train" and "num_train" in options else options.num_val
        special = {"num_rooms": num_rooms, "cache_dir": options.cache_dir}
        if options.cache_dir:
            Path(options.cache_dir).mkdir(
                parents=True, exist_ok=True
            )  # here, not in a worker: fails with a clearer error
    else:
        training = "train_list" in options
        special = {
            "hold_out_val": training and options.val_split == "val",
            "list_file": options.train_list if training and split == "train" else options.val_list,
            "normal_frame": options.normal_frame,
        }
        if options.dataset == "Struc3D":
            special["metric_depth"] = options.metric_depth
    augment = False
    if split == "train" and "disable_color_augmentation" in options:
        augment = Augmentation(
            yaw=not options.disable_yaw_rotation_augmentation,
            flip=not options.disable_LR_flip_augmentation,
            color=not options.disable_color_augmentation,
        )
    tasks = parse_tasks(options.task)
    dataset = build_dataset(options.dataset, options.dataset_rootdir, split, height, width, augment, tasks, **special)
    if isinstance(dataset, DiskPanoramaDataset):
        _require_files(dataset, options)
    return dataset


def _require_no_files(options: argparse.Namespace) -> None:
    """Reject options that Synthetic would ignore."""
    lists = [f"--{name}" for name in ("train_list", "val_list") if getattr(options, name, None)]
    if lists:
        raise UserError(f"{lists[0]} is for datasets on disk: drop it, Synthetic has --num_train and --num_val")
    if options.normal_frame != "camera":
        raise UserError(
            f"--normal_frame {options.normal_frame}: the normals of Synthetic are in the camera frame, drop the flag"
        )


def _require_files(dataset: DiskPanoramaDataset, options: argparse.Namespace) -> None:
    """Fail before the first step, not in the middle of a run, if files are missing."""
    missing = dataset.missing_files()
    if not missing:
        return
    lost = set(missing)
    if not options.skip_bad_samples:
        remedy = "add them, or pass --skip_bad_samples to skip their panoramas"
    elif not any(lost.isdisjoint(files.paths()) for files in dataset.files):
        remedy = "add them, as --skip_bad_samples would skip all panoramas"
    else:
        return
    lack = f"split {dataset.split} lacks {len(lost)} file{'s' * (len(lost) > 1)} that --task {options.task} reads"
    raise UserError(f"{lack}: {remedy}; {dataset.root / missing[0]} is missing")


def describe(dataset: PanoramaDataset, options: argparse.Namespace) -> str:
    """One line on what was opened: how many panoramas, of how many, and what depth and normals mean."""
    expected = dataset.expected_count if isinstance(dataset, DiskPanoramaDataset) else None
    missing = f" of the {expected} of the complete dataset" if expected not in (None, len(dataset)) else ""
    return (
        f"{options.dataset}, split {dataset.split}: {len(dataset)} panoramas{missing}; depth in {dataset.depth_unit}; "
        f"normals in the {dataset.normal_frame} frame"
    )


def loading_settings(options: argparse.Namespace) -> LoadingSettings:
    """The options that concern loading samples."""
    return LoadingSettings(options.batch_size, options.num_workers, options.skip_bad_samples)

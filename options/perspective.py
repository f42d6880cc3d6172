"""From the command line of train_achievement.py to datasets and settings."""

import argparse
from pathlib import Path

from datasets import build_perspective_dataset
from datasets.loading import LoadingSettings
from datasets.nyuv2 import NYUv2
from datasets.perspective import PerspectiveDataset
from datasets.perspective_augment import PerspectiveAugmentation
from networks.achievement_checkpoint import AchievementSettings
from options.achievement import REFERENCE_BATCH
from training.loop import LoopSettings
from training.optimizers import OptimizationSettings
from utils.distributed import world_size
from utils.errors import UserError

NUM_TRAIN, NUM_VAL = 800, 100  # images of SyntheticNYU
_OPTIMIZERS = {"sgd": "sgd", "rms_prop": "rmsprop", "adam": "adam", "adamw": "adamw"}  # the paper's names, ours
_LOWEST_RATE = 1e-5  # at which the schedule `plateau` ends
_OF_NYUV2 = ("normal_axes", "normals", "raw_depth")
_SYNTHETIC = "SyntheticNYU"


def training_set(options: argparse.Namespace) -> PerspectiveDataset:
    """The training split of --train_dataset, augmented.

    Raises:
        UserError: see `_open`; when it has not enough images for a batch.
    """
    arguments = (
        {"num_rooms": options.num_train or NUM_TRAIN}
        if options.train_dataset == _SYNTHETIC
        else {"hold_out_val": options.val_split == "val"}
    )
    augment = PerspectiveAugmentation(options.min_scale, options.max_scale)
    dataset = _open(options, options.train_dataset, "train", options.size, augment=augment, **arguments)
    own = len(dataset) // world_size()
    if own < options.batch_size:
        raise UserError(f"--batch_size {options.batch_size}: there are {own} training images per process: pass less")
    return dataset


def evaluation_set(options: argparse.Namespace, split: str, size: tuple[int, int]) -> PerspectiveDataset:
    """A split of --test_dataset at H x W.

    Raises:
        UserError: see `_open`.
    """
    arguments = {"num_rooms": options.num_val or NUM_VAL} if options.test_dataset == _SYNTHETIC else {}
    return _open(options, options.test_dataset, split, size, **arguments)


def _open(
    options: argparse.Namespace, name: str, split: str, size: tuple[int, int], **arguments: object
) -> PerspectiveDataset:
    """A split of a dataset, with the maps that --app needs.

    Raises:
        UserError: when flags are for another dataset, it cannot be opened, or files are missing.
    """
    used = (options.train_dataset, options.test_dataset)
    for flag in _OF_NYUV2:
        if getattr(options, flag) and "NYUv2" not in used:
            raise UserError(f"--{flag} is for NYUv2: drop it for {used[0]}")
    for flag in ("num_train", "num_val"):
        if getattr(options, flag) and _SYNTHETIC not in used:
            raise UserError(f"--{flag} is for SyntheticNYU: drop it for {used[0]}")
    if options.dataset_root and set(used) == {_SYNTHETIC}:
        raise UserError(f"--dataset_root is for datasets on disk: drop it for {_SYNTHETIC}")
    if options.num_classes and not {"NYUv2", _SYNTHETIC} & set(used):
        raise UserError(f"--num_classes is for NYUv2 and SyntheticNYU: drop it for {used[0]}")
    root = None
    if name != _SYNTHETIC:
        root = options.dataset_root
        if root is None:
            raise UserError(f"{name} needs --dataset_root, the folder that holds it")
    if name == "NYUv2":
        arguments |= {"num_classes": options.num_classes, "normal_axes": options.normal_axes}
        arguments |= {"normals": options.normals, "raw_depth": options.raw_depth}
    elif name == _SYNTHETIC and options.num_classes:
        arguments["num_classes"] = options.num_classes
    dataset = build_perspective_dataset(name, root, split, *size, tasks=tuple(options.app), **arguments)
    for task in dataset.tasks:
        if task not in dataset.labeled_tasks:
            raise UserError(f"--app {task}: {name} has no ground truth of it")
    if not options.skip_bad_samples and (missing := dataset.missing_files()):
        raise UserError(
            f"{len(missing)} files of split {split} are missing: add them, or pass --skip_bad_samples to skip their "
            f"images; the first is {missing[0]}"
        )
    return dataset


def describe(dataset: PerspectiveDataset) -> str:
    """One line on what was opened: how many images, of how many, and what they are."""
    expected = dataset.expected_count if isinstance(dataset, NYUv2) else len(dataset)
    missing = f" of the {expected} of the complete dataset" if expected != len(dataset) else ""
    facts = ", ".join(f"{name} {value}" for name, value in dataset.describe_source().items() if value is not None)
    return (
        f"{dataset.name}, split {dataset.split}: {len(dataset)} images{missing}; {facts}; depth in {dataset.depth_unit}"
    )


def loading_settings(options: argparse.Namespace) -> LoadingSettings:
    """The options that concern loading samples."""
    return LoadingSettings(options.batch_size, options.num_workers, options.skip_bad_samples, drop_last=True)


def effective_rate(options: argparse.Namespace) -> float:
    """The learning rate: --lr for the images of a step."""
    return options.lr * options.batch_size * world_size() / REFERENCE_BATCH


def optimization_settings(options: argparse.Namespace, steps_per_epoch: int) -> OptimizationSettings:
    """How weights are updated."""
    cold = options.cold_epoch * steps_per_epoch
    return OptimizationSettings(
        num_steps=options.num_epochs * steps_per_epoch,
        optimizer=_OPTIMIZERS[options.optim],
        learning_rate=effective_rate(options),
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        decays_all=not options.tencent_trick,
        schedule=options.scheduler,
        plateau_factor=options.factor,
        plateau_patience=options.patience,
        plateau_floor=_LOWEST_RATE,
        milestones=(cold, cold + options.freeze_epoch * steps_per_epoch),
        num_warmup_steps=options.warmup_epoch * steps_per_epoch,
        ema_decay=options.model_ema_momentum if options.model_ema else 0.0,
        fp16=options.amp == "fp16",
    )


def loop_settings(options: argparse.Namespace) -> LoopSettings:
    """How long and in which steps to train."""
    return LoopSettings(
        num_epochs=options.num_epochs,
        save_steps=options.save_steps,
        max_bad_steps=options.max_bad_steps,
        log_grad_norms=options.log_grad_norms,
    )


def model_settings(options: argparse.Namespace, train_set: PerspectiveDataset) -> AchievementSettings:
    """What the network is, and what its predictions mean."""
    return AchievementSettings(
        backbone=options.basenet,
        tasks=tuple(options.app),
        height=options.size[0],
        width=options.size[1],
        dataset=options.train_dataset,
        class_names=train_set.classes.names,
        class_colours=train_set.classes.colors,
        depth_unit=train_set.depth_unit,
        normal_frame=train_set.normal_frame,
        arch=options.arch,
        normal_size=options.normal_size,
        output_stride=options.output_stride,
        skip_connection=options.skip_connection,
        shared_head=options.shared_head,
        source=train_set.describe_source(),
    )


def run_folder_of(options: argparse.Namespace) -> Path:
    """The folder of a training: as in the released code."""
    height, width = options.size
    network = f"{options.arch}_{options.basenet}_{options.test_dataset}_{height}x{width}"
    return Path(options.log_dir) / network / options.subfolder

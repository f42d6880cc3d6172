"""Second program (train_achievement.py, eval_achievement.py): from options to datasets, networks and settings."""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from datasets import build_perspective_dataset
from datasets.joint import join
from datasets.loading import LoadingSettings, evaluation_batches
from datasets.nyuv2 import NYUv2
from datasets.perspective import PerspectiveDataset
from datasets.perspective_augment import PerspectiveAugmentation
from networks.achievement_checkpoint import AchievementSettings, load_achievement_checkpoint
from networks.saved_network import find_checkpoint, load_state
from options.achievement_groups import REFERENCE_BATCH
from options.groups import pretrained_of
from tasks.epoch_end import ValidationSet
from tasks.perspective import DetectionOptions, build_evaluator, perspective_tasks, tasks_with_labels
from tasks.task import Task
from training.loop import LoopSettings
from training.optimizers import OptimizationSettings
from utils.distributed import world_size
from utils.errors import UserError
from utils.tasks import CLASS_TASKS

NUM_TRAIN, NUM_VAL = 800, 100  # images of SyntheticNYU
_OPTIMIZERS = {"sgd": "sgd", "rms_prop": "rmsprop", "adam": "adam", "adamw": "adamw"}  # the released names, ours
_LOWEST_RATE = 1e-5  # of the schedule `plateau`
_NYU, _SYNTHETIC = "NYUv2", "SyntheticNYU"


def training_set(options: argparse.Namespace) -> PerspectiveDataset:
    """The training splits of --train_dataset, with augmentation.

    Raises:
        UserError: see `_open`; when they have too few images for a batch, or cannot be combined.
    """
    augment = PerspectiveAugmentation(options.min_scale, options.max_scale)
    datasets = []
    for name in options.train_dataset.split("+"):
        arguments = {"hold_out_val": options.val_split == "val"}
        if name == _SYNTHETIC:
            arguments = {"num_rooms": options.num_train or NUM_TRAIN}
        elif name == _NYU:
            arguments["partial_labels"] = options.partial_labels
        datasets.append(_open(options, name, "train", options.size, augment=augment, **arguments))
    _require_labels("--train_dataset", datasets, options.app)
    dataset = join(datasets)
    if options.mix_ratio and not 1 < len(datasets) == len(options.mix_ratio):
        raise UserError(f"--mix_ratio: {len(options.mix_ratio)} numbers: pass one for each of several --train_dataset")
    own = len(dataset) // world_size()
    if own < options.batch_size:
        raise UserError(f"--batch_size {options.batch_size}: pass at most {own}, the training images of a process")
    return dataset


def evaluation_sets(options: argparse.Namespace, split: str, size: tuple[int, int]) -> list[PerspectiveDataset]:
    """A split of each --test_dataset at H x W.

    Raises:
        UserError: see `_open`; when no dataset, or more than one, has ground truth of a task.
    """
    datasets = []
    for name in options.test_dataset.split("+"):
        arguments = {"num_rooms": options.num_val or NUM_VAL} if name == _SYNTHETIC else {}
        datasets.append(_open(options, name, split, size, **arguments))
    _require_labels("--test_dataset", datasets, options.app)
    for task in options.app:
        having = [dataset.name for dataset in datasets if task in dataset.labeled_tasks]
        if len(having) > 1:
            raise UserError(
                f"--test_dataset: {' and '.join(having)} have ground truth of {task}: pass only one of them"
            )
    return datasets


def _require_labels(flag: str, datasets: list[PerspectiveDataset], tasks: list[str]) -> None:
    """Make sure that each task has ground truth in a dataset, and each dataset has ground truth of a task."""
    names = " and ".join(dataset.name for dataset in datasets)
    verb = "has" if len(datasets) == 1 else "have"
    for task in tasks:
        if not any(task in dataset.labeled_tasks for dataset in datasets):
            raise UserError(f"--app {task}: {names} of {flag} {verb} no ground truth: drop the task")
    for dataset in datasets:
        if not set(tasks) & set(dataset.labeled_tasks):
            raise UserError(f"{flag}: {dataset.name} has no ground truth of --app {' '.join(tasks)}: drop it")


def _open(
    options: argparse.Namespace, name: str, split: str, size: tuple[int, int], **arguments: object
) -> PerspectiveDataset:
    """A split of a dataset, with the maps that --app needs.

    Raises:
        UserError: when flags are for another dataset, it cannot be opened, or files are missing.
    """
    _check_flags(options)
    root = None
    if name != _SYNTHETIC:
        root = options.dataset_root
        if root is None:
            raise UserError(f"{name} needs --dataset_root: pass the folder that contains it")
        if not Path(root).is_dir():
            raise UserError(f"--dataset_root {root} is not a folder: pass the folder that contains {name}")
    if name == _NYU:
        arguments |= {"num_classes": options.num_classes, "normal_axes": options.normal_axes}
        arguments |= {"normals": options.normals, "raw_depth": options.raw_depth}
    elif name == _SYNTHETIC and options.num_classes:
        arguments["num_classes"] = options.num_classes
    dataset = build_perspective_dataset(name, root, split, *size, tasks=tuple(options.app), **arguments)
    if not options.skip_bad_samples and (missing := dataset.missing_files()):
        raise UserError(
            f"split {split} lacks {len(missing)} of its files: add them, or pass --skip_bad_samples to skip their "
            f"images; the first is {missing[0]}"
        )
    return dataset


def _check_flags(options: argparse.Namespace) -> None:
    """Make sure that flags for certain datasets are only passed with one of them."""
    used = {*options.train_dataset.split("+"), *options.test_dataset.split("+")}
    of_datasets = {
        **dict.fromkeys(("normal_axes", "normals", "raw_depth", "partial_labels"), (_NYU,)),
        **dict.fromkeys(("num_train", "num_val"), (_SYNTHETIC,)),
        "num_classes": (_NYU, _SYNTHETIC),
    }
    for flag, names in of_datasets.items():
        if getattr(options, flag) and not used.intersection(names):
            raise UserError(f"--{flag} is for {' and '.join(names)}: drop it for {options.train_dataset}")
    if options.dataset_root and used == {_SYNTHETIC}:
        raise UserError(f"--dataset_root is for datasets on disk: drop it for {_SYNTHETIC}")


def describe(dataset: PerspectiveDataset) -> str:
    """One line about a dataset: the number of images, and facts about its ground truth."""
    expected = dataset.expected_count if isinstance(dataset, NYUv2) else len(dataset)
    missing = f" of the {expected} of the complete dataset" if expected != len(dataset) else ""
    known = [
        f"{name} {value}"
        for name, value in dataset.describe_source().items()
        if value is not None and not (value == 0 and name.endswith("classes"))  # has only depth
    ]
    facts = [", ".join(known)] if known else []
    if "depth" in dataset.labeled_tasks:
        facts.append(f"depth in {dataset.depth_unit}")
    return f"{dataset.name}, split {dataset.split}: {'; '.join([f'{len(dataset)} images{missing}', *facts])}"


def tasks_of(options: argparse.Namespace, cls_head: str | None = None, with_coco: bool = False) -> dict[str, Task]:
    """The tasks of --app.

    Args:
        options: command line options.
        cls_head: --cls_head of the network's training; None: that of the options.
        with_coco: see `metrics.detection.DetectionMetric`.
    """
    detection = DetectionOptions(
        size=tuple(options.size),
        cls_head=cls_head or options.cls_head,
        cls_loss_type=options.cls_loss_type,
        loc_loss_type=options.loc_loss_type,
        iou_aware=options.iou_aware_cls,
        loc_weight=options.loc_weight,
        with_coco=with_coco,
    )
    return perspective_tasks(tuple(options.app), options.label_smoothing, detection)


def require_same_classes(
    datasets: list[PerspectiveDataset], settings: AchievementSettings, options: argparse.Namespace
) -> None:
    """Make sure that the test datasets have the classes of the training.

    Raises:
        UserError: when they are not.
    """
    for dataset in datasets:
        has_classes = set(CLASS_TASKS) & set(settings.tasks) & set(dataset.labeled_tasks)
        if has_classes and dataset.classes.names != settings.class_names:
            raise UserError(f"--test_dataset {dataset.name}: its classes are not those of {options.train_dataset}")


def validation_sets(
    options: argparse.Namespace,
    datasets: list[PerspectiveDataset],
    tasks: Mapping[str, Task],
    device: torch.device,
    in_training: bool = False,
) -> tuple[ValidationSet, ...]:
    """The images of each dataset, with an evaluator for the tasks for which it has ground truth.

    Args:
        in_training: see `evaluation_batches`.
    """
    return tuple(
        ValidationSet(
            evaluation_batches(dataset, loading_settings(options), device, in_training=in_training),
            partial(build_evaluator, tasks_with_labels(tasks, dataset), len(dataset.classes), device),
        )
        for dataset in datasets
    )


def loading_settings(options: argparse.Namespace) -> LoadingSettings:
    """Options of data loading."""
    mix_ratio = tuple(options.mix_ratio) if options.mix_ratio else None
    return LoadingSettings(options.batch_size, options.num_workers, options.skip_bad_samples, True, mix_ratio)


def effective_rate(options: argparse.Namespace) -> float:
    """The learning rate: --lr scaled to the number of images per step."""
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
    """The architecture of the network, and the meaning of its predictions."""
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
        head_type=options.head_type,
        activation=options.activation,
        cls_head=options.cls_head,
        source=train_set.describe_source(),
    )


def initial_network(options: argparse.Namespace, settings: AchievementSettings, resumed: bool) -> torch.nn.Module:
    """The network with its initial weights: ImageNet weights in the backbone, random ones, or those of --ckpt.

    For a resumed run, which restores its weights afterwards, they are random.

    Raises:
        UserError: when weights cannot be loaded, or are of another architecture.
    """
    is_new = not (resumed or options.ckpt)
    network = settings.build_network(pretrained=is_new and pretrained_of(options))
    if options.ckpt and not resumed:
        checkpoint = load_achievement_checkpoint(find_checkpoint(options.ckpt))
        checkpoint.require_same_architecture(settings)
        load_state(network, checkpoint.network, checkpoint.path)
    return network


def run_folder_of(options: argparse.Namespace) -> Path:
    """The folder of a training, as in the released code."""
    height, width = options.size
    network = f"{options.arch}_{options.basenet}_{options.test_dataset}_{height}x{width}"
    return Path(options.log_dir) / network / options.subfolder

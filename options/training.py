"""First program (train_elite360m.py): from the command line to the settings and initial weights of a training."""

import argparse
from pathlib import Path

from datasets.panorama import PanoramaDataset
from losses.balancing.base import Balancing
from networks.backbones import folder_of
from networks.checkpoint import ModelSettings
from networks.saved_network import load_state
from options.groups import pretrained_of
from tasks.build import build_objective, network_from
from training.loop import LoopSettings
from training.objective import TrainingObjective
from training.optimizers import OptimizationSettings
from training.setup import AMP_TYPES


def optimization_settings(options: argparse.Namespace, steps_per_epoch: int) -> OptimizationSettings:
    """How weights are updated."""
    return OptimizationSettings(
        num_steps=options.num_epochs * steps_per_epoch,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        schedule=options.lr_schedule,
        num_warmup_steps=options.warmup_epochs * steps_per_epoch,
        grad_clip=options.grad_clip,
        ema_decay=options.ema_decay,
        fp16=options.amp == "fp16",
    )


def loop_settings(options: argparse.Namespace) -> LoopSettings:
    """How long and in which steps to train."""
    return LoopSettings(
        num_epochs=options.num_epochs,
        grad_accum=options.grad_accum,
        save_steps=options.save_steps,
        max_bad_steps=options.max_bad_steps,
        log_grad_norms=options.log_grad_norms,
    )


def model_settings(options: argparse.Namespace, tasks: tuple[str, ...], train_set: PanoramaDataset) -> ModelSettings:
    """The architecture of the network, and the meaning of its predictions."""
    return ModelSettings(
        backbone=options.backbone,
        tasks=tasks,
        ico_level=options.ico_level,
        height=options.height,
        width=options.width,
        dataset=options.dataset,
        class_names=train_set.classes.names,
        class_colours=train_set.classes.colors,
        depth_unit=train_set.depth_unit,
        normal_frame=train_set.normal_frame,
        fusion=options.fusion,
        b2f=options.b2f,
        cross_task=options.cross_task,
        intermediate=not options.no_intermediate_losses,
        fold=options.fold,
    )


def initial_objective(
    options: argparse.Namespace, settings: ModelSettings, balancing: Balancing, resumed: bool
) -> TrainingObjective:
    """The network with its initial weights, and its losses.

    The weights are ImageNet weights in the ERP encoder, random ones, or those of --load_weights_dir; with the latter,
    weights that the balancing method has learned are taken over if method and tasks are the same. For a resumed run,
    which restores its weights afterwards, they are random.

    Raises:
        UserError: when weights cannot be loaded, or are of another architecture.
    """
    amp_type = AMP_TYPES[options.amp]
    if resumed or not options.load_weights_dir:
        network = settings.build_network(pretrained=not resumed and pretrained_of(options))
        return build_objective(network, balancing, amp_type)
    relative_run = Path(options.task) / folder_of(options.backbone)
    network, checkpoint = network_from(options.load_weights_dir, relative_run, settings)
    is_same_sum = (checkpoint.balancing, checkpoint.settings.tasks) == (options.balancing, settings.tasks)
    if is_same_sum and list(balancing.parameters()):  # learned weights
        load_state(balancing, checkpoint.weighting, checkpoint.path, f"--balancing {options.balancing}")
    return build_objective(network, balancing, amp_type)

"""From the command line to the settings of a training."""

import argparse

from datasets.panorama import PanoramaDataset
from networks.checkpoint import ModelSettings
from training.loop import LoopSettings
from training.optimizers import OptimizationSettings


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
    """What the network is, and what its predictions mean."""
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

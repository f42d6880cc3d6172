"""Timing optimizer steps with different training options."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.data import Dataset, default_collate

from datasets.classes import STANFORD2D3D
from datasets.nyuv2_classes import NYUV2_40
from datasets.synthetic import SyntheticRooms
from datasets.synthetic_nyu import SyntheticNYU
from losses.balancing import build_balancing
from networks.elite360m import Elite360M
from networks.ops.recompute import recompute_everywhere
from options import achievement, elite360m, perspective
from options.achievement import parse_training
from options.balancing import balancing_settings
from options.elite360m import train_parser
from options.training import optimization_settings
from tasks.build import build_objective, loss_weights
from tasks.perspective import perspective_tasks
from training.objective import TrainingObjective
from training.optimizers import OptimizationSettings
from training.setup import AMP_TYPES, prepare_device, prepare_network
from training.step import Stepper
from utils.distributed import distribute
from utils.tasks import parse_tasks

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
StepperAndBatch = Callable[[list[str], torch.device], tuple[Stepper, dict]]


def stepper_and_batch(arguments: list[str], device: torch.device) -> tuple[Stepper, dict]:
    """The `Stepper` of an Elite360M training with these options, and a batch of synthetic rooms."""
    options = train_parser().parse_args(arguments)
    prepare_device(options.deterministic, tf32=not options.no_tf32)
    recompute_everywhere(options.recompute)
    tasks = parse_tasks(options.task)
    torch.manual_seed(options.seed)
    network = Elite360M(
        options.backbone,
        len(STANFORD2D3D),
        tasks,
        options.ico_level,
        pretrained=False,
        fusion=options.fusion,
        b2f=options.b2f,
        cross_task=options.cross_task,
        intermediate=not options.no_intermediate_losses,
    )
    prepare_network(network, options.channels_last, options.compile)
    chosen = balancing_settings(options, loss_weights(tasks), elite360m.BALANCING_RULES)
    method = build_balancing(tasks=tasks, **chosen)
    objective = build_objective(network, method, AMP_TYPES[options.amp])
    rooms = SyntheticRooms("train", options.batch_size, options.height, options.width)
    return _stepper(objective, optimization_settings(options, steps_per_epoch=1), device), _batch(rooms, device)


def perspective_stepper_and_batch(arguments: list[str], device: torch.device) -> tuple[Stepper, dict]:
    """The `Stepper` of a training of the second program with these options, and a batch of synthetic rooms."""
    options = parse_training(arguments)
    prepare_device(options.deterministic, tf32=not options.no_tf32)
    tasks = perspective_tasks(tuple(options.app), options.label_smoothing)
    torch.manual_seed(options.seed)
    classes = options.num_classes or len(NYUV2_40)
    rooms = SyntheticNYU("train", options.batch_size, *options.size, tasks=tuple(tasks), num_classes=classes)
    network = perspective.model_settings(options, rooms).build_network()
    prepare_network(network, options.channels_last, options.compile)
    weights = {name: task.loss_weight for name, task in tasks.items()}
    chosen = balancing_settings(options, weights, achievement.BALANCING_RULES)
    method = build_balancing(tasks=tuple(tasks), **chosen)
    objective = build_objective(network, method, AMP_TYPES[options.amp], tasks)
    settings = perspective.optimization_settings(options, steps_per_epoch=1)
    return _stepper(objective, settings, device), _batch(rooms, device)


def step_of(arguments: list[str], build: StepperAndBatch = stepper_and_batch) -> Callable[[], object]:
    """A function that takes an optimizer step on a batch of synthetic rooms.

    Args:
        arguments: training options.
        build: `stepper_and_batch` or `perspective_stepper_and_batch`, depending on the program of the options.
    """
    stepper, batch = build(arguments, DEVICE)
    return lambda: stepper.step([batch])


def _stepper(objective: TrainingObjective, settings: OptimizationSettings, device: torch.device) -> Stepper:
    stepper = Stepper(objective, distribute(objective, device), settings, device)
    objective.train()
    return stepper


def _batch(rooms: Dataset, device: torch.device) -> dict:
    batch = default_collate([rooms[i] for i in range(len(rooms))])
    return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def relative_time(call: Callable[[], object], reference: Callable[[], object], num_calls: int) -> float:
    """Median ratio of the times of a call and the reference, which alternate."""
    _seconds(call), _seconds(reference)  # warm-up
    return median(_seconds(call) / _seconds(reference) for _ in range(num_calls))


def _seconds(call: Callable[[], object]) -> float:
    start = clock()
    call()
    return clock() - start


def clock() -> float:
    """Seconds, after synchronizing the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()

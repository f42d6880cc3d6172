"""Timing optimizer steps of trainings with different options."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.data import default_collate

from datasets.classes import STANFORD2D3D
from datasets.synthetic import SyntheticRooms
from losses.balancing import build_balancing
from networks.elite360m import Elite360M
from options.balancing import balancing_settings
from options.elite360m import train_parser
from options.training import optimization_settings
from tasks.build import build_objective
from training.setup import AMP_TYPES, prepare_device, prepare_network
from training.step import Stepper
from utils.distributed import distribute
from utils.tasks import parse_tasks

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def step_of(arguments: list[str]) -> Callable[[], object]:
    """A function that runs one optimizer step on a batch of synthetic rooms, with these training options."""
    stepper, batch = stepper_and_batch(arguments, DEVICE)
    return lambda: stepper.step([batch])


def stepper_and_batch(arguments: list[str], device: torch.device) -> tuple[Stepper, dict]:
    """What takes the steps of a training with these options, and a batch of synthetic rooms."""
    options = train_parser().parse_args(arguments)
    prepare_device(options.deterministic)
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
    method = build_balancing(tasks=tasks, **balancing_settings(options, tasks))
    objective = build_objective(network, method, AMP_TYPES[options.amp])
    optimization = optimization_settings(options, steps_per_epoch=1)
    stepper = Stepper(objective, distribute(objective, device), optimization, device)
    objective.train()
    rooms = SyntheticRooms("train", options.batch_size, options.height, options.width)
    batch = default_collate([rooms[i] for i in range(options.batch_size)])
    batch = {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    return stepper, batch


def relative_time(some: Callable[[], object], reference: Callable[[], object], num_calls: int) -> float:
    """Time of a call relative to the reference, alternating: the median of the ratios."""
    _seconds(some), _seconds(reference)
    return median(_seconds(some) / _seconds(reference) for _ in range(num_calls))


def _seconds(call: Callable[[], object]) -> float:
    start = _clock()
    call()
    return _clock() - start


def _clock() -> float:
    """Seconds, after synchronizing the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()

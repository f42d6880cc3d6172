"""Both programs: option groups that are independent of network and dataset.

Only the first program uses `add_optimization_options` and `add_balancing_options`; those of the second are in
`options.achievement_groups`. Nothing here imports torch.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from losses.balancing import BALANCINGS
from options.parser import count, fraction, positive, rate, seed
from utils.errors import UserError
from utils.tasks import TASK_NAMES

PREDICTION_KINDS = ("depth", "normal", "labels", "panel", "ply", "glb", "mesh")  # values of --save
BOXES = "boxes"  # a further value, for networks with detection

# Flags that apply only to some balancing methods, and the arguments of the methods that they set.
FLAGS_OF_METHODS = {
    "loss_weights": "loss_weights",
    "potential": "potential",
    "potential_from": "potential",
    "margin": "margin",
    "focusing_factor": "focusing_factor",
    "keep_exponents": "keep_exponents",
}


class BalancingRules(NamedTuple):
    """Differences between the balancing options of the two programs.

    Attributes:
        tasks: names of all tasks of the program.
        validation_options: names of the options that accuracies depend on, besides the training itself.
        method_flag: the flag of the method.
        method_name: returns the name of a method on the command line, given its name in `BALANCINGS`.
        potential: --potential with its values, for messages.
    """

    tasks: tuple[str, ...]
    validation_options: tuple[str, ...]
    method_flag: str
    method_name: Callable[[str], str]
    potential: str


def add_optimization_options(parser: argparse.ArgumentParser, num_epochs: int, learning_rate: float) -> None:
    """How long to train, and how weights are updated; most defaults are those of the paper."""
    group = parser.add_argument_group("optimization")
    group.add_argument(
        "--num_epochs", type=positive, default=num_epochs, metavar="N", help="passes over the training set"
    )
    group.add_argument(
        "--batch_size", type=positive, default=1, metavar="N", help="images per process and forward pass"
    )
    group.add_argument(
        "--grad_accum",
        type=positive,
        default=1,
        metavar="N",
        help="batches per optimizer step, all of whose labeled pixels have the same weight; see docs/train.md",
    )
    group.add_argument(
        "--learning_rate", type=rate, default=learning_rate, metavar="RATE", help="learning rate of AdamW"
    )
    group.add_argument(
        "--lr_schedule",
        default="none",
        choices=("none", "cosine", "poly"),
        help="schedule of the learning rate after the warm-up: constant, half a cosine, or (1 - progress)^0.9",
    )
    group.add_argument("--warmup_epochs", type=count, default=0, metavar="N", help="epochs of linear warm-up")
    group.add_argument("--weight_decay", type=rate, default=0.0, metavar="RATE", help="decoupled weight decay")
    group.add_argument(
        "--grad_clip", type=rate, default=0.0, metavar="NORM", help="clip gradients to this norm; 0: off"
    )
    group.add_argument(
        "--ema_decay",
        type=fraction,
        default=0.0,
        metavar="D",
        help="evaluate and save a moving average of the weights; 0: off",
    )
    add_max_bad_steps(group)
    group.add_argument(
        "--seed", type=seed, default=100, metavar="N", help="seed of weights, shuffling and augmentation"
    )


def add_max_bad_steps(group: argparse._ArgumentGroup) -> None:
    """When a training is aborted."""
    group.add_argument(
        "--max_bad_steps",
        type=positive,
        default=10,
        metavar="N",
        help="abort after N consecutive steps with a non-finite loss or gradient",
    )


def add_balancing_options(parser: argparse.ArgumentParser) -> None:
    """How the losses of the tasks are combined."""
    group = parser.add_argument_group("balancing of the tasks' losses")
    optional = [name for name, method in BALANCINGS.items() if method.needs_torchjd]
    group.add_argument(
        "--balancing",
        default="uncertainty",
        choices=tuple(BALANCINGS),
        metavar="NAME",
        help=f"{', '.join(name for name in BALANCINGS if name not in optional)}; with torchjd: {', '.join(optional)}",
    )
    group.add_argument(
        "--loss_weights",
        type=task_value,
        nargs="+",
        metavar="TASK=WEIGHT",
        help="uncertainty, fixed: loss weights; default: the released code's",
    )
    group.add_argument(
        "--potential",
        type=task_value,
        nargs="+",
        metavar="TASK=ACCURACY",
        help="achievement: accuracy that single-task training reaches: fraction of pixels with delta < 1.25 (depth) "
        "or below 11.25 degrees (normal), mIoU (segmentation)",
    )
    group.add_argument(
        "--potential_from", nargs="+", metavar="RUN", help="achievement: run folders of single-task trainings"
    )
    group.add_argument(
        "--margin",
        type=rate,
        metavar="M",
        help="achievement: relative margin added to each potential; default: 0.05",
    )
    group.add_argument(
        "--focusing_factor",
        type=rate,
        metavar="G",
        help="achievement, dtp: exponent of the remaining gap; default: 2",
    )
    add_keep_exponents(group)


def add_keep_exponents(group: argparse._ActionsContainer) -> None:
    """How geometric means treat a batch without labels of a task."""
    group.add_argument(
        "--keep_exponents",
        action="store_const",
        const=True,
        help="geometric means: in a batch without labels of a task, keep the exponents of the other tasks instead of "
        "scaling them to a sum of one",
    )


def add_backbone_weights(group: argparse._ActionsContainer) -> None:
    """ImageNet weights of the backbone without a download."""
    group.add_argument(
        "--backbone_weights",
        metavar="FILE",
        help="initial weights of the backbone, instead of downloaded ones: a state dict of the whole classification "
        "network",
    )


def check_backbone_weights(options: argparse.Namespace, weights_option: str) -> None:
    """Check that at most one option determines the initial weights of the backbone.

    Args:
        options: command line options.
        weights_option: name of the option for the weights of the whole network.

    Raises:
        UserError: when there are two.
    """
    for other in ("no_pretrained", weights_option):
        if options.backbone_weights and getattr(options, other):
            raise UserError(f"--backbone_weights and --{other} both determine the initial weights: drop one of the two")


def pretrained_of(options: argparse.Namespace) -> bool | Path:
    """The initial weights of the backbone: a file, downloaded (True), or random (False)."""
    return Path(options.backbone_weights) if options.backbone_weights else not options.no_pretrained


def add_speed_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Options that change the speed and memory of training, but not its result, up to rounding."""
    group = add_inference_speed_options(parser)
    group.add_argument("--deterministic", action="store_true", help="use deterministic GPU algorithms (slower)")
    return group


def add_inference_speed_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Options that change the speed and memory of a network, but not its predictions, up to rounding."""
    group = parser.add_argument_group("speed")
    group.add_argument(
        "--amp",
        nargs="?",
        const="fp16",
        default="off",
        choices=("off", "bf16", "fp16"),
        help="mixed precision (autocast); fp16 if no value is given",
    )
    group.add_argument("--no_tf32", action="store_true", help="do not round float32 products to TF32 on a GPU (slower)")
    group.add_argument("--compile", action="store_true", help="compile the network (torch.compile)")
    group.add_argument("--channels_last", action="store_true", help="lay out feature maps with channels last")
    return group


def add_device_options(group: argparse._ActionsContainer, one_process: bool = False) -> None:
    """Which device to use. `one_process`: the program cannot be started with several processes."""
    group.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="auto: a GPU if there is one, else the CPU"
    )
    launcher = "" if one_process else "; several are accepted, and ignored, with torchrun, which assigns GPUs itself"
    group.add_argument(
        "--gpu_devices",
        type=int,
        nargs=1 if one_process else "+",
        default=[0],
        metavar="I",
        help=f"index of the GPU to use{launcher}",
    )


def add_run_options(
    parser: argparse.ArgumentParser,
    log_dir: str,
    log_frequency: int,
    aliases: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> argparse._ArgumentGroup:
    """Where results are written, and which device is used. `aliases`: additional flags by flag."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--log_dir",
        *aliases.get("--log_dir", ()),
        default=log_dir,
        metavar="DIR",
        help="folder for the results",
    )
    group.add_argument(
        "--log_frequency",
        *aliases.get("--log_frequency", ()),
        type=positive,
        default=log_frequency,
        metavar="N",
        help="training steps between logged values; images of every N-th validation batch are drawn",
    )
    add_device_options(group)
    group.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)  # passed by old launchers
    return group


def add_saving_options(
    group: argparse._ArgumentGroup, aliases: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> None:
    """Saving and resuming a training; for `group` and `aliases` see `add_run_options`."""
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue the run in --log_dir")
    existing.add_argument("--overwrite", action="store_true", help="delete the run in --log_dir and start a new one")
    group.add_argument(
        "--save_steps", type=positive, default=1000, metavar="N", help="optimizer steps between saved states"
    )
    group.add_argument(
        "--save_frequency",
        *aliases.get("--save_frequency", ()),
        type=positive,
        default=10,
        metavar="N",
        help="epochs between kept checkpoints (models/weights_EPOCH); the last and the best ones are always kept",
    )
    group.add_argument("--max_minutes", type=rate, metavar="M", help="save the state and stop after M minutes")
    group.add_argument(
        "--log_grad_norms", action="store_true", help="log each task's gradient norm at the last shared layer"
    )


def add_mismatch_option(group: argparse._ActionsContainer, tasks: tuple[str, ...] = TASK_NAMES) -> None:
    """Tasks to evaluate even if predictions and ground truth differ in their meaning."""
    group.add_argument(
        "--allow_mismatch",
        nargs="+",
        choices=tasks,
        default=[],
        metavar="TASK",
        help="evaluate these tasks even if the checkpoint's depth unit, normal frame or class names differ from the "
        "dataset's; the number of classes must not",
    )


def add_prediction_options(parser: argparse.ArgumentParser, with_detection: bool = True) -> None:
    """Input, output and prediction; with the options of detection if the program has that task."""
    kinds = (BOXES,) * with_detection + PREDICTION_KINDS
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="images, folders (with all subfolders), and quoted patterns such as 'photos/**/*.jpg'",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="output folder; it mirrors the folder structure of --input"
    )
    parser.add_argument(
        "--save",
        nargs="+",
        choices=kinds,
        metavar="KIND",
        help=f"what to write: {', '.join(kinds)}; default: all but glb and mesh; a .json is always written",
    )
    parser.add_argument(
        "--up",
        choices=("y", "z"),
        default="-y",
        help="upward axis of .ply files, as viewers expect it; otherwise y points down, as in all other files",
    )
    if with_detection:
        parser.add_argument(
            "--min_score", type=fraction, metavar="S", help="drop boxes with a lower score, 0 to 1; default: 0.3"
        )
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    parser.add_argument("--batch_size", type=positive, default=1, metavar="N", help="images per batch")
    add_inference_speed_options(parser)
    add_device_options(parser, one_process=True)


def task_value(text: str) -> tuple[str, float]:
    """Type of an option: TASK=NUMBER, a number of 0 or more."""
    task, _, value = text.partition("=")
    if task not in TASK_NAMES or not value:
        raise argparse.ArgumentTypeError(f"{text}: pass TASK=NUMBER with one of {', '.join(TASK_NAMES)}")
    return task, rate(value)

"""Second program (*_achievement.py): command lines.

Training and evaluation have the options of Yun & Cho's code (ICCV 2023). Nothing here imports torch, so that --help
responds at once.
"""

import argparse
import sys
from collections.abc import Sequence

from datasets import SPLITS
from losses.balancing import BALANCINGS
from networks.perspective_backbones import BACKBONES
from options.achievement_groups import (
    add_balancing_options,
    add_data_options,
    add_network_options,
    add_optimization_options,
)
from options.argument_file import ArgumentFileParser
from options.groups import (
    FLAGS_OF_METHODS,
    BalancingRules,
    add_mismatch_option,
    add_prediction_options,
    add_run_options,
    add_saving_options,
    add_speed_options,
)
from options.parser import Parser, angle, positive, rate
from options.released_options import REJECTED, Reject, method_name
from utils.tasks import DETECTION, PERSPECTIVE_TASK_NAMES

# Options that a resumed training must keep: they determine what is trained, on which samples and in which order.
FIXED_ON_RESUME = (
    *("app", "arch", "basenet", "normal_size", "output_stride", "skip_connection", "shared_head", "no_pretrained"),
    *("head_type", "activation", "cls_head", "cls_loss_type", "loc_loss_type", "iou_aware_cls", "loc_weight"),
    *("backbone_weights", "ckpt", "size", "train_dataset", "test_dataset", "mix_ratio", "partial_labels", "teacher"),
    *("num_classes", "normal_axes", "normals", "raw_depth", "val_split", "num_train", "num_val"),
    *("min_scale", "max_scale", "batch_size", "seed", "amp", "label_smoothing"),
    *("optim", "momentum", "tencent_trick", "model_ema", "model_ema_momentum"),
    *("balancing", "loss_weights", "potential", "potential_from", "margin", "focusing_factor", "keep_exponents"),
)
# Options that may change, and then apply from the resumed step on. Files and folders must have the same content.
FREE_ON_RESUME = (
    *("cfg", "dataset_root", "skip_bad_samples", "num_workers", "log_dir", "subfolder", "log_frequency"),
    *("save_frequency", "save_steps", "test_freq", "num_epochs", "lr", "scheduler", "patience", "factor"),
    *("warmup_epoch", "cold_epoch", "freeze_epoch", "weight_decay", "max_bad_steps", "log_grad_norms", "max_minutes"),
    *("compile", "channels_last", "deterministic", "no_tf32", "device", "gpu_devices", "local_rank"),
    *("resume", "overwrite"),
)
# Options that accuracies depend on, besides the training itself.
VALIDATION_OPTIONS = (
    *("test_dataset", "size", "num_classes", "val_split", "num_val", "normals", "raw_depth", "normal_axes"),
)
BALANCING_RULES = BalancingRules(
    *(PERSPECTIVE_TASK_NAMES, VALIDATION_OPTIONS, "--loss_metric", method_name),
    "--potential with an accuracy for each task of --app, in that order",
)

# Defaults of options that only one architecture has.
_DEFAULTS = {
    "DeepLab": {"skip_connection": 0, "shared_head": True},
    "VMM": {"head_type": "mbconv", "activation": "relu6", "cls_head": "softmax"},
}
# Defaults of --basenet and --normal_size.
_SIZES = {"DeepLab": ("resnet50", 256), "VMM": ("efficientnet_v2_s", 64)}
_CLASS_LOSS = {"sigmoid": "focal", "softmax": "CE"}  # --cls_loss_type by --cls_head
_ALIASES = {
    "--log_dir": ("--root_folder",),
    "--log_frequency": ("--display_freq",),
    "--save_frequency": ("--save_freq",),
}


def parse_training(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of train_achievement.py; see `_complete`."""
    parser = train_parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    _drop_other_methods(options, arguments)
    _complete(parser, options)
    if options.batch_size == 1 and options.arch == "DeepLab":
        parser.error("--batch_size 1: pass 2 or more, as BatchNorm also normalizes the ASPP's pooled features")
    return options


def parse_evaluation(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of eval_achievement.py; see `_complete`."""
    parser = eval_parser()
    options = parser.parse_args(arguments)
    options.potential = options.loss_weights = None  # only for training, maybe of more tasks
    _complete(parser, options)
    if options.ckpt is None:
        parser.error("--ckpt is required: pass a checkpoint file or a run folder")
    return options


def parse_prediction(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of predict_achievement.py."""
    parser = predict_parser()
    options = parser.parse_args(arguments)
    if options.intrinsics and 0 in options.intrinsics[:2]:
        parser.error("--intrinsics: the focal lengths FX and FY must be above 0")
    return options


def train_parser() -> ArgumentFileParser:
    """Options of train_achievement.py."""
    parser = ArgumentFileParser(
        "Train DeepLab or VMM for detection, segmentation, depth and normals of perspective images. Options can be "
        "read from files such as those in cfg/; later files override earlier ones, the command line overrides files."
    )
    add_network_options(parser)
    add_data_options(parser)
    add_optimization_options(parser)
    add_balancing_options(parser)
    add_speed_options(parser)
    run = add_run_options(parser, log_dir="./workdirs", log_frequency=100, aliases=_ALIASES)
    run.add_argument(
        "--subfolder",
        default="test",
        metavar="NAME",
        help="name of the run folder, below that of network, data and size",
    )
    run.add_argument("--test_freq", type=positive, default=1, metavar="N", help="epochs between validations")
    add_saving_options(run, _ALIASES)
    for flag in REJECTED:
        parser.add_argument(flag, action=Reject, nargs="*", help=argparse.SUPPRESS)
    return parser


def eval_parser() -> ArgumentFileParser:
    """Options of eval_achievement.py, including those of training, so that the training's file can be passed."""
    parser = train_parser()
    parser.description = (
        "Evaluate a checkpoint of DeepLab or VMM, ours or the released code's. The option file of the training can be "
        "passed: options that only concern training have no effect. --amp is one of them, as evaluation is in float32."
    )
    group = parser.add_argument_group("evaluation")
    group.add_argument("--split", default="test", choices=SPLITS, help="split to evaluate on")
    add_mismatch_option(group, PERSPECTIVE_TASK_NAMES)
    return parser


def predict_parser() -> Parser:
    """Options of predict_achievement.py."""
    parser = Parser("Predict objects, semantics, depth and surface normals of perspective images.")
    parser.add_argument(
        "--checkpoint", "--ckpt", required=True, metavar="PATH", help="a checkpoint file or a run folder"
    )
    add_prediction_options(parser)
    cameras = parser.add_argument_group(
        "cameras", "For point clouds. Default: the focal length in EXIF if there is one, otherwise NYU v2's camera."
    ).add_mutually_exclusive_group()
    cameras.add_argument("--fov", type=angle, metavar="DEGREES", help="horizontal field of view of all images")
    cameras.add_argument(
        "--intrinsics",
        type=rate,
        nargs=4,
        metavar=("FX", "FY", "CX", "CY"),
        help="focal lengths and principal point of all images, in pixels of the upright image; the center of the first "
        "pixel is at 0 0",
    )
    return parser


def _drop_other_methods(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """If the command line chooses a balancing method, drop settings for other methods that come from a file."""
    parser = train_parser()
    parser.set_defaults(balancing=None)
    command_line = parser.parse_command_line(arguments)
    if command_line.balancing is None:
        return
    wanted = BALANCINGS[command_line.balancing].options
    for flag, option in FLAGS_OF_METHODS.items():
        if getattr(command_line, flag) is None and option not in wanted:
            setattr(options, flag, None)


def _complete(parser: ArgumentFileParser, options: argparse.Namespace) -> None:
    """Fill in values that are derived from others. Exits with one line when options contradict each other.

    ``size`` becomes [height, width]; ``train_dataset`` and ``test_dataset`` become names joined by +; ``potential`` and
    ``loss_weights`` become pairs of task and value.
    """
    if len(set(options.app)) < len(options.app):
        parser.error(f"--app {' '.join(options.app)}: pass each task once")
    if len(options.size) > 2:
        parser.error(f"--size {' '.join(map(str, options.size))}: pass height and width, or one number")
    if options.min_scale > options.max_scale or options.min_scale == 0:
        parser.error(f"--min_scale {options.min_scale:g} --max_scale {options.max_scale:g}: 0 < minimum <= maximum")
    options.size = options.size * 2 if len(options.size) == 1 else options.size
    for flag in ("train_dataset", "test_dataset"):
        names = getattr(options, flag) or options.train_dataset.split("+")
        if len(set(names)) < len(names):
            parser.error(f"--{flag} {' '.join(names)}: pass each dataset once")
        setattr(options, flag, "+".join(names))
    _complete_architecture(parser, options)
    for flag, name in (("--potential", "potential"), ("--loss_weight", "loss_weights")):
        values = getattr(options, name)
        if values is None:
            continue
        if len(values) != len(options.app):
            parser.error(f"{flag}: {len(values)} values, pass one for each task of --app {' '.join(options.app)}")
        setattr(options, name, list(zip(options.app, values, strict=True)))


def _complete_architecture(parser: ArgumentFileParser, options: argparse.Namespace) -> None:
    """Fill in the defaults of --arch. Exits with one line when options of another architecture are passed."""
    arch = options.arch
    for other, defaults in _DEFAULTS.items():
        names = ("output_stride", *defaults) if other == "DeepLab" else (*defaults, "cls_loss_type")
        for name in names if other != arch else ():
            if getattr(options, name) is not None:
                parser.error(f"--{name} is for --arch {other}: drop it for {arch}")
        for name, value in defaults.items():
            if getattr(options, name) is None:
                setattr(options, name, value)  # those of the other architecture have no effect
    basenet, normal_size = _SIZES[arch]
    options.basenet = options.basenet or basenet
    options.normal_size = options.normal_size or normal_size
    options.output_stride = options.output_stride or BACKBONES[options.basenet].deep.stride
    options.cls_loss_type = options.cls_loss_type or _CLASS_LOSS[options.cls_head]
    if DETECTION in options.app and arch != "VMM":
        parser.error(f"--app {DETECTION} needs --arch VMM")
    if options.cls_loss_type != _CLASS_LOSS[options.cls_head]:
        parser.error(f"--cls_loss_type {options.cls_loss_type} does not fit --cls_head {options.cls_head}: drop it")

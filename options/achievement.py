"""The command lines of the second program; for training and evaluation the options of Yun & Cho's (ICCV 2023).

Nothing here imports torch, so that --help answers at once.
"""

import argparse
import sys
from collections.abc import Sequence

from datasets import PERSPECTIVE_DATASETS, SPLITS
from losses.balancing import BALANCINGS
from networks.perspective_backbones import BACKBONES
from options.argument_file import SUFFIX, ArgumentFileParser
from options.groups import (
    FLAGS_OF_METHODS,
    add_backbone_weights,
    add_keep_exponents,
    add_max_bad_steps,
    add_mismatch_option,
    add_prediction_options,
    add_run_options,
    add_saving_options,
    add_speed_options,
)
from options.parser import Parser, angle, count, fraction, positive, rate, seed
from utils.tasks import TASK_NAMES

# What a resumed training must keep, as it decides what is trained, on which samples and in which order ...
FIXED_ON_RESUME = (
    *("app", "arch", "basenet", "normal_size", "output_stride", "skip_connection", "shared_head", "no_pretrained"),
    *(
        "backbone_weights",
        "ckpt",
        "size",
        "train_dataset",
        "test_dataset",
        "num_classes",
        "normal_axes",
        "normals",
        "raw_depth",
    ),
    *("val_split", "num_train", "num_val", "min_scale", "max_scale", "batch_size", "seed", "amp", "label_smoothing"),
    *("optim", "momentum", "tencent_trick", "model_ema", "model_ema_momentum"),
    *("balancing", "loss_weights", "potential", "potential_from", "margin", "focusing_factor", "keep_exponents"),
)
# ... and what may change: it applies from the step that was reached. Of files the content counts: the options in them.
FREE_ON_RESUME = (
    *("cfg", "dataset_root", "skip_bad_samples", "num_workers", "log_dir", "subfolder", "log_frequency"),
    *("save_frequency", "save_steps", "test_freq", "num_epochs", "lr", "scheduler", "patience", "factor"),
    *("warmup_epoch", "cold_epoch", "freeze_epoch", "weight_decay", "max_bad_steps", "log_grad_norms", "max_minutes"),
    *("compile", "channels_last", "deterministic", "no_tf32", "device", "gpu_devices", "local_rank"),
    *("resume", "overwrite"),
)
# Options on which accuracies depend, apart from how well a network was trained.
VALIDATION_OPTIONS = (
    *("test_dataset", "size", "num_classes", "val_split", "num_val", "normals", "raw_depth", "normal_axes"),
)

REFERENCE_BATCH = 32  # images for which --lr is meant
_DATASETS = {"NYU_MT": "NYUv2"}  # the paper's names, ours
_METHODS = {  # the same for --loss_metric
    **{"weighted-sum": "fixed", "amtl": "achievement", "amtl-a": "achievement-arithmetic", "grad-norm": "gradnorm"},
    **{"dwa-g": "dwa-geometric", "rlw-g": "rlw-geometric", "dtp-g": "dtp-geometric"},
}
_UNKNOWN_METHODS = {  # of the released code, and why they are not here
    "fmtl": "its focusing factor never had an effect in the released code, so there is nothing to compare with",
    "imtl": "it crashed in the released code; imtl-g is its part on gradients",
    **dict.fromkeys(("kd-mtl", "kd-amtl"), "the released code never chose it, and it fits no network"),
    **dict.fromkeys(("pcgrad-amtl", "cagrad-amtl"), "it added up gradients by mistake; take one of both"),
}
_DETECTION = "it is for detection, which is not here"
_OTHER_NETWORK = "it is for networks other than DeepLab, which are not here"
_ALWAYS = "the launcher, torchrun, decides it"
# Options of the released code that are refused, and why.
REFUSED = {
    "--year": "it had no effect",
    "--frozen_stages": "it had no effect",
    "--normal_type": "it had no effect",
    "--fine_tune": "it had no effect",
    "--fine_tune_iter": "it had no effect",
    "--alpha": "it had no effect: GradNorm's exponent is 1.5",
    "--output": "it had no effect",
    "--multiple_lr": "no cfg file used it: all parts learn at --lr",
    "--training_size": "training and validation have the same --size",
    "--mix_up": "it did not work",
    "--teacher": "there is no distillation",
    "--remove_ckpt": "kept are the last, the best, and the models of every --save_freq-th epoch",
    "--resume_epoch": "--resume continues at the step that was reached",
    "--sync_bn": "each process normalizes its own batch",
    **dict.fromkeys(("--dist_url", "--world_size"), _ALWAYS),
    **dict.fromkeys(("--use_FPN", "--head_type", "--activation", "--from_scratch"), _OTHER_NETWORK),
    **dict.fromkeys(
        ("--cls_head", "--cls_loss_type", "--loc_loss_type", "--iou_aware_cls", "--loc_weight"), _DETECTION
    ),
}
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
    _forget_other_method(options, arguments)
    _complete(parser, options)
    if options.batch_size == 1:
        parser.error("--batch_size 1: a step needs 2 images or more, for the statistics of the ASPP's pooled features")
    return options


def parse_evaluation(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of eval_achievement.py; see `_complete`."""
    parser = eval_parser()
    options = parser.parse_args(arguments)
    options.potential = options.loss_weights = None  # of training, maybe of more tasks
    _complete(parser, options)
    if options.ckpt is None:
        parser.error("--ckpt is required")
    return options


def parse_prediction(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of predict_achievement.py."""
    parser = predict_parser()
    options = parser.parse_args(arguments)
    if options.intrinsics and 0 in options.intrinsics[:2]:
        parser.error("--intrinsics: the focal lengths FX and FY are above 0")
    return options


def train_parser() -> ArgumentFileParser:
    """Options of train_achievement.py."""
    parser = ArgumentFileParser(
        "Train DeepLab for segmentation, depth and normals of perspective images. Options can stand in files, such as "
        "those of cfg/: later ones win, the command line over files."
    )
    _add_network_options(parser)
    _add_data_options(parser)
    _add_optimization_options(parser)
    _add_balancing_options(parser)
    add_speed_options(parser)
    run = add_run_options(parser, log_dir="./workdirs", log_frequency=100, aliases=_ALIASES)
    run.add_argument(
        "--subfolder", default="test", metavar="NAME", help="folder of the run, in that of network, data and size"
    )
    run.add_argument("--test_freq", type=positive, default=1, metavar="N", help="epochs between validations")
    add_saving_options(run, _ALIASES)
    for flag in REFUSED:
        parser.add_argument(flag, action=_Refuse, nargs="*", help=argparse.SUPPRESS)
    return parser


def eval_parser() -> ArgumentFileParser:
    """Options of eval_achievement.py: those of the training, so that its file can be given."""
    parser = train_parser()
    parser.description = (
        "Evaluate a checkpoint of DeepLab, ours or the released code's. The file of its training can be given: "
        "options that only concern training have no effect. --amp is one of them: evaluation is in float32."
    )
    group = parser.add_argument_group("evaluation")
    group.add_argument("--split", default="test", choices=SPLITS, help="split to evaluate on")
    add_mismatch_option(group)
    return parser


def predict_parser() -> Parser:
    """Options of predict_achievement.py."""
    parser = Parser("Predict depth, surface normals and semantics of perspective images.")
    parser.add_argument(
        "--checkpoint", "--ckpt", required=True, metavar="PATH", help="a checkpoint file, or the folder of a run"
    )
    add_prediction_options(parser)
    cameras = parser.add_argument_group(
        "cameras", "For the point clouds. If neither is given: the focal length in EXIF, or else NYU v2's camera."
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


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network")
    group.add_argument(
        "--app",
        nargs="+",
        choices=TASK_NAMES,
        default=["segmentation", "depth", "normal"],
        metavar="TASK",
        help=f"what to predict: {', '.join(TASK_NAMES)}; --potential and --loss_weight have the same order",
    )
    group.add_argument("-a", "--arch", default="DeepLab", choices=("DeepLab",), help="architecture")
    group.add_argument("--basenet", default="resnet50", choices=tuple(BACKBONES), help="backbone")
    group.add_argument("--normal_size", type=positive, default=256, metavar="N", help="channels of the ASPP")
    group.add_argument(
        "--output_stride",
        type=int,
        choices=(8, 16, 32),
        help="chooses the ASPP's rates: 12, 24, 36 for 8, else 6, 12, 18; that of the backbone if not given",
    )
    group.add_argument(
        "--skip_connection",
        type=count,
        default=0,
        metavar="N",
        help="channels of the skip connection of DeepLabV3+; 0: none, DeepLabV3",
    )
    group.add_argument("--shared_head", type=switch, default=True, metavar="BOOL", help="all tasks share one ASPP")
    group.add_argument("--no_pretrained", action="store_true", help="start the backbone from random weights")
    add_backbone_weights(group)
    group.add_argument(
        "--ckpt",
        metavar="PATH",
        help="a checkpoint file or a run folder: to start from in training, to evaluate in evaluation",
    )


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    names = f"{', '.join(PERSPECTIVE_DATASETS)}, or {', '.join(_DATASETS)} as in the released code"
    group.add_argument("--train_dataset", type=dataset, default="NYUv2", metavar="NAME", help=f"to train on: {names}")
    group.add_argument(
        "--test_dataset", type=dataset, metavar="NAME", help="to validate on; that of the training if not given"
    )
    group.add_argument("--dataset_root", metavar="DIR", help="folder of the datasets on disk")
    group.add_argument(
        *("-s", "--size"),
        type=positive,
        nargs="+",
        default=[480, 640],
        metavar="N",
        help="height and width of the images; one number for squares",
    )
    group.add_argument("--num_classes", type=int, choices=(13, 40), help="those of the copy of NYUv2 if not given")
    group.add_argument("--normal_axes", metavar="AXES", help="NYUv2: axes of the stored normals, found if not given")
    group.add_argument("--normals", metavar="SOURCE", help="NYUv2, the owners' file: where normals come from")
    group.add_argument("--raw_depth", action="store_true", help="NYUv2, the owners' file: depth as it was measured")
    group.add_argument(
        "--val_split",
        default="test",
        choices=("test", "val"),
        help="validate on the test split, as the released code does, or on val, which is then kept out of training",
    )
    group.add_argument("--num_train", type=positive, metavar="N", help="SyntheticNYU: images; 800 if not given")
    group.add_argument("--num_val", type=positive, metavar="N", help="SyntheticNYU: to evaluate on; 100 if not given")
    group.add_argument("--min_scale", type=rate, default=2 / 3, metavar="S", help="smallest zoom of the augmentation")
    group.add_argument("--max_scale", type=rate, default=4 / 3, metavar="S", help="largest zoom of the augmentation")
    group.add_argument("--num_workers", type=count, default=8, metavar="N", help="processes that load data")
    group.add_argument("--skip_bad_samples", action="store_true", help="skip images with bad files, and list them")


def _add_optimization_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("optimization")
    group.add_argument("-b", "--batch_size", type=positive, default=32, metavar="N", help="images per process and step")
    group.add_argument("--optim", default="sgd", choices=("sgd", "rms_prop", "adam", "adamw"), help="optimizer")
    group.add_argument("--momentum", type=fraction, default=0.9, metavar="M", help="of sgd and rms_prop")
    group.add_argument("--weight_decay", type=rate, default=5e-4, metavar="RATE", help="decoupled in adamw alone")
    group.add_argument(
        "--tencent_trick", action="store_true", help="no weight decay for biases and normalization layers"
    )
    group.add_argument("--model-ema", action="store_true", help="evaluate and save a moving average of the weights")
    group.add_argument("--model-ema-momentum", type=fraction, default=0.9999, metavar="M", help="of that average")
    group.add_argument(
        "--lr",
        type=rate,
        default=1e-3,
        metavar="RATE",
        help=f"learning rate for {REFERENCE_BATCH} images per step, as in the released code: multiplied by "
        f"--batch_size times processes / {REFERENCE_BATCH}",
    )
    group.add_argument(
        *("-sched", "--scheduler"),
        default="plateau",
        choices=("poly", "cosine", "plateau", "step"),
        help="after the warm-up: (1 - progress)^0.9; half a cosine; --factor after --patience validations without a "
        "better score of all tasks; a tenth after --cold_epoch, and again --freeze_epoch later",
    )
    group.add_argument("--patience", type=count, default=20, metavar="N", help="plateau: validations")
    group.add_argument("--factor", type=fraction, default=0.5, metavar="F", help="plateau: of each reduction")
    group.add_argument(
        *("-max", "--max_epoch", "--num_epochs"),
        dest="num_epochs",
        type=positive,
        default=200,
        metavar="N",
        help="passes over the training set",
    )
    group.add_argument(
        *("-wi", "--warmup_epoch"),
        type=count,
        default=2,
        metavar="N",
        help="epochs of linear warm-up, before the end of which nothing is validated",
    )
    group.add_argument("-ci", "--cold_epoch", type=count, default=80, metavar="N", help="step: epochs before it")
    group.add_argument("-fi", "--freeze_epoch", type=count, default=40, metavar="N", help="step: epochs between both")
    group.add_argument("--label_smoothing", type=fraction, default=0.0, metavar="S", help="of segmentation")
    add_max_bad_steps(group)
    group.add_argument(
        *("--random_seed", "--seed"),
        dest="seed",
        type=seed,
        default=100,
        metavar="N",
        help="seed of weights, shuffling and augmentation",
    )


def _add_balancing_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("balancing of the tasks' losses")
    paper = {ours: theirs for theirs, ours in _METHODS.items()}
    group.add_argument(
        *("--loss_metric", "--balancing"),
        dest="balancing",
        type=method,
        default="fixed",
        metavar="NAME",
        help=f"{', '.join(f'{paper[name]} ({name})' if name in paper else name for name in BALANCINGS)}",
    )
    group.add_argument(
        *("--loss_weight", "--loss_weights"),
        dest="loss_weights",
        type=rate,
        nargs="+",
        metavar="W",
        help="weighted-sum, uncertainty: weights in the order of --app; 1 / number of tasks if not given",
    )
    group.add_argument(
        "--potential",
        action=_Replace,
        replaces="potential_from",
        type=rate,
        nargs="+",
        metavar="ACCURACY",
        help="amtl: accuracies that single-task training reaches, in the order of --app: mIoU, fraction of pixels with "
        "delta < 1.25 (depth) or below 11.25 degrees (normal)",
    )
    group.add_argument(
        "--potential_from",
        action=_Replace,
        replaces="potential",
        nargs="+",
        metavar="RUN",
        help="amtl: run folders of single-task trainings, instead of --potential",
    )
    group.add_argument(
        "--margin",
        type=rate,
        metavar="M",
        help="amtl: relative margin added to each potential; 0.05 if not given, as in the paper's experiments",
    )
    group.add_argument(
        "--focusing_factor",
        type=rate,
        metavar="G",
        help="amtl, dtp: exponent of the remaining gap; 2 if not given, as in the paper's experiments",
    )
    add_keep_exponents(group)


class _Replace(argparse.Action):
    """Stores a value and forgets that of another option: of a file and the command line, the later one counts."""

    def __init__(self, *arguments, replaces: str, **more):
        super().__init__(*arguments, **more)
        self._replaces = replaces

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values)
        setattr(namespace, self._replaces, None)


class _Refuse(argparse.Action):
    """Reports why an option of the released code is not here."""

    def __init__(self, option_strings, dest, **more):
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, **more)

    def __call__(self, parser, namespace, values, option_string=None):
        parser.error(f"{option_string}: drop it, {REFUSED[option_string]}")


def _forget_other_method(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """If the command line chooses a method, leave out what a file says for another one."""
    parser = train_parser()
    parser.set_defaults(balancing=None)
    given = parser.parse_args([argument for argument in arguments if not argument.endswith(SUFFIX)])
    if given.balancing is None:
        return
    wanted = BALANCINGS[given.balancing].options
    for flag, option in FLAGS_OF_METHODS.items():
        if getattr(given, flag) is None and option not in wanted:
            setattr(options, flag, None)


def _complete(parser: ArgumentFileParser, options: argparse.Namespace) -> None:
    """Add values that follow from others. Exits with one line when options do not go together.

    ``size`` becomes (height, width); ``potential`` and ``loss_weights`` become pairs of task and value.
    """
    if len(set(options.app)) < len(options.app):
        parser.error(f"--app {' '.join(options.app)}: a task is given twice")
    if len(options.size) > 2:
        parser.error(f"--size {' '.join(map(str, options.size))}: give height and width")
    if options.min_scale > options.max_scale or options.min_scale == 0:
        parser.error(f"--min_scale {options.min_scale:g} --max_scale {options.max_scale:g}: 0 < minimum <= maximum")
    options.size = options.size * 2 if len(options.size) == 1 else options.size
    options.test_dataset = options.test_dataset or options.train_dataset
    options.output_stride = options.output_stride or BACKBONES[options.basenet].deep.stride
    for flag, name in (("--potential", "potential"), ("--loss_weight", "loss_weights")):
        values = getattr(options, name)
        if values is None:
            continue
        if len(values) != len(options.app):
            parser.error(f"{flag}: {len(values)} values for {len(options.app)} tasks (--app {' '.join(options.app)})")
        setattr(options, name, list(zip(options.app, values, strict=True)))


def switch(text: str) -> bool:
    """Type of an option: True or False."""
    values = {"true": True, "false": False, "1": True, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text} is neither True nor False")
    return values[text.lower()]


def dataset(text: str) -> str:
    """Type of an option: our name of a dataset."""
    name = _DATASETS.get(text, text)
    if name not in PERSPECTIVE_DATASETS:
        raise argparse.ArgumentTypeError(f"{text}: choose one of {', '.join((*PERSPECTIVE_DATASETS, *_DATASETS))}")
    return name


def method(text: str) -> str:
    """Type of an option: our name of a balancing method."""
    name = _METHODS.get(text, text)
    if name in _UNKNOWN_METHODS:
        raise argparse.ArgumentTypeError(f"{text} is not here: {_UNKNOWN_METHODS[name]}")
    if name not in BALANCINGS:
        raise argparse.ArgumentTypeError(f"{text}: choose one of {', '.join((*_METHODS, *BALANCINGS))}")
    return name

"""First program (*_elite360m.py): command lines of training, evaluation and comparison.

Nothing here imports torch, so that --help responds at once.
"""

import argparse

from datasets import DATASETS, SPLITS
from networks.backbones import BACKBONES, DEFAULT, TIMM_PREFIX, find_backbone
from options.groups import (
    BalancingRules,
    add_backbone_weights,
    add_balancing_options,
    add_device_options,
    add_inference_speed_options,
    add_mismatch_option,
    add_optimization_options,
    add_run_options,
    add_saving_options,
    add_speed_options,
)
from options.parser import Parser, count, positive
from options.protocol import add_protocol_options
from utils.errors import UserError
from utils.tasks import TASK_NAMES, TASK_VALUES

# Options that a resumed training must keep: they determine what is trained, on which samples and in which order.
FIXED_ON_RESUME = (
    *("dataset", "height", "width", "normal_frame", "metric_depth", "fold", "num_val", "val_split"),
    *("disable_color_augmentation", "disable_LR_flip_augmentation", "disable_yaw_rotation_augmentation"),
    *("num_train", "photo_augmentation", "rooms", "backbone_weights", "load_weights_dir"),
    *("backbone", "task", "ico_level", "fusion", "b2f", "cross_task", "no_intermediate_losses", "no_pretrained"),
    *("batch_size", "grad_accum", "seed", "ema_decay", "amp", "balancing", "loss_weights"),
    *("potential", "potential_from", "margin", "focusing_factor", "keep_exponents"),
)
# Options that may change, and then apply from the resumed step on. Files and folders must contain the same samples.
FREE_ON_RESUME = (
    *("num_epochs", "learning_rate", "lr_schedule", "warmup_epochs", "weight_decay", "grad_clip", "max_bad_steps"),
    *("dataset_rootdir", "train_list", "val_list", "cache_dir", "num_workers", "skip_bad_samples"),
    *("no_tf32", "compile", "channels_last", "deterministic", "recompute", "device", "gpu_devices", "local_rank"),
    *("log_dir", "log_frequency", "log_grad_norms", "save_steps", "save_frequency", "max_minutes"),
    *("resume", "overwrite"),
)
# Options that accuracies depend on, besides the training itself.
VALIDATION_OPTIONS = (
    *("dataset", "height", "width", "normal_frame", "metric_depth", "fold", "val_split", "val_list", "num_val"),
)
BALANCING_RULES = BalancingRules(TASK_NAMES, VALIDATION_OPTIONS, "--balancing", str, "--potential TASK=ACCURACY")
PAPER_BACKBONE = "Elite360M_Res18"


def train_parser() -> argparse.ArgumentParser:
    """Options of train_elite360m.py."""
    parser = Parser("Train Elite360M: depth, surface normals and semantics from one panorama.")
    _add_training_data_options(_add_data_options(parser, num_workers=4))
    _add_architecture_options(_add_network_options(parser))
    add_optimization_options(parser, num_epochs=200, learning_rate=1e-4)
    add_balancing_options(parser)
    add_speed_options(parser).add_argument(
        "--recompute",
        action="store_true",
        help="also on a GPU, to save memory: recompute large activations in the backward pass",
    )
    add_saving_options(add_run_options(parser, log_dir="./workdirs", log_frequency=200))
    return parser


def eval_parser() -> argparse.ArgumentParser:
    """Options of eval_elite360m.py."""
    parser = Parser("Evaluate a checkpoint of Elite360M, ours or the released code's, on a dataset.")
    data = _add_data_options(parser, num_workers=8)
    data.set_defaults(height=None, width=None)
    data.add_argument("--split", default="test", choices=SPLITS, help="split to evaluate on")
    data.add_argument("--batch_size", type=positive, default=1, metavar="N", help="panoramas per batch and process")
    network = _add_network_options(parser)
    network.set_defaults(backbone=None)
    source = network.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--load_weights_dir",
        metavar="PATH",
        help="checkpoint file, run folder, folder with runs (such as the --log_dir of a training), or the word "
        f"{DEFAULT}: the weights in this repository. If --backbone is not given, it is the checkpoint's",
    )
    source.add_argument(
        "--predictions",
        metavar="DIR",
        help="folder with predictions of any program, to evaluate instead; see docs/evaluate.md",
    )
    add_tta_option(network)
    add_protocol_options(parser)
    add_inference_speed_options(parser)
    run = add_run_options(parser, log_dir="./test_uni", log_frequency=300)
    run.add_argument(
        "--overwrite", action="store_true", help="replace the results of another evaluation in the same folder"
    )
    add_mismatch_option(run)
    run.add_argument(
        "--trivial",
        action="store_true",
        help="also evaluate baselines that do not use the image: the best constant of each metric; the mean depth and "
        "the most frequent class of each row of pixels; the normals of a box",
    )
    run.add_argument(
        "--cost",
        action="store_true",
        help="also measure parameters, multiply-adds, time and GPU memory of the network for one panorama",
    )
    run.add_argument(
        "--report",
        action="store_true",
        help="also write report.html with metrics, error profiles, and images from the worst to the best; needs "
        "requirements-extra.txt",
    )
    return parser


def compare_parser() -> argparse.ArgumentParser:
    """Options of tools/compare.py."""
    parser = Parser("Compare checkpoints, predictions of other programs and finished evaluations in one table.")
    parser.add_argument(
        "--of",
        type=named_path,
        nargs="+",
        required=True,
        metavar="NAME=PATH",
        help=f"a checkpoint (or the word {DEFAULT}: the weights in this repository), or a folder with predictions.json "
        "or the results.json of an evaluation",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier comparison")
    parser.add_argument(
        "--report", action="store_true", help="also write comparison.html; needs requirements-extra.txt"
    )
    parser.add_argument("--images", type=positive, default=8, metavar="N", help="images in comparison.html")
    parser.add_argument("--trivial", action="store_true", help="also compare with baselines that do not use the image")
    parser.add_argument("--cost", action="store_true", help="also measure the cost of each network")
    parser.add_argument("--task", default="depth_normal_segmentation", choices=TASK_VALUES, help="tasks to compare")
    add_mismatch_option(parser)
    data = _add_data_options(parser, num_workers=8)
    data.set_defaults(height=None, width=None)
    data.add_argument("--split", default="test", choices=SPLITS, help="split to evaluate on")
    data.add_argument("--batch_size", type=positive, default=1, metavar="N", help="panoramas per batch")
    add_protocol_options(parser)
    add_inference_speed_options(parser)
    add_device_options(parser, one_process=True)
    return parser


def check_network(options: argparse.Namespace) -> None:
    """Check that the options of the network's parts are compatible.

    Raises:
        UserError: when they are not.
    """
    if options.fusion == "none" and options.b2f == "corrected":
        raise UserError("--b2f corrected has no effect with --fusion none: drop one of the two")


def check_size(height: int | None, width: int | None) -> None:
    """Check --height and --width, if they are given.

    Raises:
        UserError: when they are not multiples of 32 with width = 2 * height.
    """
    if height is None and width is None:
        return
    if height is None or width is None or height <= 0 or height % 32 or width != 2 * height:
        raise UserError(f"--height {height} --width {width}: pass multiples of 32, twice as wide as high")


def _add_data_options(parser: argparse.ArgumentParser, num_workers: int) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset",
        default="S2D3D",
        choices=tuple(DATASETS),
        help="dataset; Folder: your own, described by a dataset.json (docs/data.md)",
    )
    group.add_argument("--dataset_rootdir", metavar="DIR", help="folder of the dataset; not for Synthetic")
    group.add_argument("--height", type=int, default=512, metavar="PIXELS", help="height of the panoramas")
    group.add_argument(
        "--width", type=int, default=1024, metavar="PIXELS", help="width of the panoramas, twice the height"
    )
    group.add_argument("--num_workers", type=count, default=num_workers, metavar="N", help="data loading processes")
    group.add_argument(
        "--val_list",
        metavar="FILE",
        help="panoramas to evaluate on, in place of the split's: lines of `rgb depth semantic normal`, relative paths",
    )
    group.add_argument(
        "--normal_frame",
        default="camera",
        choices=("camera", "world"),
        help="frame of the stored normals: of the camera, or of the building (world)",
    )
    group.add_argument(
        "--fold",
        type=int,
        choices=(1, 2, 3),
        help="S2D3D: fold of the three-fold cross-validation: test areas 5 (fold 1, default), 2 and 4 (fold 2), or 1, "
        "3 and 6 (fold 3)",
    )
    group.add_argument(
        "--metric_depth", action="store_true", help="Struc3D: depth in meters instead of the paper's 10 d / max d"
    )
    group.add_argument(
        "--skip_bad_samples",
        action="store_true",
        help="skip panoramas with missing, damaged or wrong files (training reads the next one instead), and list them "
        "at the end",
    )
    group.add_argument("--num_val", type=positive, metavar="N", help="Synthetic: rooms to evaluate on; default: 100")
    group.add_argument(
        "--rooms",
        default="furnished",
        choices=("furnished", "varied"),
        help="Synthetic: furnished: single rooms of similar size; varied: also corridors, halls and neighboring rooms, "
        "in any colors",
    )
    group.add_argument("--cache_dir", metavar="DIR", help="Synthetic: folder in which rendered rooms are cached")
    return group


def _add_network_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("network")
    group.add_argument(
        "--backbone",
        type=backbone,
        default=PAPER_BACKBONE,
        metavar="NAME",
        help=f"backbone of the ERP branch: {', '.join(BACKBONES)}, or {TIMM_PREFIX}NAME for any timm model with "
        "features at strides 4, 8, 16 and 32",
    )
    group.add_argument("--task", default="depth_normal_segmentation", choices=TASK_VALUES, help="tasks to predict")
    return group


def _add_training_data_options(group: argparse._ArgumentGroup) -> None:
    """Data options that only training has."""
    group.add_argument(
        "--val_split",
        default="test",
        choices=("test", "val"),
        help="split to validate on: test, as in the released code, or val, which is then excluded from training",
    )
    group.add_argument("--train_list", metavar="FILE", help="train on the panoramas of this list instead")
    group.add_argument("--num_train", type=positive, metavar="N", help="Synthetic: rooms to train on; default: 1000")
    group.add_argument("--disable_color_augmentation", action="store_true", help="no color jitter")
    group.add_argument(
        "--photo_augmentation",
        action="store_true",
        help="random exposure, white balance, glare, blur, noise and JPEG artifacts, for networks that will be used on "
        "photographs of other cameras",
    )
    group.add_argument(
        *("--disable_LR_flip_augmentation", "--disable_LR_filp_augmentation"),
        action="store_true",
        help="no left-right flips",
    )
    group.add_argument(
        "--disable_yaw_rotation_augmentation", action="store_true", help="no rotations about the vertical axis"
    )


def _add_architecture_options(group: argparse._ArgumentGroup) -> None:
    """The parts of the network, and its initial weights."""
    group.add_argument(
        "--ico_level",
        type=int,
        default=4,
        choices=(2, 3, 4),
        help="level of the icosphere, which has 20 * 4^level points",
    )
    group.add_argument(
        "--fusion",
        default="b2f",
        choices=("b2f", "semantic", "distance", "none"),
        help="how ERP tokens attend to ICOSAP points: b2f (both attentions, as in the paper), one of them, or none",
    )
    group.add_argument(
        "--b2f",
        default="released",
        choices=("released", "corrected"),
        help="B2F as in the released code, or corrected: attended ERP tokens stay at their pixels, whose centers are "
        "their positions (the weights of the two are not interchangeable)",
    )
    group.add_argument("--cross_task", default="coco", choices=("coco", "none"), help="attention across the tasks")
    group.add_argument(
        "--no_intermediate_losses", action="store_true", help="train without the intermediate heads and their losses"
    )
    group.add_argument(
        "--no_pretrained",
        action="store_true",
        help="start the ERP encoder from random weights instead of downloaded ImageNet weights",
    )
    add_backbone_weights(group)
    group.add_argument(
        "--load_weights_dir",
        metavar="PATH",
        help="initial weights: a checkpoint file, a run folder, or the --log_dir of an earlier training",
    )


def add_tta_option(group: argparse._ActionsContainer) -> None:
    """Test-time augmentation."""
    group.add_argument(
        "--tta",
        type=positive,
        default=1,
        metavar="N",
        help="average over N views of each panorama at evenly spaced yaws, every second one mirrored",
    )


def named_path(text: str) -> tuple[str, str]:
    """Type of an option: NAME=PATH."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text}: pass NAME=PATH")
    return name, path


def backbone(text: str) -> str:
    """Type of an option: the name of a backbone."""
    if find_backbone(text) is None:
        raise argparse.ArgumentTypeError(f"{text}: choose one of {', '.join(BACKBONES)}, or {TIMM_PREFIX}NAME")
    return text

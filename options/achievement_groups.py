"""Second program (*_achievement.py): option groups. Nothing here imports torch."""

import argparse

from datasets import PERSPECTIVE_DATASETS
from losses.balancing import BALANCINGS
from networks.achievement_choices import ACTIVATIONS, ARCHITECTURES, CLS_HEADS, HEAD_TYPES
from networks.perspective_backbones import BACKBONES
from options.groups import add_backbone_weights, add_keep_exponents, add_max_bad_steps
from options.parser import count, fraction, positive, positive_rate, rate, seed
from options.released_options import DATASET_NAMES, dataset, method, method_name
from utils.tasks import PERSPECTIVE_TASK_NAMES

REFERENCE_BATCH = 32  # images per step that --lr is for
CLASS_LOSSES, BOX_LOSSES = ("focal", "CE"), ("IoU", "L1")  # see `losses.detection`


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Tasks and network; defaults that depend on --arch are filled in later."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--app",
        nargs="+",
        choices=PERSPECTIVE_TASK_NAMES,
        default=["segmentation", "depth", "normal"],
        metavar="TASK",
        help=f"tasks: {', '.join(PERSPECTIVE_TASK_NAMES)}; --potential and --loss_weight are in the same order",
    )
    group.add_argument("-a", "--arch", default="DeepLab", choices=ARCHITECTURES, help="architecture")
    group.add_argument(
        "--basenet",
        choices=tuple(BACKBONES),
        help="backbone; default: resnet50 for DeepLab, efficientnet_v2_s for VMM",
    )
    group.add_argument(
        "--normal_size",
        type=positive,
        metavar="N",
        help="channels of DeepLab's ASPP (default: 256) or VMM's neck (default: 64)",
    )
    group.add_argument("--no_pretrained", action="store_true", help="start the backbone from random weights")
    add_backbone_weights(group)
    group.add_argument(
        "--ckpt",
        metavar="PATH",
        help="checkpoint file or run folder to start training from, or to evaluate",
    )
    _add_deeplab_options(parser.add_argument_group("DeepLab"))
    _add_vmm_options(parser.add_argument_group("VMM"))


def _add_deeplab_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--output_stride",
        type=int,
        choices=(8, 16, 32),
        help="sets the dilation rates of the ASPP: 12, 24, 36 for 8, else 6, 12, 18; default: the backbone's stride",
    )
    group.add_argument(
        "--skip_connection",
        type=count,
        metavar="N",
        help="channels of the skip connection: above 0 for DeepLabV3+, 0 (default) for DeepLabV3",
    )
    group.add_argument(
        "--shared_head", type=switch, metavar="BOOL", help="whether all tasks share one ASPP; default: True"
    )


def _add_vmm_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--head_type", choices=HEAD_TYPES, help="layers of the neck and the detection heads; default: mbconv"
    )
    group.add_argument(
        "--activation", choices=ACTIVATIONS, help="activation of the neck and the detection heads; default: relu6"
    )
    group.add_argument(
        "--cls_head", choices=CLS_HEADS, help="how detection computes class probabilities; default: softmax"
    )
    group.add_argument(
        "--cls_loss_type",
        choices=CLASS_LOSSES,
        help="classification loss of detection: focal with --cls_head sigmoid, CE with softmax",
    )
    group.add_argument("--loc_loss_type", default="IoU", choices=BOX_LOSSES, help="box loss of detection")
    group.add_argument(
        "--iou_aware_cls",
        action="store_true",
        help="the classification target of the true class is the IoU of the predicted box instead of 1",
    )
    group.add_argument("--loc_weight", type=rate, default=10.0, metavar="W", help="weight of the box loss")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Data for training and validation."""
    group = parser.add_argument_group("data")
    names = f"{', '.join(PERSPECTIVE_DATASETS)}, or the released names {', '.join(DATASET_NAMES)}"
    group.add_argument(
        "--train_dataset",
        type=dataset,
        nargs="+",
        default=["NYUv2"],
        metavar="NAME",
        help=f"datasets to train on jointly: {names}",
    )
    group.add_argument(
        "--test_dataset",
        type=dataset,
        nargs="+",
        metavar="NAME",
        help="datasets to validate on, one after another; default: those of --train_dataset",
    )
    group.add_argument("--dataset_root", metavar="DIR", help="folder of the datasets on disk")
    group.add_argument(
        "--mix_ratio",
        type=positive_rate,
        nargs="+",
        metavar="R",
        help="relative numbers of images that the training datasets contribute to an epoch; default: their sizes",
    )
    group.add_argument(
        "--partial_labels",
        metavar="FILE",
        help="NYUv2: list of the tasks for which each training image has labels",
    )
    group.add_argument(
        *("-s", "--size"),
        type=positive,
        nargs="+",
        default=[480, 640],
        metavar="N",
        help="height and width of the images; one number for both",
    )
    _add_nyuv2_options(group)
    group.add_argument(
        "--val_split",
        default="test",
        choices=("test", "val"),
        help="split to validate on: test, as in the released code, or val, which is then excluded from training",
    )
    group.add_argument("--num_train", type=positive, metavar="N", help="SyntheticNYU: training images; default: 800")
    group.add_argument("--num_val", type=positive, metavar="N", help="SyntheticNYU: validation images; default: 100")
    group.add_argument("--min_scale", type=rate, default=2 / 3, metavar="S", help="smallest random scale")
    group.add_argument("--max_scale", type=rate, default=4 / 3, metavar="S", help="largest random scale")
    group.add_argument("--num_workers", type=count, default=8, metavar="N", help="data loading processes")
    group.add_argument(
        "--skip_bad_samples",
        action="store_true",
        help="skip images with missing, damaged or wrong files (training reads the next one instead), and list them at "
        "the end",
    )


def _add_nyuv2_options(group: argparse._ArgumentGroup) -> None:
    """Which classes, normals and depth of NYU v2 to read."""
    group.add_argument(
        "--num_classes",
        type=int,
        choices=(13, 40),
        help="NYUv2, SyntheticNYU: number of semantic classes; default: that of the copy of NYUv2",
    )
    group.add_argument("--normal_axes", metavar="AXES", help="NYUv2: axes of the stored normals; default: detected")
    group.add_argument("--normals", metavar="SOURCE", help="NYUv2, the owners' file: source of the normals")
    group.add_argument("--raw_depth", action="store_true", help="NYUv2, the owners' file: raw depth, as measured")


def add_optimization_options(parser: argparse.ArgumentParser) -> None:
    """How long to train, and how weights are updated."""
    group = parser.add_argument_group("optimization")
    group.add_argument("-b", "--batch_size", type=positive, default=32, metavar="N", help="images per process and step")
    group.add_argument("--optim", default="sgd", choices=("sgd", "rms_prop", "adam", "adamw"), help="optimizer")
    group.add_argument("--momentum", type=fraction, default=0.9, metavar="M", help="momentum of sgd and rms_prop")
    group.add_argument(
        "--weight_decay", type=rate, default=5e-4, metavar="RATE", help="weight decay, decoupled only in adamw"
    )
    group.add_argument(
        "--tencent_trick", action="store_true", help="no weight decay for biases and normalization layers"
    )
    group.add_argument("--model-ema", action="store_true", help="evaluate and save a moving average of the weights")
    group.add_argument(
        "--model-ema-momentum", type=fraction, default=0.9999, metavar="M", help="decay of that average per step"
    )
    _add_schedule_options(group)
    group.add_argument(
        "--label_smoothing", type=fraction, default=0.0, metavar="S", help="label smoothing of segmentation"
    )
    group.add_argument(
        "--teacher",
        nargs="+",
        metavar="PATH",
        help="checkpoints or run folders of single-task networks, whose predictions are pseudo labels for images "
        "without ground truth for the task",
    )
    add_max_bad_steps(group)
    group.add_argument(
        *("--random_seed", "--seed"),
        dest="seed",
        type=seed,
        default=100,
        metavar="N",
        help="seed of weights, shuffling and augmentation",
    )


def _add_schedule_options(group: argparse._ArgumentGroup) -> None:
    """The learning rate and its schedule."""
    group.add_argument(
        "--lr",
        type=rate,
        default=1e-3,
        metavar="RATE",
        help=f"learning rate for {REFERENCE_BATCH} images per step, as in the released code; multiplied by "
        f"--batch_size * number of processes / {REFERENCE_BATCH}",
    )
    group.add_argument(
        *("-sched", "--scheduler"),
        default="plateau",
        choices=("poly", "cosine", "plateau", "step"),
        help="learning rate after the warm-up; poly: (1 - progress)^0.9; cosine: half a cosine; plateau: multiplied by "
        "--factor after --patience validations without a better score of all tasks; step: divided by 10 after "
        "--cold_epoch epochs, and again --freeze_epoch epochs later",
    )
    group.add_argument(
        "--patience", type=count, default=20, metavar="N", help="plateau: validations before a reduction"
    )
    group.add_argument("--factor", type=fraction, default=0.5, metavar="F", help="plateau: factor of each reduction")
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
        help="epochs of linear warm-up, during which nothing is validated",
    )
    group.add_argument(
        "-ci", "--cold_epoch", type=count, default=80, metavar="N", help="step: epochs before the first reduction"
    )
    group.add_argument(
        "-fi", "--freeze_epoch", type=count, default=40, metavar="N", help="step: epochs between the two reductions"
    )


def add_balancing_options(parser: argparse.ArgumentParser) -> None:
    """How the losses of the tasks are combined."""
    group = parser.add_argument_group("balancing of the tasks' losses")
    group.add_argument(
        *("--loss_metric", "--balancing"),
        dest="balancing",
        type=method,
        default="fixed",
        metavar="NAME",
        help=", ".join(map(method_name, BALANCINGS)),
    )
    group.add_argument(
        *("--loss_weight", "--loss_weights"),
        dest="loss_weights",
        type=rate,
        nargs="+",
        metavar="W",
        help="weighted-sum, uncertainty: weights in the order of --app; default: 1 / number of tasks",
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
        help="amtl: relative margin added to each potential; default: 0.05, as in the paper's experiments",
    )
    group.add_argument(
        "--focusing_factor",
        type=rate,
        metavar="G",
        help="amtl, dtp: exponent of the remaining gap; default: 2, as in the paper's experiments",
    )
    add_keep_exponents(group)


class _Replace(argparse.Action):
    """Stores a value and clears that of another option: the last of the two wins."""

    def __init__(self, *arguments, replaces: str, **more):
        super().__init__(*arguments, **more)
        self._replaces = replaces

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values)
        setattr(namespace, self._replaces, None)


def switch(text: str) -> bool:
    """Type of an option: True or False."""
    values = {"true": True, "false": False, "1": True, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text}: pass True or False")
    return values[text.lower()]

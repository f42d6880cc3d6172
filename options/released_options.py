"""Second program: released names of datasets and methods (Yun & Cho, ICCV 2023), and its rejected options."""

import argparse

from datasets import PERSPECTIVE_DATASETS
from losses.balancing import BALANCINGS

DATASET_NAMES = {"NYU_MT": "NYUv2", "NYU": "NYU_BTS"}  # the released names, ours
METHOD_NAMES = {  # the same for balancing methods (--loss_metric)
    **{"weighted-sum": "fixed", "amtl": "achievement", "amtl-a": "achievement-arithmetic", "grad-norm": "gradnorm"},
    **{"dwa-g": "dwa-geometric", "rlw-g": "rlw-geometric", "dtp-g": "dtp-geometric"},
}
_UNKNOWN_METHODS = {  # methods of the released code that are not supported, and why
    "fmtl": "its focusing factor had no effect in the released code, so there is no reference",
    "imtl": "it crashed in the released code; imtl-g is its gradient part",
    **dict.fromkeys(("kd-mtl", "kd-amtl"), "the released code never used it, and it fits none of its networks"),
    **dict.fromkeys(
        ("pcgrad-amtl", "cagrad-amtl"), "it added the gradients of both methods by mistake; choose one of them"
    ),
}
_LAUNCHER = "the launcher (torchrun) sets it"
# Options of the released code that are rejected, and why.
REJECTED = {
    "--year": "it had no effect",
    "--frozen_stages": "it had no effect",
    "--normal_type": "it had no effect",
    "--fine_tune": "it had no effect",
    "--fine_tune_iter": "it had no effect",
    "--alpha": "it had no effect: GradNorm's exponent is 1.5",
    "--output": "it had no effect",
    "--multiple_lr": "no cfg file used it: all parameters have the same --lr",
    "--training_size": "training and validation have the same --size",
    "--mix_up": "it did not work",
    "--remove_ckpt": "the last and the best model are kept, and that of every --save_freq-th epoch",
    "--resume_epoch": "--resume continues after the last saved step",
    "--sync_bn": "BatchNorm is always synchronized between GPUs",
    **dict.fromkeys(("--dist_url", "--world_size"), _LAUNCHER),
    "--use_FPN": "VMM has one neck, triv2-bifpn",
    "--from_scratch": "it is for EfficientDet, which is not supported: --no_pretrained starts from random weights",
}


class Reject(argparse.Action):
    """Reports why an option of the released code is rejected."""

    def __init__(self, option_strings, dest, **more):
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, **more)

    def __call__(self, parser, namespace, values, option_string=None):
        parser.error(f"{option_string}: drop it, {REJECTED[option_string]}")


def dataset(text: str) -> str:
    """Type of an option: our name of a dataset."""
    name = DATASET_NAMES.get(text, text)
    if name not in PERSPECTIVE_DATASETS:
        raise argparse.ArgumentTypeError(f"{text}: choose one of {', '.join((*PERSPECTIVE_DATASETS, *DATASET_NAMES))}")
    return name


def method_name(name: str) -> str:
    """The released name of a balancing method, followed by ours if it differs; --loss_metric accepts both."""
    released = next((theirs for theirs, ours in METHOD_NAMES.items() if ours == name), None)
    return f"{released} ({name})" if released else name


def method(text: str) -> str:
    """Type of an option: our name of a balancing method."""
    name = METHOD_NAMES.get(text, text)
    if name in _UNKNOWN_METHODS:
        raise argparse.ArgumentTypeError(f"{text} is not supported: {_UNKNOWN_METHODS[name]}")
    if name not in BALANCINGS:
        raise argparse.ArgumentTypeError(f"{text}: choose one of {', '.join((*METHOD_NAMES, *BALANCINGS))}")
    return name

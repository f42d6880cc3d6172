"""Methods for balancing the tasks, by their names in --balancing.

This file does not import torch, so that --help is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from losses.balancing.base import Balancing


class MethodSpec(NamedTuple):
    """The class of a method, and its arguments.

    Attributes:
        module, class_name: of the class.
        arguments: fixed by the name of the method.
        options: further arguments, named as on the command line.
    """

    module: str
    class_name: str
    arguments: dict[str, object]
    options: tuple[str, ...] = ()


def _torchjd(aggregator: str, **arguments: object) -> MethodSpec:
    return MethodSpec(
        "losses.balancing.gradients", "GradientBalancing", {"aggregator": aggregator, **arguments}, ("seed",)
    )


BALANCINGS = {
    "uncertainty": MethodSpec("losses.balancing.uncertainty", "UncertaintyWeighting", {}, ("loss_weights",)),
    "fixed": MethodSpec("losses.balancing.fixed", "FixedWeights", {}, ("loss_weights",)),
    "geometric": MethodSpec("losses.balancing.fixed", "GeometricLoss", {}, ("keep_exponents",)),
    "dwa": MethodSpec("losses.balancing.dwa", "DynamicWeightAverage", {"geometric": False}),
    "dwa-geometric": MethodSpec(
        *("losses.balancing.dwa", "DynamicWeightAverage", {"geometric": True}),
        ("keep_exponents",),
    ),
    "rlw": MethodSpec("losses.balancing.rlw", "RandomWeights", {"geometric": False}, ("seed",)),
    "rlw-geometric": MethodSpec(
        *("losses.balancing.rlw", "RandomWeights", {"geometric": True}),
        ("seed", "keep_exponents"),
    ),
    "dtp": MethodSpec(
        *("losses.balancing.dtp", "DynamicTaskPrioritization", {"geometric": False}),
        ("focusing_factor",),
    ),
    "dtp-geometric": MethodSpec(
        *("losses.balancing.dtp", "DynamicTaskPrioritization", {"geometric": True}),
        ("focusing_factor", "keep_exponents"),
    ),
    "gradnorm": MethodSpec("losses.balancing.gradnorm", "GradNorm", {}),
    "achievement": MethodSpec(
        *("losses.balancing.achievement", "Achievement", {"geometric": True}),
        ("potential", "margin", "focusing_factor", "keep_exponents"),
    ),
    "achievement-arithmetic": MethodSpec(
        *("losses.balancing.achievement", "Achievement", {"geometric": False}),
        ("potential", "margin", "focusing_factor"),
    ),
    "upgrad": _torchjd("UPGrad"),
    "pcgrad": _torchjd("PCGrad"),
    "cagrad": _torchjd("CAGrad", c=0.5),  # the paper's radius
    "mgda": _torchjd("MGDA", epsilon=1e-5, max_iters=250),  # torchjd's own stop is a thousandth from the optimum
    "imtl-g": _torchjd("IMTLG"),
    "aligned-mtl": _torchjd("AlignedMTL"),
    "nash-mtl": _torchjd("NashMTL"),
}


def build_balancing(name: str, tasks: tuple[str, ...], **options: object) -> "Balancing":
    """A balancing method for these tasks.

    Args:
        name: a key of BALANCINGS.
        options: arguments of the method, of which `keep_exponents` has a default; others are ignored.
    """
    method = BALANCINGS[name]
    chosen = {option: options[option] for option in method.options if option in options}
    return getattr(import_module(method.module), method.class_name)(tasks, **method.arguments, **chosen)

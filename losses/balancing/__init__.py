"""How the losses of several tasks become one number: the methods, by the names of --balancing.

Nothing here imports torch, so that the command line knows the names at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from losses.balancing.base import Balancing


class MethodSpec(NamedTuple):
    """Where a method lives and what sets it apart from others of its class.

    Attributes:
        module, class_name: its class.
        arguments: that come with the name.
        options: further arguments of the class, by the names that they have on the command line.
    """

    module: str
    class_name: str
    arguments: dict[str, object]
    options: tuple[str, ...] = ()


def _surgery(aggregator: str, **arguments: object) -> MethodSpec:
    return MethodSpec(
        "losses.balancing.gradients", "GradientBalancing", {"aggregator": aggregator, **arguments}, ("seed",)
    )


BALANCINGS = {
    "uncertainty": MethodSpec("losses.balancing.uncertainty", "UncertaintyWeighting", {}, ("loss_weights",)),
    "fixed": MethodSpec("losses.balancing.fixed", "FixedWeights", {}, ("loss_weights",)),
    "geometric": MethodSpec("losses.balancing.fixed", "GeometricLoss", {}),
    "dwa": MethodSpec("losses.balancing.dwa", "DynamicWeightAverage", {"geometric": False}),
    "dwa-geometric": MethodSpec("losses.balancing.dwa", "DynamicWeightAverage", {"geometric": True}),
    "rlw": MethodSpec("losses.balancing.rlw", "RandomWeights", {"geometric": False}, ("seed",)),
    "rlw-geometric": MethodSpec("losses.balancing.rlw", "RandomWeights", {"geometric": True}, ("seed",)),
    "dtp": MethodSpec(
        *("losses.balancing.dtp", "DynamicTaskPrioritization", {"geometric": False}),
        ("focusing_factor",),
    ),
    "dtp-geometric": MethodSpec(
        *("losses.balancing.dtp", "DynamicTaskPrioritization", {"geometric": True}),
        ("focusing_factor",),
    ),
    "gradnorm": MethodSpec("losses.balancing.gradnorm", "GradNorm", {}),
    "achievement": MethodSpec(
        *("losses.balancing.achievement", "Achievement", {"geometric": True}),
        ("potential", "margin", "focusing_factor"),
    ),
    "achievement-arithmetic": MethodSpec(
        *("losses.balancing.achievement", "Achievement", {"geometric": False}),
        ("potential", "margin", "focusing_factor"),
    ),
    "upgrad": _surgery("UPGrad"),
    "pcgrad": _surgery("PCGrad"),
    "cagrad": _surgery("CAGrad", c=0.5),  # the paper's radius
    "mgda": _surgery("MGDA", epsilon=1e-5, max_iters=250),  # torchjd's own stop is a thousandth from the optimum
    "imtl-g": _surgery("IMTLG"),
    "aligned-mtl": _surgery("AlignedMTL"),
    "nash-mtl": _surgery("NashMTL"),
}


def build_balancing(name: str, tasks: tuple[str, ...], **options: object) -> "Balancing":
    """A balancing method for these tasks.

    Args:
        name: a key of BALANCINGS.
        options: arguments of the method; others are ignored.
    """
    method = BALANCINGS[name]
    chosen = {option: options[option] for option in method.options}
    return getattr(import_module(method.module), method.class_name)(tasks, **method.arguments, **chosen)

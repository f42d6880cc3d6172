"""How the losses of several tasks become one number: the methods, by the names of --balancing.

Nothing here imports torch, so that the command line knows the names at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from losses.balancing.base import Balancing


class Method(NamedTuple):
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


def _surgery(aggregator: str, **arguments: object) -> Method:
    return Method("losses.balancing.gradients", "GradientBalancing", {"aggregator": aggregator, **arguments}, ("seed",))


BALANCINGS = {
    "uncertainty": Method("losses.balancing.uncertainty", "UncertaintyWeighting", {}, ("loss_weights",)),
    "fixed": Method("losses.balancing.fixed", "FixedWeights", {}, ("loss_weights",)),
    "geometric": Method("losses.balancing.fixed", "GeometricLoss", {}),
    "dwa": Method("losses.balancing.dwa", "DynamicWeightAverage", {"geometric": False}),
    "dwa-geometric": Method("losses.balancing.dwa", "DynamicWeightAverage", {"geometric": True}),
    "rlw": Method("losses.balancing.rlw", "RandomWeights", {"geometric": False}, ("seed",)),
    "rlw-geometric": Method("losses.balancing.rlw", "RandomWeights", {"geometric": True}, ("seed",)),
    "dtp": Method(
        *("losses.balancing.dtp", "DynamicTaskPrioritization", {"geometric": False}),
        ("focusing_factor",),
    ),
    "dtp-geometric": Method(
        *("losses.balancing.dtp", "DynamicTaskPrioritization", {"geometric": True}),
        ("focusing_factor",),
    ),
    "gradnorm": Method("losses.balancing.gradnorm", "GradNorm", {}),
    "achievement": Method(
        *("losses.balancing.achievement", "Achievement", {"geometric": True}),
        ("potential", "margin", "focusing_factor"),
    ),
    "achievement-arithmetic": Method(
        *("losses.balancing.achievement", "Achievement", {"geometric": False}),
        ("potential", "margin", "focusing_factor"),
    ),
    "upgrad": _surgery("UPGrad"),
    "pcgrad": _surgery("PCGrad"),
    "cagrad": _surgery("CAGrad", c=0.5),  # the paper's radius
    "mgda": _surgery("MGDA"),
    "imtl-g": _surgery("IMTLG"),
    "aligned-mtl": _surgery("AlignedMTL"),
    "nash-mtl": _surgery("NashMTL"),
}


def build_balancing(name: str, tasks: tuple[str, ...], **options: object) -> "Balancing":
    """A balancing method for these tasks.

    Args:
        name: a key of BALANCINGS.
        options: the arguments that the method wants; others are left aside.
    """
    method = BALANCINGS[name]
    chosen = {option: options[option] for option in method.options}
    return getattr(import_module(method.module), method.class_name)(tasks, **method.arguments, **chosen)

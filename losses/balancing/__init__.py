"""The balancing methods by their --balancing names.

Does not import torch, so that --help is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from losses.balancing.base import Balancing


class MethodSpec(NamedTuple):
    """Class and arguments of a method.

    Attributes:
        module, class_name: where to import the class from.
        arguments: arguments that the name of the method fixes.
        options: arguments set by command-line options of the same names.
    """

    module: str
    class_name: str
    arguments: dict[str, object]
    options: tuple[str, ...] = ()

    @property
    def needs_torchjd(self) -> bool:
        """Whether the method needs the optional torchjd package."""
        return self.class_name == "GradientBalancing"


_SUM, _GEOMETRIC = {"geometric": False}, {"geometric": True}
_DWA = ("losses.balancing.dwa", "DynamicWeightAverage")
_RLW = ("losses.balancing.rlw", "RandomWeights")
_DTP = ("losses.balancing.dtp", "DynamicTaskPrioritization")
_ACHIEVEMENT = ("losses.balancing.achievement", "Achievement")


def _torchjd(aggregator: str, **arguments: object) -> MethodSpec:
    return MethodSpec(
        "losses.balancing.gradients", "GradientBalancing", {"aggregator": aggregator, **arguments}, ("seed",)
    )


BALANCINGS = {
    "uncertainty": MethodSpec("losses.balancing.uncertainty", "UncertaintyWeighting", {}, ("loss_weights",)),
    "fixed": MethodSpec("losses.balancing.fixed", "FixedWeights", {}, ("loss_weights",)),
    "geometric": MethodSpec("losses.balancing.fixed", "GeometricLoss", {}, ("keep_exponents",)),
    "dwa": MethodSpec(*_DWA, _SUM),
    "dwa-geometric": MethodSpec(*_DWA, _GEOMETRIC, ("keep_exponents",)),
    "rlw": MethodSpec(*_RLW, _SUM, ("seed",)),
    "rlw-geometric": MethodSpec(*_RLW, _GEOMETRIC, ("seed", "keep_exponents")),
    "dtp": MethodSpec(*_DTP, _SUM, ("focusing_factor",)),
    "dtp-geometric": MethodSpec(*_DTP, _GEOMETRIC, ("focusing_factor", "keep_exponents")),
    "gradnorm": MethodSpec("losses.balancing.gradnorm", "GradNorm", {}),
    "achievement": MethodSpec(*_ACHIEVEMENT, _GEOMETRIC, ("potential", "margin", "focusing_factor", "keep_exponents")),
    "achievement-arithmetic": MethodSpec(*_ACHIEVEMENT, _SUM, ("potential", "margin", "focusing_factor")),
    "upgrad": _torchjd("UPGrad"),
    "pcgrad": _torchjd("PCGrad"),
    "cagrad": _torchjd("CAGrad", c=0.5),  # the paper's radius
    "mgda": _torchjd("MGDA", epsilon=1e-5, max_iters=250),  # torchjd's defaults stop about 1e-3 from the optimum
    "imtl-g": _torchjd("IMTLG"),
    "aligned-mtl": _torchjd("AlignedMTL"),
    "nash-mtl": _torchjd("NashMTL"),
}


def build_balancing(name: str, tasks: tuple[str, ...], **options: object) -> "Balancing":
    """Build a balancing method for these tasks.

    Args:
        name: a key of BALANCINGS.
        options: arguments of the method, all required except `keep_exponents`; others are ignored.
    """
    method = BALANCINGS[name]
    chosen = {option: options[option] for option in method.options if option in options}
    return getattr(import_module(method.module), method.class_name)(tasks, **method.arguments, **chosen)

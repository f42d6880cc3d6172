"""First program: options of the evaluation protocol. Nothing here imports torch."""

import argparse
import math

from datasets import CLASS_MAPS
from metrics.protocol import (
    ALIGNMENTS,
    CLAMPINGS,
    EXTRA_METRIC_TASKS,
    PRESETS,
    DepthProtocol,
    Protocol,
    Region,
    aligned,
)
from options.parser import positive_rate, rate
from utils.errors import UserError
from utils.tasks import MAX_DEPTH, parse_tasks


def add_protocol_options(parser: argparse.ArgumentParser) -> None:
    """What is compared, and how metrics are averaged; the defaults are those of the released code."""
    group = parser.add_argument_group("protocol")
    _add_comparison(group)  # `identity_of` lists options in this order
    _add_exclusions(group)
    _add_transformations(group)
    group.add_argument(
        "--at_truth_size",
        action="store_true",
        help="resize predictions to the stored ground truth, instead of the ground truth to the predictions",
    )
    group.add_argument(
        "--more_metrics",
        nargs="+",
        choices=tuple(EXTRA_METRIC_TASKS),
        default=[],
        metavar="NAME",
        help=f"extra metrics, which take longer: {', '.join(EXTRA_METRIC_TASKS)}; see docs/evaluate.md",
    )
    group.add_argument(
        "--classes", choices=CLASS_MAPS, help="Struc3D: merge its 25 classes into the 13 classes of NYU v2"
    )
    group.add_argument(
        "--protocol",
        nargs="+",
        choices=tuple(PRESETS),
        default=[],
        metavar="NAME",
        help=f"add depth metrics by the protocols of other programs: {', '.join(PRESETS)}; see docs/evaluate.md",
    )


def _add_comparison(group: argparse._ArgumentGroup) -> None:
    """How depth is compared, and how metrics are averaged."""
    group.add_argument(
        "--align",
        nargs="+",
        choices=tuple(ALIGNMENTS),
        default=["none"],
        metavar="FIT",
        help=f"alignment of predicted depth per image: {', '.join(ALIGNMENTS)}; each adds metrics that end in its name",
    )
    group.add_argument(
        "--align_weights",
        choices=("uniform", "solid_angle"),
        default="uniform",
        help="pixel weights in the alignment",
    )
    group.add_argument("--min_depth", type=rate, default=0.0, metavar="M", help="ignore ground truth up to M meters")
    group.add_argument(
        "--max_depth", type=positive_rate, default=MAX_DEPTH, metavar="M", help="ignore ground truth beyond M meters"
    )
    group.add_argument(
        "--clamp_depth",
        choices=CLAMPINGS,
        default="both",
        help="clamp prediction and ground truth (both), the prediction, or none to --min_depth (0.1 m if not given) .. "
        "--max_depth",
    )
    group.add_argument(
        "--pool",
        nargs="+",
        choices=("image", "pixel"),
        default=["image"],
        metavar="HOW",
        help="image: means over images; pixel: adds metrics over the pixels of all images together (_per_pixel)",
    )


def _add_exclusions(group: argparse._ArgumentGroup) -> None:
    """Which pixels are ignored by all metrics."""
    group.add_argument(
        "--pole_crop", type=rate, default=0.0, metavar="DEGREES", help="ignore latitudes this close to the poles"
    )
    group.add_argument("--mask_black", action="store_true", help="ignore pixels whose RGB is black")
    group.add_argument(
        "--mask",
        metavar="PATH",
        help="ignore pixels that are black in this gray image, or in the mask of each panorama in this folder (ID.png)",
    )


def _add_transformations(group: argparse._ArgumentGroup) -> None:
    """How panoramas are transformed before a network sees them."""
    group.add_argument(
        "--turn",
        type=float,
        nargs=3,
        metavar=("YAW", "PITCH", "ROLL"),
        help="evaluate a network on panoramas as if the camera were turned by these degrees: right, up and clockwise",
    )
    group.add_argument(
        "--zoom",
        type=positive_rate,
        default=1.0,
        metavar="S",
        help="evaluate a network, without normals, on panoramas whose front is magnified S times by a Moebius "
        "transformation of the sphere",
    )


def protocol_of(options: argparse.Namespace) -> Protocol:
    """The protocol of an evaluation; for its dataset see `options.evaluation.check_protocol`.

    Raises:
        UserError: when options contradict each other.
    """
    region = Region(options.min_depth, options.max_depth, options.pole_crop, options.mask_black)
    if options.min_depth >= options.max_depth:
        raise UserError(f"--min_depth {options.min_depth:g} must be below --max_depth {options.max_depth:g}")
    if options.pole_crop >= 90:
        raise UserError(f"--pole_crop {options.pole_crop:g} leaves no pixel: pass an angle below 90 degrees")
    depth = DepthProtocol(clamp=options.clamp_depth)
    if options.trivial and (region.min_depth, region.max_depth, depth) != (0.0, MAX_DEPTH, DepthProtocol()):
        raise UserError(
            "--trivial does not support --min_depth, --max_depth and --clamp_depth: drop it, or these options"
        )
    if options.turn and not all(map(math.isfinite, options.turn)):
        raise UserError("--turn: pass three finite angles in degrees")
    if options.zoom != 1 and "normal" in parse_tasks(options.task):
        raise UserError("--zoom distorts directions, so normals are meaningless: pass a --task without normal")
    more, tasks = tuple(dict.fromkeys(options.more_metrics)), parse_tasks(options.task)
    if lacking := next((name for name in more if not {*EXTRA_METRIC_TASKS[name]} <= {*tasks}), None):
        needed = " and ".join(EXTRA_METRIC_TASKS[lacking])
        raise UserError(f"--more_metrics {lacking} needs {needed}: drop it, or change --task")
    others = [one for name in dict.fromkeys(options.protocol) for one in PRESETS[name](options.dataset)]
    main_and_aligned = aligned(tuple(options.align), depth, options.align_weights == "solid_angle")
    if options.trivial and options.at_truth_size:
        raise UserError("--trivial fits maps of the size of the predictions: drop it, or --at_truth_size")
    depths, pools_pixels = (*main_and_aligned, *others), "pixel" in options.pool
    return Protocol(region, depths, pools_pixels, more, mask_digest(options) or "", options.at_truth_size)


def mask_digest(options: argparse.Namespace) -> str | None:
    """A digest of the masks of --mask; None without this option.

    Raises:
        UserError: when they do not exist.
    """
    if not options.mask:
        return None
    from datasets.masks import Masks  # imports torch

    return Masks(options.mask).digest()


def identity_of(options: argparse.Namespace) -> dict[str, str | None]:
    """The protocol options as entries that identify an evaluation; None if all have their defaults."""
    parser = argparse.ArgumentParser()
    add_protocol_options(parser)
    defaults = vars(parser.parse_args([]))
    changed = [
        f"--{name} {_text(getattr(options, name))}"
        for name in defaults
        if name != "mask" and getattr(options, name) != defaults[name]
    ]
    return {"protocol": " ".join(changed) or None, "--mask sha256": mask_digest(options)}


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

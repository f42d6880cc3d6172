"""First program (eval_elite360m.py): what is evaluated, and what identifies an evaluation."""

import argparse
import hashlib
from collections.abc import Iterable
from pathlib import Path

from datasets.class_maps import ClassMap, MergedBatches, find_class_map
from datasets.masks import MaskedBatches, Masks
from datasets.panorama import PanoramaDataset
from datasets.turned import TurnedBatches
from metrics.protocol import Region
from metrics.region import RegionBatches
from networks.checkpoint import FOLDS, Checkpoint, ModelSettings
from options.protocol import identity_of
from prediction.foreign import ForeignPredictions
from reports.evaluation import Extras
from utils.errors import UserError
from utils.tasks import RELATIVE


def extras_of(options: argparse.Namespace) -> Extras:
    """What to do besides measuring the candidate."""
    return Extras(options.log_frequency, options.trivial, options.cost, options.report)


def check_foreign(options: argparse.Namespace) -> None:
    """Check that the other options are compatible with --predictions.

    Raises:
        UserError: when one of them needs a network.
    """
    needing = {"--tta": options.tta > 1, "--cost": options.cost, "--turn": options.turn, "--zoom": options.zoom != 1}
    for flag, is_given in needing.items():
        if is_given:
            raise UserError(f"{flag} needs a network: drop it for --predictions")


def check_protocol(options: argparse.Namespace, dataset: PanoramaDataset) -> None:
    """Check that the protocol options are suitable for a dataset.

    Raises:
        UserError: when they need depth in meters or normals in the camera frame, which the dataset does not have.
    """
    in_meters = [f"--protocol {name}" for name in options.protocol if name != "unifuse"]
    in_meters += ["--more_metrics points"] * ("points" in options.more_metrics)
    if in_meters and dataset.depth_unit == RELATIVE:
        remedy = "pass --metric_depth, or drop it" if options.dataset == "Struc3D" else "drop it"
        raise UserError(f"{in_meters[0]} needs depth in meters, but the dataset's is relative: {remedy}")
    if "consistency" in options.more_metrics and dataset.normal_frame != "camera":
        raise UserError(
            "--more_metrics consistency needs normals in the camera frame, not in that of the world: drop it"
        )


def evaluated_batches(
    loaded: Iterable[dict],
    options: argparse.Namespace,
    class_map: ClassMap | None,
    normal_frame: str,
    region: Region,
) -> Iterable[dict]:
    """Batches as they are evaluated: with merged classes, turned and zoomed along with their masks, and without the
    ground truth outside the region and the masks."""
    batches = MergedBatches(loaded, class_map) if class_map else loaded
    if options.mask:
        batches = MaskedBatches(batches, Masks(options.mask))
    if options.turn or options.zoom != 1:
        batches = TurnedBatches(batches, tuple(options.turn or (0.0, 0.0, 0.0)), normal_frame, options.zoom)
    return RegionBatches(batches, region)


def class_map_of(options: argparse.Namespace) -> ClassMap | None:
    """The map to the classes of --classes; None without that option.

    Raises:
        UserError: when the dataset's classes cannot be merged into them.
    """
    return find_class_map(options.classes, options.dataset) if options.classes else None


def fold_notes(options: argparse.Namespace, settings: ModelSettings) -> list[str]:
    """A line of text if the evaluated fold is not the one that the network was trained on; otherwise none."""
    trained, evaluated = settings.fold or FOLDS[0], options.fold or FOLDS[0]
    if not options.dataset == settings.dataset == "S2D3D" or options.val_list or trained == evaluated:
        return []
    return [
        f"trained on fold {trained}, evaluated on fold {evaluated}, of which it has seen areas in training: pass "
        f"--fold {trained}"
    ]


def size_notes(dataset: PanoramaDataset, settings: ModelSettings) -> list[str]:
    """A line of text if panoramas are not evaluated at the training size; otherwise none."""
    if (dataset.height, dataset.width) == (settings.height, settings.width):
        return []
    return [
        f"evaluated at {dataset.height}x{dataset.width}, trained at {settings.height}x{settings.width} "
        "(--height, --width): errors may be much larger than at the size of the training"
    ]


def identify(
    options: argparse.Namespace, source: Checkpoint | ForeignPredictions, dataset: PanoramaDataset, precision: str
) -> dict:
    """What the metrics of an evaluation depend on, as plain values; for `precision` see `training.setup`."""
    return {
        "checkpoint sha256": source.sha256,
        "--predictions": str(source.path.resolve()) if options.predictions else None,
        "--task": options.task,
        "--dataset": options.dataset,
        "--dataset_rootdir": str(Path(options.dataset_rootdir).resolve()) if options.dataset_rootdir else None,
        "--split": options.split,
        "--fold": options.fold,
        "--val_list sha256": hashlib.sha256(Path(options.val_list).read_bytes()).hexdigest()
        if options.val_list
        else None,
        "number of panoramas": len(dataset),
        "--height": dataset.height,
        "--width": dataset.width,
        "--tta": options.tta,
        "precision (--amp, --no_tf32, --device)": precision,
        "unit of depth": dataset.depth_unit,
        "frame of the normals": dataset.normal_frame,
        **identity_of(options),
    }

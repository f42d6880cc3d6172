"""The result files of an evaluation."""

import argparse
import math

from datasets.panorama import PanoramaDataset
from datasets.perspective import PerspectiveDataset
from metrics.evaluator import describe_protocol
from metrics.protocol import PER_PIXEL, SOLID_ANGLE, Protocol
from networks.saved_network import SavedNetwork
from prediction.foreign import ForeignPredictions
from tasks import EXTRA_METRICS, TASKS
from training.run_folder import RunFolder
from utils.files import write_csv, write_json, write_text
from utils.provenance import provenance
from utils.text import metrics_line

_OTHERS = ("plain", "constant", "fixed_map")  # keys of the other predictors in results.json


def complete(task: str, values: dict[str, float]) -> dict[str, float | None]:
    """All metrics of a task; None for those that are missing because no panorama has ground truth."""
    return {**dict.fromkeys(TASKS[task].metric.metric_names), **values}


def describe_protocols(protocol: Protocol) -> dict[str, str]:
    """Definitions of all metrics of an evaluation, including the extra ones; see `metrics.evaluator`."""
    return describe_protocol(protocol) | {name: EXTRA_METRICS[name].description for name in protocol.more}


def describe_evaluation(
    options: argparse.Namespace,
    name: str,
    source: SavedNetwork | ForeignPredictions,
    dataset: PanoramaDataset,
    num_images: int,
    protocol: Protocol,
) -> dict:
    """The content of results.json besides the metrics; `name` is the name of the evaluated predictions."""
    return {
        "protocol": describe_protocols(protocol),
        "backbone": name if options.predictions else options.backbone,
        "dataset": options.dataset,
        "split": options.split,
        "fold": options.fold,
        "classes": options.classes,
        "tta": options.tta,
        "turn": options.turn,
        "zoom": options.zoom,
        "list": options.val_list,
        **origin_of(source, dataset, num_images),
    }


def origin_of(
    source: SavedNetwork | ForeignPredictions, dataset: PanoramaDataset | PerspectiveDataset, num_images: int
) -> dict:
    """Checkpoint, dataset and provenance in the results.json of both programs."""
    return {
        "depth_unit": dataset.depth_unit,
        "normal_frame": dataset.normal_frame,
        "num_skipped": len(dataset) - num_images,
        "num_images": num_images,
        "height": dataset.height,
        "width": dataset.width,
        "checkpoint": {
            "path": str(source.path),
            "sha256": source.sha256,
            "epoch": source.epoch,
            "dataset": source.settings.dataset,
        },
        **provenance(),
    }


def write_results(run: RunFolder, summary: dict, rows: list[dict]) -> None:
    """Write result.txt per task, results.json and per_image.csv; print the metrics."""
    protocol = summary["protocol"]
    depth_suffixes = [name for name in protocol if name.startswith("_") and name != SOLID_ANGLE]
    comments = [
        *(f"# {name}: {text}" for name, text in protocol.items() if name not in (*TASKS, SOLID_ANGLE)),
        f"# depth unit: {summary['depth_unit']}; frame of the normals: {summary['normal_frame']}",
        *(f"# {note}" for note in summary["notes"]),
    ]
    for task, values in summary["results"].items():
        suffixes = depth_suffixes if task == "depth" else [PER_PIXEL]
        lines = [f"# {protocol[task]}", *comments]
        if all(values.get(name) is None for name in TASKS[task].metric.metric_names):
            note = f"{task}: no panorama has ground truth, so there are only metrics that do not need it"
            print(note)
            lines.append(f"# {note}")
        titles = ("", ", without --tta", ", best constant of each metric", f", {TASKS[task].fixed_map.title}")
        for name, title in zip(("results", *_OTHERS), titles, strict=True):
            metrics = {key: x for key, x in summary.get(name, {}).get(task, {}).items() if x is not None}
            if metrics:
                print_metrics(f"{task}{title}", metrics, suffixes)
            lines += [f"{'' if name == 'results' else name + ' '}{key}: {x:.6f}" for key, x in metrics.items()]
        write_text(run.result(task), "\n".join(lines) + "\n")
    if "cost" in summary:
        print_cost(summary["cost"])
    write_tables(run, summary, rows)


def print_metrics(name: str, metrics: dict[str, float], suffixes: list[str]) -> None:
    """Print the metrics of a predictor: one line for metrics without a suffix, and one for each of the `suffixes`."""
    groups: dict[str, dict[str, float]] = {"": {}}
    for key, value in metrics.items():
        suffix = max((end for end in suffixes if key.removesuffix(SOLID_ANGLE).endswith(end)), key=len, default="")
        groups.setdefault(suffix, {})["".join(key.rsplit(suffix, 1)) if suffix else key] = value
    for suffix, group in groups.items():
        print(f"{name}{suffix and f' ({suffix[1:]})'}: {metrics_line(group, for_people=True)}")


def print_cost(cost: dict[str, float | None]) -> None:
    """Print the cost of a prediction, see `prediction.cost`."""
    memory = cost["peak_memory_mib"]
    print(
        f"cost: {cost['parameters'] / 1e6:.1f} M parameters, {cost['multiply_adds'] / 1e9:.1f} G multiply-adds, "
        f"{cost['ms_per_image']:.1f} ms per panorama" + (f", {memory:.0f} MiB" if memory else "")
    )


def write_tables(run: RunFolder, summary: dict, rows: list[dict]) -> None:
    """Write results.json and per_image.csv."""
    write_csv(run.root / "per_image.csv", [{key: _cell(value) for key, value in row.items()} for row in rows])
    write_json(run.root / "results.json", summary)


def _cell(value: object) -> object:
    """A value of a CSV table; non-finite values become empty."""
    return "" if isinstance(value, float) and not math.isfinite(value) else value

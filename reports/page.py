"""The HTML report of an evaluation: metrics, error profiles, and images from the worst to the best.

This module prepares the values of the template report.html.j2.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from metrics.breakdown import Breakdown, PixelError
from reports.charts import distance_chart, iou_chart, latitude_chart
from reports.gallery import GROUP_SIZE, GalleryImage, badness, draw_tiles, encode_smallest, score_key
from tasks import TASKS
from utils.files import write_text
from utils.text import metric_title
from visual.color_scale import ColorScale
from visual.displays import Display, DisplaySettings
from visual.drawing import data_url, scale_colors, unit_symbol
from visual.map_displays import occurring_classes

_FOLDER = Path(__file__).parent
_BASELINES = ("constant", "fixed_map")  # keys in the summary
_PREDICTORS = ("results", "plain", *_BASELINES)
_WEIGHTINGS = {"": "per pixel", "_solid_angle": "per solid angle"}  # by metric suffix
_MAX_NUMBERED = 20  # confusion matrices of more classes have no numbers


@dataclass(frozen=True)
class Report:
    """The content of a report.

    Attributes:
        summary: content of results.json.
        rows: metrics of each image, see `metrics.evaluator.Evaluator`.
        breakdowns: error profiles by task.
        baseline_breakdowns: error profiles of the fixed maps by task, or empty.
        shown: images to show by task, see `reports.gallery.Gallery`.
        display_settings: display settings of the dataset.
    """

    summary: dict
    rows: list[dict]
    breakdowns: dict[str, Breakdown]
    baseline_breakdowns: dict[str, Breakdown]
    shown: dict[str, list[GalleryImage]]
    display_settings: DisplaySettings

    def unit(self, unit: str) -> str:
        """A unit as displayed; "m" is omitted for relative depth."""
        return unit_symbol(self.display_settings.depth_unit) if unit == "m" else unit

    def has_ground_truth(self, task: str) -> bool:
        """Whether any image has ground truth for a task."""
        return bool(self.breakdowns[task].by_latitude.counts.sum())


def write_report(path: Path, report: Report) -> None:
    """Write the page, atomically."""
    write_template(path, "report.html.j2", prepare(report), number=number, quantity=quantity)


def write_template(path: Path, template: str, values: dict, **filters: Callable[..., str]) -> None:
    """Fill a template of this folder and write the page, atomically."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,  # ids, class names and paths are untrusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    css = Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))
    write_text(path, environment.get_template(template).render(values, css=css) + "\n")


def prepare(report: Report) -> dict:
    """The values of the template."""
    summary = report.summary
    return {
        "title": f"{summary['backbone']} on {summary['dataset']}: {', '.join(report.breakdowns)}",
        "javascript": Markup((_FOLDER / "report.js").read_text(encoding="utf-8")),
        "facts": _facts(summary),
        "notes": summary["notes"],
        "tasks": [_task(report, task) for task in report.breakdowns],
        "metric_notes": _metric_notes(summary),
        "classes": _classes(report),
        "profiles": _profiles(report),
        "profile_baselines": [f"{_predictor('fixed_map', task)} ({task})" for task in report.baseline_breakdowns],
        "galleries": [_gallery(report, task) for task, shown in report.shown.items() if shown],
        "provenance": _provenance(summary),
    }


def _facts(summary: dict) -> dict[str, str]:
    """Dataset, checkpoint and options; empty values are not displayed."""
    skipped = f", {summary['num_skipped']} bad ones skipped" if summary["num_skipped"] else ""
    epoch = f", epoch {summary['checkpoint']['epoch']}" if summary["checkpoint"]["epoch"] else ""
    return {
        "dataset": f"{summary['dataset']}, {summary['list'] or 'split ' + summary['split']}",
        "images": f"{summary['num_images']} of {summary['width']}x{summary['height']} pixels (width x height){skipped}",
        "views": f"average over {summary['tta']} of each image" if summary["tta"] > 1 else "",
        "checkpoint": f"{Path(summary['checkpoint']['path']).name}{epoch}",
        "depth": summary["depth_unit"],
        "normals": f"in the {summary['normal_frame']} frame",
    }


def _task(report: Report, task: str) -> dict:
    """All metrics of a task, in each weighting, for all predictors."""
    summary = report.summary
    metrics = {key: summary[key][task] for key in _PREDICTORS if task in summary.get(key, {})}
    names = [name for name, value in metrics["results"].items() if value is not None]
    weightings = [suffix for suffix in _WEIGHTINGS if not suffix or any(name.endswith(suffix) for name in names)]
    baselines = summary.get("baselines", {})
    return {
        "name": task,
        "has_ground_truth": report.has_ground_truth(task),
        "headline": _headline(report, task),
        "predictors": [_predictor(key, task) for key in metrics],
        "weightings": [_WEIGHTINGS[suffix] for suffix in weightings],
        "rows": [
            {
                "name": metric_title(name),
                "is_best": name == TASKS[task].best_metric,
                "cells": [
                    {"key": f"{key}/{task}/{name}{suffix}", "value": values.get(name + suffix)}
                    for suffix in weightings
                    for key, values in metrics.items()
                ],
            }
            for name in names
            if not name.endswith("_solid_angle")
        ],
        "notes": [
            summary["protocol"][task],
            *(
                f"{_predictor(key, task).capitalize()}: {baselines[key][task]}."
                for key in _BASELINES
                if task in baselines.get(key, {})
            ),
        ],
    }


def _headline(report: Report, task: str) -> dict:
    """The metric that selects the best model, also for the baselines."""
    name = TASKS[task].best_metric
    baselines = {key: report.summary.get(key, {}).get(task, {}).get(name) for key in _BASELINES}
    return {
        "metric": metric_title(name),
        "value": report.summary["results"][task].get(name),
        "unit": report.unit(TASKS[task].unit),
        "better": "higher" if TASKS[task].higher_is_better else "lower",
        "baselines": [(_predictor(key, task), value) for key, value in baselines.items() if value is not None],
    }


def _predictor(key: str, task: str) -> str:
    """Displayed name of a predictor."""
    titles = {"results": "network", "plain": "one view", "constant": "best constant"}
    return titles.get(key, TASKS[task].fixed_map.title)


def _metric_notes(summary: dict) -> list[str]:
    protocol = summary["protocol"]
    notes = [f"Per solid angle: {protocol['_solid_angle']}. Seam: {protocol['seam']}."]
    if "plain" in summary:
        notes.append(f"Network: averaged over {summary['tta']} views of each image; one view: without averaging.")
    return notes


def _classes(report: Report) -> dict | None:
    """Confusion matrix and IoU; None without segmentation or labeled pixels."""
    confusions = [breakdown.confusion for breakdown in report.breakdowns.values() if breakdown.confusion is not None]
    if not confusions:
        return None
    (confusion,) = confusions
    if not confusion.sum():
        return None
    names = report.display_settings.class_names
    rows = [
        _confusion_row(name, counts, names, i) for i, (name, counts) in enumerate(zip(names, confusion, strict=True))
    ]
    return {
        "names": names,
        "rows": rows,
        "iou_chart": Markup(iou_chart("IoU per class", confusion, names, report.display_settings.class_colours)),
        "absent": [row["name"] for row in rows if not row["total"]],
    }


def _confusion_row(name: str, counts: np.ndarray, names: tuple[str, ...], diagonal: int) -> dict:
    """The row of a class in the confusion matrix, given its counts (K,); without cells if it has no pixels."""
    total = counts.sum()
    cells = []
    for i, count in enumerate(counts if total else ()):
        fraction = float(count / total)
        cells.append(
            {
                "name": names[i],
                "count": count,
                "fraction": fraction,
                "kind": ("right" if i == diagonal else "wrong") + (" strong" if fraction > 0.5 else ""),
                "shade": fraction**0.7,  # makes small fractions visible
                "text": f"{100 * fraction:.0f}" if len(names) <= _MAX_NUMBERED and fraction >= 0.005 else "",
            }
        )
    return {"name": name, "total": total, "cells": cells}


def _profiles(report: Report) -> dict[str, Markup]:
    """Charts of the errors by distance and by latitude of the tasks with ground truth, by caption."""
    charts = {}
    for task, breakdown in report.breakdowns.items():
        if report.has_ground_truth(task):
            for error in breakdown.by_distance.means:
                charts |= _profile_pair(report, task, error)
    return charts


def _profile_pair(report: Report, task: str, error: PixelError) -> dict[str, Markup]:
    """The charts of an error; the one by distance requires ground truth depth."""
    ours, baseline = report.breakdowns[task], report.baseline_breakdowns.get(task)
    unit, distance = report.unit(error.unit), report.unit("m") or "relative"
    heading = f"{task}: {error.label}{f' ({unit})' if unit else ''}"
    charts = {}
    if ours.by_distance.counts.any():
        label = f"{heading} by distance ({distance})"
        drawn = distance_chart(label, ours.by_distance, baseline and baseline.by_distance, error, unit)
        charts[label] = Markup(drawn)
    label = f"{heading} by latitude"
    charts[label] = Markup(latitude_chart(label, ours.by_latitude, baseline and baseline.by_latitude, error, unit))
    return charts


def _gallery(report: Report, task: str) -> dict:
    """The images to show for a task, from the worst to the best if they have scores, with scales and legend."""
    display, settings, shown = TASKS[task].display, report.display_settings, report.shown[task]
    maps = tuple(values for image in shown for values in image.thumbnail.maps())
    scale = display.scale(maps, settings)
    is_ranked = shown[0].score is not None
    ranks = _ranks(report.rows, task) if is_ranked else {}
    scales = {"": scale, "error": display.error_scale(settings) if is_ranked else None}
    return {
        "task": task,
        "metric": metric_title(TASKS[task].image_metric),
        "unit": report.unit(TASKS[task].unit),
        "is_ranked": is_ranked,
        "total": len(ranks) if is_ranked else len(report.rows),
        "group_size": GROUP_SIZE,
        "caption": display.caption,
        "marks": all_marks(display, maps, settings),
        "scales": [color_scale(label, scale) for label, scale in scales.items() if scale],
        "classes": _class_legend(maps, settings) if report.breakdowns[task].confusion is not None else [],
        "cards": _cards(shown, task, ranks, settings, scale),
    }


def all_marks(display: Display, maps: tuple[np.ndarray, ...], settings: DisplaySettings) -> list[str]:
    """Legends of the colors of missing values that occur in these maps."""
    return list(dict.fromkeys(mark for values in maps for mark in display.marks(values, settings)))


def _class_legend(maps: tuple[np.ndarray, ...], settings: DisplaySettings) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colors of the classes in label maps, most frequent first."""
    return [(settings.class_names[i], settings.class_colours[i]) for i in occurring_classes(maps)]


def _ranks(rows: list[dict], task: str) -> dict[int, int]:
    """Rank of each image by index; 1 is the worst."""
    scores = {row["index"]: row[score_key(task)] for row in rows if score_key(task) in row}
    order = sorted(scores, key=lambda index: badness(task, scores[index], index), reverse=True)
    return {index: rank for rank, index in enumerate(order, start=1)}


def color_scale(label: str, scale: ColorScale) -> dict:
    """A color scale for the templates."""
    gradient = scale_colors(np.linspace(scale.low, scale.high, 120)[None].repeat(10, axis=0), scale)
    return {"label": label, **scale._asdict(), "image": data_url(encode_smallest(gradient))}


def _cards(
    shown: list[GalleryImage], task: str, ranks: dict[int, int], settings: DisplaySettings, scale: ColorScale | None
) -> list[dict]:
    """The images to show, with the number of skipped images before each; `ranks` is empty for unranked images."""
    cards, last = [], 0
    for image in shown:
        rank = ranks.get(image.index)
        tiles = draw_tiles(image.thumbnail, task, settings, scale)
        cards.append(
            {
                "index": image.index,
                "id": image.id,
                "score": image.score,
                "rank": rank,
                "skipped": rank - last - 1 if rank else 0,
                "tiles": {name: data_url(tile) for name, tile in tiles.items()},
            }
        )
        last = rank
    return cards


def _provenance(summary: dict) -> dict[str, object]:
    return {
        "checkpoint": summary["checkpoint"]["path"],
        "sha256": summary["checkpoint"]["sha256"],
        "epoch": summary["checkpoint"]["epoch"] or "unknown",
        "command": shlex.join(["python", *summary["command"]]),
        "commit": summary["git_commit"] or "unknown",
        "versions": ", ".join(f"{name} {version}" for name, version in summary["versions"].items()),
        "python": summary["python"],
        "device": summary["device"],
    }


def quantity(value: float, unit: str) -> str:
    """A value with its unit."""
    return f"{number(value)}{'' if unit == '°' else ' '}{unit}".rstrip()


def number(value: float) -> str:
    """A value with about four significant digits."""
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"

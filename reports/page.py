"""The report of an evaluation as one HTML file: figures, where errors lie, and images from the worst to the best."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from metrics.breakdown import Breakdown, PixelError
from reports.class_charts import confusion_chart, iou_chart
from reports.elements import Child, data_uri, element, render
from reports.gallery import GROUP_SIZE, TILES, Shown, badness, encode_small, score_key
from reports.profile_charts import distance_chart, latitude_chart
from tasks import TASKS
from visual.displays import Look
from utils.files import write_text
from visual.drawing import scale_colours, unit_symbol

_HERE = Path(__file__).parent
_SOLID_ANGLE = "_solid_angle"
# Keys of predictors in the summary; `_predictor` says what stands above their figures.
_PREDICTORS = ("results", "plain", "constant", "fixed_map")
_NO_TRUTH = "no panorama has ground truth for it"


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Attributes:
        summary: the content of results.json.
        rows: of the images, see `metrics.evaluator.Evaluator`.
        breakdowns: where the errors lie, per task.
        baseline_breakdowns: the same of the fixed maps, or empty.
        shown: the images that are shown, per task, see `reports.gallery.Gallery`.
        look: what pictures depend on, of the dataset.
    """

    summary: dict
    rows: list[dict]
    breakdowns: dict[str, Breakdown]
    baseline_breakdowns: dict[str, Breakdown]
    shown: dict[str, list[Shown]]
    look: Look

    def unit(self, unit: str) -> str:
        """A unit as it is written, "m" being left out where depth is relative."""
        return unit_symbol(self.look.depth_unit) if unit == "m" else unit


def write_report(path: Path, report: Report) -> None:
    """Write the page, atomically."""
    write_text(path, render(_page(report)))


def _page(report: Report) -> Element:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", _title(report)),
        element("style", (_HERE / "page.css").read_text(encoding="utf-8")),
    )
    body = element(
        "body",
        _header(report),
        _figures(report),
        _classes(report),
        _profiles(report),
        _images(report),
        _provenance(report),
        element("script", (_HERE / "page.js").read_text(encoding="utf-8")),
    )
    return element("html", head, body, lang="en")


def _title(report: Report) -> str:
    return f"{report.summary['backbone']} on {report.summary['dataset']}: {', '.join(report.breakdowns)}"


def _header(report: Report) -> Element:
    summary = report.summary
    skipped = f", {summary['num_skipped']} bad ones skipped" if summary["num_skipped"] else ""
    trained = f", epoch {summary['checkpoint']['epoch']}" if summary["checkpoint"]["epoch"] else ""
    facts = {
        "dataset": f"{summary['dataset']}, {summary['list'] or 'split ' + summary['split']}",
        "images": f"{summary['num_images']} of {summary['width']}x{summary['height']} pixels (width x height){skipped}",
        "views": f"average over {summary['tta']} of each image" if summary["tta"] > 1 else "",
        "checkpoint": f"{Path(summary['checkpoint']['path']).name}{trained}",
        "depth": summary["depth_unit"],
        "normals": f"in the {summary['normal_frame']} frame",
        "note": "; ".join(summary["notes"]),
    }
    return element(
        "header",
        element("h1", _title(report)),
        element("div", *(_fact(name, value) for name, value in facts.items() if value), class_="facts"),
        element("div", *(_headline(report, task) for task in report.breakdowns), class_="headlines"),
    )


def _fact(name: str, value: str) -> Element:
    return element("div", element("span", name), value)


def _headline(report: Report, task: str) -> Element:
    """The figure that decides which model is best, large."""
    name, unit = TASKS[task].best_metric, report.unit(TASKS[task].unit)
    value = report.summary["results"][task].get(name)
    if value is None:
        return element("div", element("h2", task), element("p", _NO_TRUTH), class_="headline")
    better = "higher is better" if TASKS[task].higher_is_better else "lower is better"
    baselines = {key: report.summary.get(key, {}).get(task, {}).get(name) for key in ("constant", "fixed_map")}
    return element(
        "div",
        element("h2", task),
        element("div", element("b", number(value)), element("span", unit), class_="large"),
        element("p", f"{name}, {better}"),
        *(
            element("p", f"{_predictor(key, task)}: {quantity(other, unit)}")
            for key, other in baselines.items()
            if other is not None
        ),
        class_="headline",
    )


def _figures(report: Report) -> Element:
    summary = report.summary
    tables = [_figure_table(report, task) for task in report.breakdowns]
    notes = [f"Per solid angle: {summary['protocol'][_SOLID_ANGLE]}. Seam: {summary['protocol']['seam']}."]
    if "plain" in summary:
        notes.append(f"Network: averaged over {summary['tta']} views of each image; one view: without that.")
    layout = "columns three" if len(summary.keys() & {*_PREDICTORS}) < 3 else "columns"
    return _section(
        "Figures", element("div", *tables, class_=layout), *(element("p", note, class_="note") for note in notes)
    )


def _figure_table(report: Report, task: str) -> Element:
    """All figures of a task, weighted in both ways, beside those of the baselines."""
    columns = {key: report.summary[key][task] for key in _PREDICTORS if task in report.summary.get(key, {})}
    figures = columns["results"]
    names = [name for name, value in figures.items() if value is not None and not name.endswith(_SOLID_ANGLE)]
    weightings = {"per pixel": ""}
    if any(figures.get(name + _SOLID_ANGLE) is not None for name in names):
        weightings["per solid angle"] = _SOLID_ANGLE
    above = [element("th", weighting, colspan=len(columns), class_="group") for weighting in weightings]
    below = [element("th", _predictor(key, task)) for _ in weightings for key in columns]
    body = []
    for name in names:
        cells = [
            _figure_cell(figures, name + suffix, f"{key}/{task}/{name}{suffix}")
            for suffix in weightings.values()
            for key, figures in columns.items()
        ]
        emphasis = {"class_": "best"} if name == TASKS[task].best_metric else {}
        body.append(element("tr", element("th", name), *cells, **emphasis))
    table = element("table", element("tr", element("th"), *above), element("tr", element("th"), *below), *body)
    return element(
        "div",
        element("h3", task),
        None if _has_truth(report, task) else element("p", _NO_TRUTH),
        table if names else None,
        element("p", report.summary["protocol"][task], class_="note"),
        *_baseline_notes(report, task),
    )


def _predictor(key: str, task: str) -> str:
    """The name of a predictor in the summary, in a few words."""
    titles = {"results": "network", "plain": "one view", "constant": "best constant"}
    return titles.get(key, TASKS[task].fixed_map.title)


def _has_truth(report: Report, task: str) -> bool:
    """Whether any image has ground truth for a task."""
    return bool(report.breakdowns[task].by_latitude.counts.sum())


def _baseline_notes(report: Report, task: str) -> list[Element]:
    """What the baselines of a task are; neither uses the image."""
    described = report.summary.get("baselines", {})
    return [
        element("p", f"{_predictor(key, task).capitalize()}: {described[key][task]}.", class_="note")
        for key in ("constant", "fixed_map")
        if task in described.get(key, {})
    ]


def _figure_cell(figures: dict[str, float], name: str, key: str) -> Element:
    if figures.get(name) is None:
        return element("td", "-")
    return element("td", number(figures[name]), data_figure=key, data_value=repr(figures[name]))


def _classes(report: Report) -> Element | None:
    """Confusion matrix and IoU of the task that has classes, if it is judged."""
    confusions = [breakdown.confusion for breakdown in report.breakdowns.values() if breakdown.confusion is not None]
    if not confusions:
        return None
    (confusion,) = confusions
    if not confusion.sum():
        return _section("Classes", element("p", "no pixel has a label"))
    names = report.look.class_names
    absent = [name for name, in_truth in zip(names, confusion.sum(axis=1), strict=True) if not in_truth]
    unseen = ", ".join(absent)
    return _section(
        "Classes",
        element(
            "div",
            element(
                "figure",
                element("figcaption", "Confusion: true classes down, predicted ones across, % of the true pixels"),
                confusion_chart(confusion, names),
            ),
            element(
                "figure",
                element("figcaption", "IoU of the classes that occur, and how many pixels each has in the truth"),
                iou_chart(confusion, names, report.look.class_colours),
                element("p", f"Absent from the truth of these images: {unseen}.", class_="note") if absent else None,
            ),
            class_="columns",
        ),
    )


def _profiles(report: Report) -> Element | None:
    """Errors by distance and by latitude, of the tasks that have ground truth."""
    figures = []
    for task, breakdown in report.breakdowns.items():
        if not _has_truth(report, task):
            continue
        for kind in breakdown.by_distance.means:
            figures += _profile_pair(report, task, kind)
    if not figures:
        return None
    titles = ", ".join(f"{_predictor('fixed_map', task)} ({task})" for task in report.baseline_breakdowns)
    dashes = f" Dashes: {titles}." if titles else ""
    note = (
        "Means over all valid pixels of the set, each counting once (no solid angles). Grey: their number. "
        "Distances are true depths." + dashes
    )
    return _section(
        "Where the errors lie", element("p", note, class_="note"), element("div", *figures, class_="columns")
    )


def _profile_pair(report: Report, task: str, kind: PixelError) -> list[Element]:
    ours, baseline = report.breakdowns[task], report.baseline_breakdowns.get(task)
    unit, distance = report.unit(kind.unit), report.unit("m") or "relative"
    heading = f"{task}: {kind.label}{f' ({unit})' if unit else ''}"
    charts = {
        f"{heading} by distance ({distance})": distance_chart(
            ours.by_distance, baseline and baseline.by_distance, kind, unit
        ),
        f"{heading} by latitude": latitude_chart(ours.by_latitude, baseline and baseline.by_latitude, kind, unit),
    }
    return [element("figure", element("figcaption", caption), chart) for caption, chart in charts.items()]


def _images(report: Report) -> Element:
    """The images that are shown, a gallery per task, and the buttons that choose one and turn the order around."""
    tasks = [task for task in report.shown if report.shown[task]]
    if not tasks:
        return _section("Images", element("p", "no image has ground truth to sort it by"))
    buttons = [element("button", f"by {task}", type="button", data_show=task) for task in tasks]
    turn = element("button", "best first", type="button", id="turn")
    galleries = (_gallery(report, task) for task in tasks)
    return _section("Images, from the worst to the best", element("nav", *buttons, turn), *galleries)


def _gallery(report: Report, task: str) -> Element:
    order = sorted(
        (row for row in report.rows if score_key(task) in row),
        key=lambda row: badness(task, row[score_key(task)], row["index"]),
        reverse=True,
    )
    rank = {row["index"]: place for place, row in enumerate(order, start=1)}
    cards, last = [], 0
    for shown in report.shown[task]:
        place = rank[shown.index]
        if place > last + 1:
            cards.append(element("p", f"{place - last - 1} not shown", class_="gap"))
        cards.append(_card(report, task, shown, f"{place} of {len(order)}"))
        last = place
    what = f"{len(report.shown[task])} of {len(order)} images, sorted by {TASKS[task].image_figure}"
    if len(report.shown[task]) < len(order):
        what += (
            f": the {GROUP_SIZE} worst, the {GROUP_SIZE} best, and {GROUP_SIZE} drawn from all by a fixed rule "
            "that does not know the scores"
        )
    return element(
        "div",
        element("p", f"{what}."),
        _legend(report, task),
        element("div", *cards, class_="cards"),
        class_="gallery",
        data_task=task,
    )


def _card(report: Report, task: str, shown: Shown, place: str) -> Element:
    score = f"{TASKS[task].image_figure} {quantity(shown.score, report.unit(TASKS[task].unit))}"
    tiles = [
        element("figure", element("img", src=data_uri(tile), alt=name, decoding="async"), element("figcaption", name))
        for name, tile in zip(TILES, shown.tiles, strict=True)
    ]
    return element(
        "article",
        element("h3", element("b", score), element("span", place), element("code", shown.id)),
        element("div", *tiles, class_="tiles"),
        data_index=shown.index,
        data_score=repr(shown.score),
    )


def _legend(report: Report, task: str) -> Element:
    """What the colours of the pictures mean."""
    display, look = TASKS[task].display, report.look
    children: list[Child] = [f"{display.caption}; black where there is no truth"]
    for name, scale in (("", display.scale(look)), ("error", display.error_scale(look))):
        if scale:
            top, unit = scale
            gradient = scale_colours(np.linspace(0, top, 120)[None].repeat(10, axis=0), top)
            bar = element("img", src=data_uri(encode_small(gradient)), alt="colour scale")
            children.append(element("span", f"{name} 0 ", bar, f" {top:g} {unit}".rstrip(), class_="scale"))
    if report.breakdowns[task].confusion is not None:
        for name, colour in zip(report.look.class_names, look.class_colours, strict=True):
            chip = element("i", style="background:rgb({},{},{})".format(*colour))
            children.append(element("span", chip, name, class_="scale"))
    return element("p", *children, class_="legend")


def _provenance(report: Report) -> Element:
    summary = report.summary
    facts = {
        "checkpoint": summary["checkpoint"]["path"],
        "sha256": summary["checkpoint"]["sha256"],
        "epoch": summary["checkpoint"]["epoch"] or "unknown",
        "command": shlex.join(["python", *summary["command"]]),
        "commit": summary["git_commit"] or "unknown",
        "versions": ", ".join(f"{name} {version}" for name, version in summary["versions"].items()),
        "python": summary["python"],
        "device": summary["device"],
    }
    rows = (element("tr", element("th", name), element("td", str(value))) for name, value in facts.items())
    return _section("How it was made", element("table", *rows, class_="provenance"))


def _section(heading: str, *children: Child) -> Element:
    return element("section", element("h2", heading), *children)


def quantity(value: float, unit: str) -> str:
    """A figure with its unit."""
    return f"{number(value)}{'' if unit == '°' else ' '}{unit}".rstrip()


def number(value: float) -> str:
    """A figure for the eye: four digits, as many decimals as that leaves."""
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"

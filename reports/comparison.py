"""Comparison of several evaluations: tables as Markdown and CSV. For the page see `reports.comparison_page`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from metrics.protocol import PER_PIXEL, SOLID_ANGLE, Protocol
from reports.gallery import Thumbnail
from tasks import EXTRA_METRICS
from utils.files import write_csv, write_json, write_text
from visual.displays import DisplaySettings

# Metrics in the table of each task.
_METRICS = {
    "depth": ("abs_rel", "rms", "rms_ln", "si_log", "a1", "a2", "delta_1.05"),
    "normal": ("mean", "median", "rmse", "a1", "a3", "a4", "a5"),
    "segmentation": ("mIoU", "pixAcc", "mAcc", "fwIoU"),
}
_HIGHER_IS_BETTER = ("a1", "a2", "a3", "a4", "a5", "delta", "mIoU", "pixAcc", "mAcc", "fwIoU", "f1", "boundary_f1")


@dataclass(frozen=True)
class Compared:
    """One of the compared evaluations.

    Attributes:
        name: displayed name.
        results: metrics by task.
        path, sha256: path and hash of the checkpoint or the predictions; empty for baselines.
        cost: see `prediction.cost`; None if not measured.
        thumbnails: images to show, by task and index in the dataset.
    """

    name: str
    results: dict[str, dict[str, float]]
    path: str = ""
    sha256: str = ""
    cost: dict[str, float | None] | None = None
    thumbnails: dict[str, dict[int, Thumbnail]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Metrics of a task: a row for each protocol and evaluation.

    Attributes:
        title: heading.
        columns: names of the metrics.
        rows: protocol, evaluation, values of the metrics (None if missing), and which values are the best ones.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, str, list[float | None], list[bool]]]

    def to_markdown(self) -> str:
        """The table in Markdown, the best values in bold."""
        lines = [["protocol", "predictions", *self.columns], ["---", "---", *("---:" for _ in self.columns)]]
        for protocol, name, values, best in self.rows:
            cells = [f"**{number(x)}**" if is_best else number(x) for x, is_best in zip(values, best, strict=True)]
            lines.append([protocol or "released", name.replace("|", "\\|"), *cells])
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@dataclass(frozen=True)
class Comparison:
    """Evaluations on the same panoramas by the same protocol.

    Attributes:
        compared: the evaluations, in display order.
        tasks: compared tasks.
        protocol: protocol of all evaluations.
        descriptions: definitions of the metrics, as in results.json.
        facts: dataset and options, as displayed text by name.
        ids: ids of the images to show, by index in the dataset.
        display_settings: display settings of the dataset.
    """

    compared: list[Compared]
    tasks: tuple[str, ...]
    protocol: Protocol
    descriptions: dict[str, str]
    facts: dict[str, str]
    ids: dict[int, str]
    display_settings: DisplaySettings

    def tables(self) -> list[Table]:
        """Tables of the metrics of each task, of its extra metrics, and of the costs, without empty ones."""
        tables = [self._table(task, task, _METRICS[task], key_suffixes(task, self.protocol)) for task in self.tasks]
        for task in self.tasks:
            extra = [EXTRA_METRICS[name] for name in self.protocol.more if EXTRA_METRICS[name].task == task]
            names = [name for metric in extra for name in metric.names if not name.endswith(SOLID_ANGLE)]
            tables.append(self._table(f"{task}: extra metrics", task, ("seam", *names), [""]))
        costs = [one for one in self.compared if one.cost]
        if costs:
            columns = tuple(costs[0].cost)
            rows = [("", one.name, [one.cost[key] for key in columns], [False] * len(columns)) for one in costs]
            tables.append(Table("cost of one panorama", columns, rows))
        return [table for table in tables if table.rows]

    def _table(self, title: str, task: str, names: tuple[str, ...], suffixes: list[str]) -> Table:
        rows = []
        for suffix in suffixes:
            values = {
                one.name: [one.results.get(task, {}).get(name + suffix) for name in names] for one in self.compared
            }
            values = {name: row for name, row in values.items() if any(x is not None for x in row)}
            best = [_best(name, [row[i] for row in values.values()]) for i, name in enumerate(names)]
            for name, row in values.items():
                is_best = [top is not None and number(x) == number(top) for x, top in zip(row, best, strict=True)]
                rows.append((suffix.lstrip("_"), name, row, is_best))
        return Table(title, names, rows)


def key_suffixes(task: str, protocol: Protocol) -> list[str]:
    """Suffixes of the metric keys of a task: averaging and depth protocols."""
    pooled = [PER_PIXEL] if protocol.pool_pixels and task != "segmentation" else []
    others = [one.suffix for one in protocol.depth if one.suffix] if task == "depth" else []
    return ["", SOLID_ANGLE, *pooled, *others]


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write comparison.md, comparison.csv (all metrics) and comparison.json to an existing folder."""
    tables = [f"## {table.title}\n\n{table.to_markdown()}" for table in comparison.tables()]
    protocols = [f"- `{name}`: {text}" for name, text in comparison.descriptions.items()]
    facts = [f"- {name}: {text}" for name, text in comparison.facts.items() if text]
    parts = ["# Comparison", "\n".join(facts), *tables, "## Protocols", "\n".join(protocols)]
    write_csv(folder / "comparison.csv", list(_rows(comparison)))
    write_json(
        folder / "comparison.json",
        {
            "facts": comparison.facts,
            "protocol": comparison.descriptions,
            "predictions": {
                one.name: {"path": one.path, "sha256": one.sha256, "cost": one.cost, "results": one.results}
                for one in comparison.compared
            },
        },
    )
    write_text(folder / "comparison.md", "\n\n".join(parts) + "\n")


def number(value: float | None) -> str:
    """A value with about four significant digits; values from 10000 are rounded to integers."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    digits = 4 if abs(value) < 10 else 2 if abs(value) < 100 else 1 if abs(value) < 10000 else 0
    return f"{value:,.{digits}f}"


def _best(name: str, values: Iterable[float | None]) -> float | None:
    """The best finite value of a metric; None if there are fewer than two, and for the seam score."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) < 2 or name == "seam":
        return None
    return max(finite) if name.startswith(_HIGHER_IS_BETTER) else min(finite)


def _rows(comparison: Comparison) -> Iterable[dict]:
    """All metrics of all evaluations: a row for each metric, a column for each evaluation."""
    keys = dict.fromkeys(
        (task, name) for task in comparison.tasks for one in comparison.compared for name in one.results.get(task, {})
    )
    for task, name in keys:
        values = {one.name: one.results.get(task, {}).get(name) for one in comparison.compared}
        yield {"task": task, "metric": name, **{key: "" if x is None else x for key, x in values.items()}}

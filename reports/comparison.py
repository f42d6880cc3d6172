"""Several evaluations side by side: tables as Markdown and CSV. The page: `reports.comparison_page`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from metrics.protocol import PER_PIXEL, SOLID_ANGLE, Protocol
from reports.gallery import SmallCopy
from tasks import EXTRA_METRICS
from utils.files import write_csv, write_json, write_text
from visual.displays import DisplaySettings

# Of each task the metrics in the tables.
_METRICS = {
    "depth": ("abs_rel", "rms", "rms_ln", "si_log", "a1", "a2", "delta_1.05"),
    "normal": ("mean", "median", "rmse", "a1", "a3", "a4", "a5"),
    "segmentation": ("mIoU", "pixAcc", "mAcc", "fwIoU"),
}
_HIGHER_IS_BETTER = ("a1", "a2", "a3", "a4", "a5", "delta", "mIoU", "pixAcc", "mAcc", "fwIoU", "f1", "boundary_f1")


@dataclass(frozen=True)
class Compared:
    """One of the evaluations.

    Attributes:
        name: as displayed.
        results: metrics by task.
        path, sha256: of the checkpoint or the predictions; empty for a baseline.
        cost: see `prediction.cost`; None if it was not measured.
        small: images, by task and index in the dataset.
    """

    name: str
    results: dict[str, dict[str, float]]
    path: str = ""
    sha256: str = ""
    cost: dict[str, float | None] | None = None
    small: dict[str, dict[int, SmallCopy]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Metrics of a task: a row for each protocol and evaluation.

    Attributes:
        title: of the table.
        columns: names of the metrics.
        rows: (protocol, evaluation, value of each metric or None, whether each is shown as the best by it).
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, str, list[float | None], list[bool]]]

    def to_markdown(self) -> str:
        """As a table of Markdown, the best values in bold."""
        head = ["protocol", "predictions", *self.columns]
        lines = [head, ["---", "---", *("---:" for _ in self.columns)]]
        for protocol, name, values, best in self.rows:
            cells = [f"**{number(x)}**" if is_best else number(x) for x, is_best in zip(values, best, strict=True)]
            lines.append([protocol or "released", name.replace("|", "\\|"), *cells])
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@dataclass(frozen=True)
class Comparison:
    """Evaluations on the same panoramas by the same protocols.

    Attributes:
        compared: in the order of the columns.
        tasks: that are compared.
        protocol: of all of them; `descriptions`: in words, by the keys of results.json.
        facts: what was evaluated on, and how, as text by name.
        ids: of the images to show, by index in the dataset.
        display_settings: of the dataset.
    """

    compared: list[Compared]
    tasks: tuple[str, ...]
    protocol: Protocol
    descriptions: dict[str, str]
    facts: dict[str, str]
    ids: dict[int, str]
    display_settings: DisplaySettings

    def tables(self) -> list[Table]:
        """A table for each task, one of the further metrics, and one of the costs, where there are any."""
        tables = [self._table(task, _METRICS[task], endings(task, self.protocol)) for task in self.tasks]
        for task in self.tasks:
            joint = [EXTRA_METRICS[name] for name in self.protocol.more if EXTRA_METRICS[name].task == task]
            names = [name for metric in joint for name in metric.names if not name.endswith(SOLID_ANGLE)]
            further = self._table(task, ("seam", *names), [""])
            tables.append(Table(f"{task}: further metrics", further.columns, further.rows))
        costs = [one for one in self.compared if one.cost]
        if costs:
            columns = tuple(costs[0].cost)
            rows = [("", one.name, [one.cost[key] for key in columns], [False] * len(columns)) for one in costs]
            tables.append(Table("cost of one panorama", columns, rows))
        return [table for table in tables if table.rows]

    def _table(self, task: str, names: tuple[str, ...], all_endings: list[str]) -> Table:
        rows = []
        for ending in all_endings:
            values = {
                one.name: [one.results.get(task, {}).get(name + ending) for name in names] for one in self.compared
            }
            values = {name: of_one for name, of_one in values.items() if any(x is not None for x in of_one)}
            best = [_best(name, [row[i] for row in values.values()]) for i, name in enumerate(names)]
            for name, row in values.items():
                is_best = [top is not None and number(x) == number(top) for x, top in zip(row, best, strict=True)]
                rows.append((ending.lstrip("_"), name, row, is_best))
        return Table(task, names, rows)


def endings(task: str, protocol: Protocol) -> list[str]:
    """What the keys of a task's metrics end in, by protocol and averaging."""
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
    """A value with about four significant digits; large ones as whole numbers."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    digits = 4 if abs(value) < 10 else 2 if abs(value) < 100 else 1 if abs(value) < 10000 else 0
    return f"{value:,.{digits}f}"


def _best(name: str, values: Iterable[float | None]) -> float | None:
    """The best of the finite values of a metric; None if there are fewer than two."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2 or name == "seam":
        return None
    return max(known) if name.startswith(_HIGHER_IS_BETTER) else min(known)


def _rows(comparison: Comparison) -> Iterable[dict]:
    """Every metric of every evaluation: a row for each metric, a column for each evaluation."""
    keys = dict.fromkeys(
        (task, name) for task in comparison.tasks for one in comparison.compared for name in one.results.get(task, {})
    )
    for task, name in keys:
        values = {one.name: one.results.get(task, {}).get(name) for one in comparison.compared}
        yield {"task": task, "metric": name, **{key: "" if x is None else x for key, x in values.items()}}

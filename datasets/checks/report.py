"""Prints the findings of the checks as rows of text with headings."""

from collections import Counter
from collections.abc import Iterable
from textwrap import wrap

import numpy as np

from datasets.checks.finding import Finding
from datasets.checks.measurement import Measurement
from datasets.checks.objects import ObjectMeasurement
from datasets.checks.perspective import ImageMeasurement

_MAX_NAMES = 20  # files or images to list
_SCREEN_WIDTH = 100  # columns
_HEADING_WIDTH = 11  # columns


def report_names(heading: str, names: list[str], singular: str, plural: str) -> list[str]:
    """Print the first names; return a list with the problem, "1 `singular`" or "9 `plural`", empty without names."""
    if not names:
        return []
    print_rows(heading, cut(names))
    return [f"{len(names)} {singular if len(names) == 1 else plural}"]


def report_sizes(measured: list[Measurement | ImageMeasurement | ObjectMeasurement]) -> None:
    """Print the number of panoramas or images of each size."""
    sizes = Counter(one.size for one in measured)
    print_rows("sizes", wrapped([", ".join(cut([f"{size}: {num}" for size, num in sizes.most_common()]))]))


def report_findings(findings: list[Finding], table: list[str]) -> list[str]:
    """Print findings, with `table` below the one on labels; return all problems."""
    heading = None
    for finding in findings:
        print_rows(finding.heading if finding.heading != heading else "", wrapped(finding.rows))
        heading = finding.heading
        if heading == "labels":
            print_rows("", table)
    outliers = [name for finding in findings for name in finding.outliers]
    print_rows("outliers", wrapped(cut(outliers)))
    return [problem for finding in findings for problem in finding.problems]


def class_table(labels: np.ndarray, class_names: tuple[str, ...]) -> list[str]:
    """Rows with the fraction of each class among the labeled pixels, largest first, then the absent classes.

    Args:
        labels: (classes,) pixels of each class.
    """
    order = [label for label in np.argsort(-labels, kind="stable") if labels[label]]
    cells = [f"{labels[label] / labels.sum():6.1%} {class_names[label]}" for label in order]
    width = 2 + max(map(len, cells), default=0)
    columns = max(1, (_SCREEN_WIDTH - _HEADING_WIDTH) // width)
    padded = [cell.ljust(width) for cell in cells]
    rows = ["".join(padded[i : i + columns]).rstrip() for i in range(0, len(cells), columns)]
    absent = [name for name, pixels in zip(class_names, labels, strict=True) if not pixels]
    if absent:
        rows += wrap(f"never: {', '.join(absent)}", _SCREEN_WIDTH - _HEADING_WIDTH)
    return rows


def cut(names: list[str]) -> list[str]:
    """The first names, and the number of the others."""
    more = len(names) - _MAX_NAMES
    return names[:_MAX_NAMES] + ([f"and {more} more"] if more > 0 else [])


def wrapped(rows: Iterable[str]) -> list[str]:
    """Rows wrapped to the screen width, without breaking file names."""
    width = _SCREEN_WIDTH - _HEADING_WIDTH
    return [line for row in rows for line in wrap(row, width, break_long_words=False, break_on_hyphens=False)]


def print_rows(heading: str, rows: list[str]) -> None:
    """Print rows of text, the first one after a heading."""
    for row in rows:
        print(f"{heading:{_HEADING_WIDTH}}{row}")
        heading = ""

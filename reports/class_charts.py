"""Which class is taken for which, and how well each is found, as SVG. Colours are in page.css."""

import math
from xml.etree.ElementTree import Element

import numpy as np
import torch

from metrics.segmentation import class_iou
from reports.drawing import bar, box, compact, line, svg, text
from reports.elements import element
from visual.drawing import Colours

_CHARACTER = 6.6  # pixels: width of a small letter
_IOU_WIDTH = 560
_MAX_NUMBERED = 20  # classes: cells of larger matrices are too small for numbers


def confusion_chart(confusion: np.ndarray, names: tuple[str, ...]) -> Element:
    """Rows of a confusion matrix (K, K) as shares of the true class; right ones and wrong ones in different colours."""
    longest = max(len(name) for name in names)
    margin = round(longest * _CHARACTER) + 14
    cell = max(14, min(46, 620 // len(names)))
    size = cell * len(names)
    totals = confusion.sum(axis=1)
    children = []
    for row, name in enumerate(names):
        y = margin + row * cell
        absent = " absent" if not totals[row] else ""
        children.append(text(margin - 8, y + cell / 2 + 4, name, "end", "name" + absent))
        middle = f"{margin + row * cell + cell / 2 + 4} {margin - 8}"
        heading = element("text", name, class_="name", transform=f"translate({middle}) rotate(-60)")
        children.append(heading)
        if absent:
            children.append(bar(margin, y, size, cell, "empty", f"{name} does not occur in the truth"))
            continue
        for column, other in enumerate(names):
            count = confusion[row, column]
            share = count / totals[row]
            seen = "is seen as" if row == column else "is taken for"
            told = f"{name} {seen} {other}: {share:.2%} ({count:,} of {totals[row]:,} pixels)"
            kind = "right" if row == column else "wrong"
            shade = element("rect", element("title", told), **box(margin + column * cell, y, cell, cell), class_=kind)
            shade.set("fill-opacity", f"{share**0.7:.3f}")  # small shares are to be seen, too
            shade.set("data-share", repr(float(share)))
            children.append(shade)
            if len(names) <= _MAX_NUMBERED and share >= 0.005:
                x = margin + column * cell + cell / 2
                ink = "cell strong" if share > 0.5 else "cell"
                children.append(text(x, y + cell / 2 + 4, f"{share:.0%}".rstrip("%"), "middle", ink))
    for i in range(len(names) + 1):
        at = margin + i * cell
        children += [line(margin, at, margin + size, at, "grid"), line(at, margin, at, margin + size, "grid")]
    width = margin + size + round(longest * _CHARACTER / 2) + 8  # the last heading leans over the edge
    chart = svg(width, margin + size + 4, *children, label="confusion matrix")
    chart.set("style", f"max-width:{max(width, 420)}px")
    return chart


def iou_chart(confusion: np.ndarray, names: tuple[str, ...], colours: Colours) -> Element:
    """Intersection over union of the classes that occur, the best first, with their true pixels."""
    iou = class_iou(torch.from_numpy(confusion)).numpy()
    totals = confusion.sum(axis=1)
    occurring = [i for i in np.argsort(-np.nan_to_num(iou), kind="stable") if not math.isnan(iou[i])]
    left = round(max(len(names[i]) for i in occurring) * _CHARACTER) + 30
    right, row_height = 400, 24
    children = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + tick * (right - left)
        bottom = row_height * len(occurring) + 6
        children += [line(x, 4, x, bottom, "grid"), text(x, bottom + 14, f"{tick:g}", "middle")]
    for row, i in enumerate(occurring):
        y = row * row_height + 6
        told = f"{names[i]}: IoU {iou[i]:.4f}, {totals[i]:,} true and {confusion[:, i].sum():,} predicted pixels"
        swatch = element("rect", **box(left - 18, y + 3, 10, 12), fill="rgb({},{},{})".format(*colours[i]), rx=2)
        drawn = bar(left, y, iou[i] * (right - left), row_height - 6, "bar", told)
        drawn.set("data-class", names[i])
        drawn.set("data-value", repr(float(iou[i])))
        pixels = f"{compact(totals[i])} pixels" if totals[i] else "no true pixels"
        children += [
            text(left - 24, y + 13, names[i], "end", "name"),
            swatch,
            drawn,
            text(right + 10, y + 13, f"{iou[i]:.3f}", "start", "value"),
            text(right + 56, y + 13, pixels, "start", "small"),
        ]
    return svg(_IOU_WIDTH, row_height * len(occurring) + 26, *children, label="IoU per class")

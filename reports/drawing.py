"""What the drawings of a report are made of: bars, lines, text and scales. Positions and lengths are in pixels."""

import math
from xml.etree.ElementTree import Element

import numpy as np

from reports.elements import Child, element


def svg(width: float, height: float, *children: Child, label: str) -> Element:
    """A drawing of this size in its own pixels, which shrinks and grows with the page; `label` says what it shows."""
    # viewBox is spelt with a capital, which the HTML parser knows.
    return element("svg", *children, viewBox=f"0 0 {width} {height}", role="img", aria_label=label)


def compact(count: int) -> str:
    """A count in three digits at most: 950, 12k, 3.4M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{letter}" if count < 999.5 * size else f"{count / size:.0f}{letter}"
    return str(count)


class Scale:
    """Lengths in a drawing for values from 0 to a round number a little above all of them.

    Args:
        values: what is to be drawn, none negative; those that are not finite do not count.
        length: of the top of the scale, in pixels.

    Attributes:
        top: the highest value of the scale.
        ticks: round values from 0 to the top, seven at most.
    """

    def __init__(self, values: np.ndarray, length: float):
        values = values[np.isfinite(values)]
        largest = values.max() if values.size and values.max() > 0 else 1.0
        raw = largest / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9)) * power
        self.top = math.ceil(largest / step - 1e-9) * step
        self.ticks = [round(i * step, 12) for i in range(round(self.top / step) + 1)]
        self._length = length

    def length(self, value: float) -> float:
        """The length of a value."""
        return float(value / self.top * self._length)


def box(x: float, y: float, width: float, height: float) -> dict[str, str]:
    """The attributes of a rectangle."""
    return {
        name: f"{value:.2f}".rstrip("0").rstrip(".")
        for name, value in (("x", x), ("y", y), ("width", width), ("height", height))
    }


def bar(x: float, y: float, width: float, height: float, kind: str, told: str) -> Element:
    """A rectangle of a kind (a class of page.css); `told` appears when the pointer rests on it."""
    return element("rect", element("title", told), **box(x, y, width, height), class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Element:
    """A straight line of a kind."""
    return element("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=kind)


def text(x: float, y: float, content: str, anchor: str, kind: str = "") -> Element:
    """Text that starts, has its middle or ends ("start", "middle", "end") at a position."""
    return element("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=kind)

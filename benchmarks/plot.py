"""Charts with logarithmic axes, drawn with OpenCV."""

from collections.abc import Iterator

import cv2
import numpy as np

SIZE = 640  # pixels of a chart, in height and width
MARGINS = {"left": 90, "right": 20, "top": 50, "bottom": 60}
COLORS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40))  # RGB
BLACK, GRAY = (0, 0, 0), (200, 200, 200)


def log_log_chart(title: str, x_label: str, series: dict[str, list[tuple[float, float]]]) -> np.ndarray:
    """Draw series of points (x, y) as an RGB chart (SIZE, SIZE, 3), with a gray reference line of slope 1.

    The reference line goes through the last point of the first series.
    """
    points = np.log10([point for some in series.values() for point in some])
    low, high = points.min(axis=0) - 0.1, points.max(axis=0) + 0.1
    corner = np.array([MARGINS["left"], SIZE - MARGINS["bottom"]])  # of the axes, lower left
    extent = np.array([SIZE - MARGINS["right"], MARGINS["top"]]) - corner

    def place(logs: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) of points given as logarithms (n, 2)."""
        return np.rint(corner + (logs - low) / (high - low) * extent).astype(int)

    chart = np.full((SIZE, SIZE, 3), 255, np.uint8)
    through = np.log10(next(iter(series.values()))[-1])
    reach = high[0] - low[0] + high[1] - low[1]
    ends = place(np.array([through - reach, through + reach]))
    box = np.sort([corner, corner + extent], axis=0)
    visible, start, end = cv2.clipLine((*box[0], *(box[1] - box[0] + 1)), ends[0], ends[1])
    assert visible, "the reference line goes through a point of the chart"
    cv2.line(chart, start, end, GRAY, 2, cv2.LINE_AA)
    cv2.rectangle(chart, box[0], box[1], BLACK, 1)

    for value in ticks(low[0], high[0]):
        x, _ = place(np.array([[np.log10(value), low[1]]]))[0]
        cv2.line(chart, (x, corner[1]), (x, corner[1] + 5), BLACK)
        write(chart, f"{value:g}", (x - 12, corner[1] + 22))
    for value in ticks(low[1], high[1]):
        _, y = place(np.array([[low[0], np.log10(value)]]))[0]
        cv2.line(chart, (corner[0] - 5, y), (corner[0], y), BLACK)
        write(chart, f"{value:g}", (corner[0] - 60, y + 5))
    write(chart, title, (MARGINS["left"], 30), scale=0.6)
    write(chart, x_label, (MARGINS["left"], SIZE - 12))

    for row, ((name, some), color) in enumerate(zip(series.items(), COLORS, strict=False)):
        places = place(np.log10(some))
        cv2.polylines(chart, [places], isClosed=False, color=color, thickness=2, lineType=cv2.LINE_AA)
        for center in places:
            cv2.circle(chart, center, 5, color, cv2.FILLED, cv2.LINE_AA)
        write(chart, name, (MARGINS["left"] + 15, MARGINS["top"] + 25 + 22 * row), color)
    write(chart, "slope 1", (MARGINS["left"] + 15, MARGINS["top"] + 25 + 22 * len(series)), (150, 150, 150))
    return chart


def ticks(low: float, high: float) -> Iterator[float]:
    """Powers of ten, and 2 and 5 times them, between 10^low and 10^high."""
    for exponent in range(int(np.floor(low)), int(np.ceil(high)) + 1):
        for digit in (1, 2, 5):
            if low <= np.log10(digit) + exponent <= high:
                yield float(f"{digit}e{exponent}")


def write(
    chart: np.ndarray,
    text: str,
    position: tuple[int, int],
    color: tuple[int, int, int] = BLACK,
    scale: float = 0.5,
) -> None:
    """Draw text whose lower left corner is at `position`, (x, y) pixels."""
    cv2.putText(chart, text, position, cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)

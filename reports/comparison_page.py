"""HTML page of a comparison."""

from pathlib import Path

from reports.comparison import Comparison, number
from reports.gallery import draw_tiles
from reports.page import all_marks, color_scale, write_template
from tasks import TASKS
from visual.drawing import data_url


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the page: tables, and images in rows with a column for each evaluation."""
    values = {
        "facts": comparison.facts,
        "tables": comparison.tables(),
        "protocols": comparison.descriptions,
        "galleries": [_gallery(comparison, task) for task in comparison.tasks],
        "sources": [(one.name, one.path, one.sha256) for one in comparison.compared if one.path],
    }
    write_template(path, "comparison.html.j2", values, number=number)


def _gallery(comparison: Comparison, task: str) -> dict:
    """The images of a task: RGB, ground truth, and prediction and error of each evaluation."""
    display, settings = TASKS[task].display, comparison.display_settings
    shown = [one for one in comparison.compared if one.thumbnails.get(task)]
    maps = tuple(values for one in shown for image in one.thumbnails[task].values() for values in image.maps())
    scale = display.scale(maps, settings)
    cards = []
    for index, sample in comparison.ids.items():
        if not shown or index not in shown[0].thumbnails[task]:
            continue
        tiles = {one.name: draw_tiles(one.thumbnails[task][index], task, settings, scale) for one in shown}
        first = tiles[shown[0].name]
        cards.append(
            {
                "id": sample,
                "rgb": data_url(first["RGB"]),
                "target": data_url(first["ground truth"]),
                "columns": [(name, data_url(of["prediction"]), data_url(of["error"])) for name, of in tiles.items()],
            }
        )
    scales = {"": scale, "error": display.error_scale(settings)}
    return {
        "task": task,
        "caption": display.caption,
        "marks": all_marks(display, maps, settings),
        "cards": cards,
        "scales": [color_scale(label, scale) for label, scale in scales.items() if scale],
    }

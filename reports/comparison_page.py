"""The page of a comparison: its tables, and the same images with the predictions in columns."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.comparison import Comparison, number
from reports.gallery import TILES
from reports.page import color_scale
from tasks import TASKS
from utils.files import write_text
from visual.drawing import data_url

_FOLDER = Path(__file__).parent
_PREDICTION, _ERROR = TILES.index("prediction"), TILES.index("error")


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the page: the tables, and the images in rows, with the predictions in columns."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,  # ids, names and paths are untrusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number}
    values = {
        "css": Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),
        "facts": comparison.facts,
        "tables": comparison.tables(),
        "protocols": comparison.descriptions,
        "galleries": [_gallery(comparison, task) for task in comparison.tasks],
        "sources": [(one.name, one.path, one.sha256) for one in comparison.compared if one.path],
    }
    write_text(path, environment.get_template("comparison.html.j2").render(values) + "\n")


def _gallery(comparison: Comparison, task: str) -> dict:
    """The images of a task: of each RGB, ground truth, and of each evaluation prediction and error."""
    display, settings = TASKS[task].display, comparison.display_settings
    shown = [one for one in comparison.compared if one.tiles.get(task)]
    cards = []
    for index, sample in comparison.ids.items():
        if not shown or index not in shown[0].tiles[task]:
            continue
        rgb, _, target, _ = shown[0].tiles[task][index]
        columns = [
            (one.name, data_url(one.tiles[task][index][_PREDICTION]), data_url(one.tiles[task][index][_ERROR]))
            for one in shown
        ]
        cards.append({"id": sample, "rgb": data_url(rgb), "target": data_url(target), "columns": columns})
    scales = {"": display.scale(settings), "error": display.error_scale(settings)}
    return {
        "task": task,
        "caption": display.caption,
        "cards": cards,
        "scales": [color_scale(label, *scale) for label, scale in scales.items() if scale],
    }

"""The page of a comparison: its tables, and the same images with the predictions in columns."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.comparison import Comparison, number
from reports.gallery import draw_tiles
from reports.page import all_marks, color_scale
from tasks import TASKS
from utils.files import write_text
from visual.drawing import data_url

_FOLDER = Path(__file__).parent


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
    shown = [one for one in comparison.compared if one.small.get(task)]
    maps = tuple(values for one in shown for small in one.small[task].values() for values in small.maps())
    scale = display.scale(maps, settings)
    cards = []
    for index, sample in comparison.ids.items():
        if not shown or index not in shown[0].small[task]:
            continue
        tiles = {one.name: draw_tiles(one.small[task][index], task, settings, scale) for one in shown}
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

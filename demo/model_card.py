"""The page's description of the network."""

import re
from pathlib import Path

from networks.checkpoint import DEFAULT_WEIGHTS
from prediction import PanoramaModel
from tasks import TASKS

_CARD = Path(__file__).parents[1] / "docs" / "weights.md"
_SECTIONS = ("Intended use", "What it gets wrong")


def facts(model: PanoramaModel) -> str:
    """Architecture, input size, outputs and training data, as Markdown."""
    settings = model.settings
    items = [
        settings.backbone,
        f"{settings.width}x{settings.height} pixels",
        f"predicts {', '.join(TASKS[task].display.title for task in settings.tasks)}",
        f"depth in {settings.depth_unit}",
    ]
    training_data = f"Trained on {settings.dataset}."
    if settings.dataset == "Synthetic":
        training_data = "**Trained on synthetic rooms only: it has never seen a photograph with known depth.**"
    return f"{' · '.join(items)}\n\n{training_data}"


def limits(model: PanoramaModel) -> str | None:
    """Intended use and known errors from the model card, as Markdown; None for networks without one."""
    if model.path != DEFAULT_WEIGHTS:
        return None
    sections = re.split(r"^## ", _CARD.read_text(encoding="utf-8"), flags=re.MULTILINE)
    by_title = {title: text for title, _, text in (section.partition("\n") for section in sections)}
    return "\n".join(f"### {title}\n{by_title[title]}" for title in _SECTIONS)

"""What the page says about the network."""

import re
from pathlib import Path

from networks.checkpoint import DEFAULT_WEIGHTS
from prediction import PanoramaModel
from tasks import TASKS

_CARD = Path(__file__).parents[1] / "docs" / "weights.md"
_SECTIONS = ("Intended use", "What it gets wrong")


def facts(model: PanoramaModel) -> str:
    """Architecture, size and outputs, and what the network was trained on, as Markdown."""
    settings = model.settings
    short = [
        settings.backbone,
        f"{settings.width}x{settings.height} pixels",
        f"predicts {', '.join(TASKS[task].display.title for task in settings.tasks)}",
        f"depth in {settings.depth_unit}",
    ]
    return f"{' · '.join(short)}\n\n{_training(settings.dataset)}"


def _training(dataset: str) -> str:
    """What a network trained on a dataset has seen."""
    if dataset == "Synthetic":
        return "**Trained on synthetic rooms only: it has never seen a photograph of which the depth is known.**"
    return f"Trained on {dataset}."


def limits(model: PanoramaModel) -> str | None:
    """Intended use and known errors by the model card, as Markdown; None for networks without one."""
    if model.path != DEFAULT_WEIGHTS:
        return None
    sections = re.split(r"^## ", _CARD.read_text(encoding="utf-8"), flags=re.MULTILINE)
    by_title = {title: text for title, _, text in (section.partition("\n") for section in sections)}
    return "\n".join(f"### {title}\n{by_title[title]}" for title in _SECTIONS)

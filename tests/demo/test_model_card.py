"""The page's description of the network."""

from types import SimpleNamespace

import pytest

from demo.model_card import facts, limits
from networks.checkpoint import DEFAULT_WEIGHTS, load_checkpoint


def model(path: str = "model.pth", dataset: str = "Synthetic") -> SimpleNamespace:
    settings = SimpleNamespace(
        backbone="Elite360M_Res18", width=256, height=128, tasks=("depth",), depth_unit="m", dataset=dataset
    )
    return SimpleNamespace(path=path, settings=settings)


@pytest.mark.parametrize(("dataset", "warned"), [("Synthetic", True), ("MP3D", False)])
def test_training_data(dataset, warned):
    assert ("never seen a photograph" in facts(model(dataset=dataset))) == warned
    assert limits(model(dataset=dataset)) is None


def test_default_weights():
    assert load_checkpoint(DEFAULT_WEIGHTS).settings.dataset == "Synthetic"
    text = limits(model(DEFAULT_WEIGHTS))
    assert "not a measuring instrument" in text.replace("\n", " ")
    assert "stairs" in text
    assert "## Log" not in text

"""The evaluation of a candidate; with the scripts, see tests/test_scripts.py."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from datasets.loading import LoadingSettings, evaluation_batches
from datasets.synthetic import SyntheticRooms
from metrics.protocol import Protocol
from prediction.candidate import Candidate
from reports.evaluation import Evaluation, Extras
from tasks import FOLDERS, TASKS
from tasks.meaning import display_settings_of
from training.run_folder import RunFolder

CPU = torch.device("cpu")


def ground_truth(batch: dict) -> dict:
    """Predictions without errors."""
    logits = F.one_hot(batch["semantic"].clamp_min(0), 13).movedim(-1, 1).float()
    return {"depth": batch["depth"], "normal": batch["normal"], "segmentation": logits}


def half_as_far(batch: dict) -> dict:
    return ground_truth(batch) | {"depth": batch["depth"] / 2}


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    dataset = SyntheticRooms("test", 3, 32, 64)
    source = SimpleNamespace(settings=display_settings_of(dataset), epoch=7)
    batches = evaluation_batches(dataset, LoadingSettings(batch_size=2), CPU)
    return Evaluation(Candidate(source, ground_truth, plain=half_as_far), dataset, batches, Protocol(), CPU)


def test_all_extras(evaluation, tmp_path):
    results = evaluation.run(Extras(draw_every=1, baselines=True, report=True), RunFolder(tmp_path, FOLDERS))
    assert list(results.summary) == ["results", "plain", "constant", "fixed_map", "baselines"]
    assert results.summary["results"]["depth"]["rms"] == pytest.approx(0, abs=1e-6)
    assert results.summary["plain"]["depth"]["abs_rel"] == pytest.approx(0.5, rel=1e-3)
    assert [row["index"] for row in results.rows] == [0, 1, 2]
    for of_tasks in (results.breakdowns, results.baseline_breakdowns, results.shown):
        assert of_tasks.keys() == TASKS.keys()
    assert len(results.shown["depth"]) == 3
    assert len(list((tmp_path / "visual_results" / "depth").glob("7_*/*.png"))) == 3


def test_no_extras(evaluation, tmp_path):
    results = evaluation.run(Extras(draw_every=2), RunFolder(tmp_path, FOLDERS))
    assert list(results.summary) == ["results", "plain"]
    assert not results.breakdowns
    assert not results.baseline_breakdowns
    assert not results.shown
    assert [path.name for path in (tmp_path / "visual_results" / "depth").iterdir()] == ["7_0"]

"""Files of a run."""

import pytest

from tasks import FOLDERS
from training.run_folder import RunFolder


@pytest.mark.parametrize(
    ("file", "holds"),
    [
        ("models/state/last.pth", True),
        ("models/state/previous.pth", True),
        ("models/weights_10/model.pth", True),
        ("semantic_models/best_semantic_model.pth", True),
        ("depth/result.txt", True),
        ("models/settings.json", False),
        ("metrics.jsonl", False),
        ("models/state/.last-x8d.pth", False),
        ("notes.txt", False),
    ],
)
def test_what_counts_as_a_training(file, holds, tmp_path):
    """What took training to make. A run that was killed before its first save may be started again."""
    run = RunFolder(tmp_path, FOLDERS)
    assert not run.holds_training()
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("x")
    assert run.holds_training() == holds


def test_clearing_removes_what_a_training_wrote_alone(tmp_path):
    own = ["models/state/last.pth", "normal_models/best_normal_model.pth", "depth/result.txt", "metrics.jsonl"]
    others = ["notes.txt", "depth/mine.txt", "sub/models/last.pth"]
    for name in [*own, *others]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    RunFolder(tmp_path, FOLDERS).clear_training()
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(others)

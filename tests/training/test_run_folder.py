"""The files of a run."""

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
def test_holds_training(file, holds, tmp_path):
    """Only files that took training to make count: a run killed before its first save may be started again."""
    run = RunFolder(tmp_path, FOLDERS)
    assert not run.holds_training()
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("x")
    assert run.holds_training() == holds


@pytest.mark.parametrize("sample_id", ["a/b", "a/b.png"])
def test_an_image_has_one_suffix(tmp_path, sample_id):
    assert RunFolder(tmp_path, FOLDERS).image("depth", 1, 0, sample_id).name == "a_b.png"


def test_clearing_removes_only_files_of_trainings(tmp_path):
    """Even in folders that also contain other files."""
    run = RunFolder(tmp_path, FOLDERS)
    own = [run.settings, run.state, run.previous_state, run.last_model, run.kept_model(10), run.metrics]
    own += [run.best_model("normal"), run.result("depth"), run.image("segmentation", 1, 0, "a/b")]
    own += [run.tensorboard / "events.out.tfevents.1.host.2.0", run.state.with_name(".last-x8d.pth")]
    others = [
        "notes.txt",
        ".mine-too",
        "depth/mine.txt",
        "sub/models/last.pth",
        "models/exported.onnx",
        "models/mine/model.pth",
    ]
    others += [
        "visual_results/chosen.png",
        "visual_results/depth/mine/a.png",
        "tensorboard/notes",
        "depth_models/a.pth",
    ]
    for path in [*own, *(tmp_path / name for name in others)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    run.clear_training()
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(others)
    assert not run.state.parent.exists()


def test_clearing_a_folder_without_a_training(tmp_path):
    RunFolder(tmp_path, FOLDERS).clear_training()
    assert tmp_path.is_dir()

"""Saved states: written atomically, restored exactly, and rejected by other runs."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks import FOLDERS
from training.run_folder import RunFolder
from training.state import VERSION, Progress, SavedState, Signature, has_state, save_state
from utils.errors import UserError
from utils.files import write_json

OPTIONS = {"batch_size": 2, "seed": 100, "loss_weights": None, "amp": "off", "flip": False, "learning_rate": 1e-4}
FACTS = {"number of processes (--nproc_per_node)": 1, "balancing (--potential_from)": {"name": "dtp", "seed": 3}}
SIGNATURE = Signature("run one", OPTIONS, FACTS)
FIXED = ("batch_size", "seed", "loss_weights", "amp", "flip")


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run", FOLDERS)


def save(run: RunFolder, signature: Signature = SIGNATURE, **progress) -> None:
    save_state(run, signature, {"progress": Progress(**progress)})


def restored(run: RunFolder) -> Progress:
    progress = Progress()
    SavedState(run).restore({"progress": progress})
    return progress


def user_error(function, *arguments) -> str:
    """The message of a user error, which is one short line."""
    with pytest.raises(UserError) as info:
        function(*arguments)
    message = str(info.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def files(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.state.parent.iterdir())


def test_saving_and_restoring(run):
    save(run, epoch=3, step=7, bad_steps=2, best_scores={"depth": 0.5})
    saved = SavedState(run)
    assert (saved.signature, saved.epoch, saved.path) == (SIGNATURE, 3, run.state)
    assert restored(run) == Progress(epoch=3, step=7, bad_steps=2, best_scores={"depth": 0.5})


def draw() -> list[float]:
    numbers = [*torch.rand(3).tolist(), random.random(), random.gauss(0, 1)]
    return [*numbers, np.random.rand(), np.random.standard_normal()]  # noqa: NPY002 - libraries use it


def test_generators_are_restored(run):
    draw()  # leaves half of a pair of normal numbers
    save(run)
    expected = draw()
    assert draw() != expected
    restored(run)
    assert draw() == expected


def test_only_the_own_gpu_has_generators(run, monkeypatch):
    """A process uses at most one GPU; the others are not initialized."""
    kept = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([1, 2], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", kept.append)
    for name in ("get_rng_state_all", "set_rng_state_all"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: pytest.fail("states of all GPUs"))
    save(run)
    restored(run)
    assert kept[0].tolist() == [1, 2]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    restored(run)
    assert len(kept) == 1


def test_the_previous_state_is_kept(run):
    for step in (1, 2, 3):
        save(run, step=step)
    assert files(run) == ["last.pth", "previous.pth"]
    assert restored(run).step == 3
    run.state.unlink()
    assert has_state(run)
    assert restored(run).step == 2


def test_file_systems_without_hard_links(run, monkeypatch):

    def no_links(*_):
        raise OSError

    monkeypatch.setattr(os, "link", no_links)
    for step in (1, 2):
        save(run, step=step)
    assert restored(run).step == 2
    run.state.unlink()
    assert restored(run).step == 1


def test_a_damaged_state(run, capsys):
    """The previous state replaces it, which is reported; without one, the state is rejected."""
    save(run, step=1)
    save(run, step=2)
    run.state.write_bytes(run.state.read_bytes()[:1000])
    assert restored(run).step == 1
    error = capsys.readouterr().err
    assert str(run.state) in error
    assert str(run.previous_state) in error
    assert "use another file" not in error  # it continues by itself
    run.previous_state.unlink()
    message = user_error(SavedState, run)
    assert str(run.state) in message
    assert "--overwrite" in message


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["state_dict", "writing"])
def test_killed_while_saving(run, moment, monkeypatch):
    """The earlier states stay."""

    class Dying:
        def state_dict(self) -> dict:
            if moment == "state_dict":
                raise Killed
            return {"x": self}

        def __reduce__(self):
            raise Killed

    save(run, step=1)
    save(run, step=2)
    with pytest.raises(Killed):
        save_state(run, SIGNATURE, {"progress": Progress(step=3), "dying": Dying()})
    assert files(run) == ["last.pth", "previous.pth"]
    assert restored(run).step == 2
    run.state.unlink()
    assert restored(run).step == 1


def test_resuming_an_empty_folder(run):
    assert not has_state(run)
    message = user_error(SavedState, run)
    assert "--resume" in message
    assert str(run.state) in message


@pytest.mark.parametrize("content", [b"", b"nonsense", {"format": "elite360m"}, {"weights": torch.ones(1)}, [1, 2]])
def test_other_files_are_rejected(run, content):
    run.state.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        run.state.write_bytes(content)
    else:
        torch.save(content, run.state)
    assert str(run.state) in user_error(SavedState, run)


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1, None])
def test_other_versions_are_rejected(run, version):
    save(run)
    content = torch.load(run.state, weights_only=True)
    torch.save(content | {"version": version}, run.state)
    message = user_error(SavedState, run)
    assert str(run.state) in message
    assert "--load_weights_dir" in message


def test_code_in_a_state_is_not_run(run, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    save(run)
    content = torch.load(run.state, weights_only=True)
    torch.save(content | {"parts": Evil()}, run.state)
    assert str(run.state) in user_error(SavedState, run)
    assert not (tmp_path / "owned").exists()


def test_a_state_of_another_run_is_rejected(run):
    """For example one copied by hand: settings.json names another run."""
    save(run)
    assert SavedState(run).signature.run_id == "run one", "without a settings.json, nothing contradicts"
    write_json(run.settings, {"run_id": "run one"})
    assert SavedState(run).signature.run_id == "run one"
    write_json(run.settings, {"run_id": "run two"})
    message = user_error(SavedState, run)
    assert str(run.state) in message
    assert str(run.settings) in message
    assert "--overwrite" in message


def require(run: RunFolder, options: dict | None = None, facts: dict | None = None) -> None:
    now = Signature("run one", OPTIONS | (options or {}), FACTS | (facts or {}))
    SavedState(run).check_same_training(now, FIXED)


@pytest.mark.parametrize(
    ("name", "value", "new", "old"),
    [
        ("batch_size", 1, "1", "2"),
        ("seed", 3, "3", "100"),
        ("loss_weights", [["depth", 7.0]], "7", "not given"),
        ("amp", "bf16", "bf16", "off"),
        ("flip", True, "on", "off"),
        ("amp", "x" * 1000, "xxx", "off"),
    ],
)
def test_changed_options_are_rejected(run, name, value, new, old):
    save(run)
    require(run)
    message = user_error(require, run, {name: value})
    assert f"--{name}" in message
    assert new in message
    assert old in message
    assert str(run.root) in message
    assert "--log_dir" in message


def test_options_that_may_change(run):
    """Options that are not fixed, and options that did not exist when the run was started."""
    save(run, Signature("run one", {name: x for name, x in OPTIONS.items() if name != "amp"}, FACTS))
    require(run, {"learning_rate": 1.0, "amp": "bf16"})


def test_many_changed_options_are_one_line(run):
    save(run)
    message = user_error(require, run, dict.fromkeys(FIXED, "x" * 1000))
    assert "--batch_size" in message


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"number of processes (--nproc_per_node)": 2}, ["--nproc_per_node", "2", "1"]),
        ({"balancing (--potential_from)": {"name": "dtp", "seed": 4}}, ["--potential_from", "seed", "4", "3"]),
        ({"balancing (--potential_from)": {"name": "dtp"}}, ["--potential_from", "seed", "3"]),
    ],
)
def test_changed_facts_are_rejected(run, facts, words):
    save(run)
    message = user_error(require, run, {}, facts)
    assert all(word in message for word in words)
    assert str(run.root) in message


def test_the_folder_is_created(tmp_path):
    run = RunFolder(tmp_path / "a" / Path("b"), FOLDERS)
    save(run)
    assert has_state(run)

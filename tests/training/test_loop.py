"""The training loop: an interrupted and resumed training equals an uninterrupted one, bit for bit."""

import copy
import json
import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tasks import FOLDERS
from tests.tiny import KINDS, TASKS, assert_identical, tiny_batch, tiny_network, tiny_stepper, with_nan_input
from training.log import TrainingLog
from training.loop import LoopSettings, batched, fit
from training.run_folder import RunFolder
from training.state import Progress, SavedState, Signature, save_state
from training.step import Stepper

NUM_BATCHES = 4  # per epoch


class Killed(BaseException):
    pass


class TinyBatches:
    """Batches of two images, in another order in each epoch, with noise from all random generators.

    Args:
        killed_at: number of the batch, counted from 1 through all epochs, instead of which `Killed` is raised.
        bad: numbers of the batches with non-finite losses, counted alike.
    """

    def __init__(self, killed_at: int | None = None, bad: tuple[int, ...] = ()):
        self._killed_at, self._bad, self._num_read = killed_at, bad, 0
        self.epochs: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return NUM_BATCHES

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        self.epochs.append((epoch, first_batch))
        order = np.random.default_rng(epoch).permutation(2 * NUM_BATCHES).reshape(NUM_BATCHES, 2)
        self._rest = order[first_batch:].tolist()

    def __iter__(self):
        for numbers in self._rest:
            self._num_read += 1
            if self._num_read == self._killed_at:
                raise Killed
            batch = tiny_batch(numbers)
            noise = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002 - libraries use it
            batch["rgb"] = batch["rgb"] + noise.item()
            yield with_nan_input(batch) if self._num_read in self._bad else batch


@dataclass
class Outcome:
    """Results of a training."""

    outcome: str
    progress: Progress
    state: dict
    epochs: list[tuple[int, int]]
    events: list[str]
    lines: list[dict]


def seed_all(seed: int) -> None:
    """Seed all random generators."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def validated(stepper: Stepper) -> dict[str, float]:
    """End the epoch of the balancing method. Returns: scores that depend on the weights."""
    stepper.objective.eval()
    method = stepper.objective.balancing
    method.end_epoch()
    scores = {task: torch.sigmoid(stepper.network.heads[task].bias.detach().mean()).item() for task in TASKS}
    method.validated(scores)
    return scores


def train(
    root: Path,
    resume: bool = False,
    batches: TinyBatches | None = None,
    stop=lambda: None,
    balancing: str = "uncertainty",
    dropout: float = 0.2,
    log_frequency: int = 1,
    end_epoch=lambda progress: None,
    late: bool = False,
    **settings,
) -> Outcome:
    """Train, by default for two epochs, saving the state after every step.

    Args:
        root: folder of the run.
        resume: continue the run.
        batches: training batches.
        stop: returns the reason to stop, or None.
        balancing: name of the balancing method.
        dropout: dropout probability of the network.
        log_frequency: steps per line in metrics.jsonl.
        end_epoch: called with the progress at the end of each epoch.
        late: whether results come a step late.
        settings: fields of `LoopSettings`.
    """
    run = RunFolder(root, FOLDERS)
    saved = SavedState(run) if resume else None
    seed_all(5 if resume else 0)
    batches = batches or TinyBatches()
    network = tiny_network(dropout=dropout)
    optimization = {"schedule": "cosine", "num_steps": 8, "ema_decay": 0.9, "grad_clip": 50.0}
    stepper = tiny_stepper(balancing, network, late=late, **optimization)
    log = TrainingLog(run, log_frequency, stepper.objective.balancing, stepper.optimizer, resumed=resume)
    progress = Progress()
    parts = {"stepper": stepper, "log": log, "progress": progress}
    if saved:
        saved.restore(parts)
    events = []

    def save() -> None:
        events.append(f"save {progress.epoch} {progress.step}")
        save_state(run, Signature("run", {}, {}), parts)

    def validate() -> None:
        events.append(f"end of epoch {progress.epoch}")
        end_epoch(progress)
        progress.best_scores |= validated(stepper)

    settings = LoopSettings(**{"num_epochs": 2, "save_steps": 1, **settings})
    try:
        outcome = fit(stepper, batches, log, progress, settings, SimpleNamespace(reason=stop), save, validate)
    finally:
        log.close()
    state = torch.load(run.state, weights_only=True)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return Outcome(outcome, progress, state, batches.epochs, events, lines)


def assert_same_end(ours: Outcome, theirs: Outcome) -> None:
    """Compare weights, averages, moments, schedules, generators, best scores and logged losses."""
    assert ours.outcome == theirs.outcome == "finished"
    assert_same_state(ours, theirs)
    assert_same_lines(ours, theirs)


def assert_same_lines(ours: Outcome, theirs: Outcome) -> None:
    times = ("run/images_per_second", "run/data_wait_share", "run/memory_gb")
    lines = [[{k: v for k, v in line.items() if k not in times} for line in x.lines] for x in (ours, theirs)]
    assert lines[0] == lines[1]


def assert_same_state(ours: Outcome, theirs: Outcome) -> None:
    states = [copy.deepcopy(x.state) for x in (ours, theirs)]
    for state in states:
        del state["parts"]["log"]["metrics_size"]  # the number of digits of times varies
    assert_identical(*states)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Outcome:
    return train(tmp_path_factory.mktemp("whole"))


def test_order_of_events(whole):
    assert whole.outcome == "finished"
    assert whole.epochs == [(1, 0), (2, 0)]
    steps = [[f"save {epoch} {step}" for step in range(1, NUM_BATCHES + 1)] for epoch in (1, 2)]
    assert whole.events == [
        *(*steps[0], "save 1 4", "end of epoch 1", "save 2 0"),
        *(*steps[1], "save 2 4", "end of epoch 2", "save 3 0"),
    ]
    assert [line["step"] for line in whole.lines] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(("save_steps", "steps"), [(3, [3]), (2, [2, 4]), (100, [])])
def test_states_are_saved_every_few_steps(tmp_path, save_steps, steps):
    events = train(tmp_path, save_steps=save_steps, num_epochs=1).events
    assert events == [*(f"save 1 {step}" for step in steps), "save 1 4", "end of epoch 1", "save 2 0"]


@pytest.mark.parametrize("num_steps", [1, 3, NUM_BATCHES, NUM_BATCHES + 2])
def test_killed_after_any_step(whole, tmp_path, num_steps):
    with pytest.raises(Killed):
        train(tmp_path, batches=TinyBatches(killed_at=num_steps + 1))
    resumed = train(tmp_path, resume=True)
    assert resumed.epochs[0] == ((1, num_steps) if num_steps < NUM_BATCHES else divmod(num_steps + NUM_BATCHES, 4))
    assert_same_end(resumed, whole)


def test_killed_after_the_last_save(whole, tmp_path):
    """The steps since the last saved state are repeated."""
    with pytest.raises(Killed):
        train(tmp_path, batches=TinyBatches(killed_at=4), save_steps=2)
    resumed = train(tmp_path, resume=True)
    assert resumed.epochs[0] == (1, 2)
    assert_same_end(resumed, whole)


def test_killed_at_the_end_of_an_epoch(whole, tmp_path):
    """During validation: it is repeated, but no step is."""

    def dying(progress: Progress) -> None:
        raise Killed

    with pytest.raises(Killed):
        train(tmp_path, end_epoch=dying, save_steps=100)
    resumed = train(tmp_path, resume=True, save_steps=100)
    assert resumed.epochs == [(1, NUM_BATCHES), (2, 0)]
    assert resumed.events[:3] == ["save 1 4", "end of epoch 1", "save 2 0"]
    assert_same_end(resumed, whole)


def test_killed_repeatedly(whole, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, batches=TinyBatches(killed_at=2))
    for _ in range(6):
        with pytest.raises(Killed):
            train(tmp_path, resume=True, batches=TinyBatches(killed_at=2))
    assert_same_end(train(tmp_path, resume=True), whole)


@pytest.mark.parametrize("balancing", KINDS)
def test_resuming_balancing_methods(tmp_path, balancing):
    """In a later epoch, as some weights depend on earlier epochs and validations."""
    settings = {"balancing": balancing, "num_epochs": 4, "save_steps": 3}
    expected = train(tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        train(tmp_path / "killed", **settings, batches=TinyBatches(killed_at=4 + 4 + 4 + 4))
    resumed = train(tmp_path / "killed", resume=True, **settings)
    assert resumed.epochs == [(4, 3)]
    assert_same_end(resumed, expected)


def test_stopped(whole, tmp_path):
    """After the current step, however rarely states are saved; the saved state includes this step."""
    stopped = train(tmp_path, stop=lambda: "time is up", save_steps=100)
    assert stopped.outcome == "stopped"
    assert stopped.events == ["save 1 1"]
    assert (stopped.progress.epoch, stopped.progress.step) == (1, 1)
    reasons = iter([None, None, "a signal"])
    stopped = train(tmp_path, resume=True, stop=lambda: next(reasons), save_steps=100)
    assert stopped.events == ["save 1 4"]
    assert_same_end(train(tmp_path, resume=True), whole)


def test_resuming_a_finished_training(tmp_path):
    """It takes no further step."""
    train(tmp_path)
    resumed = train(tmp_path, resume=True)
    assert (resumed.outcome, resumed.epochs, resumed.events) == ("finished", [], [])


def test_resuming_with_more_epochs(tmp_path):
    train(tmp_path, num_epochs=1)
    resumed = train(tmp_path, resume=True, num_epochs=2)
    assert resumed.epochs == [(2, 0)]
    assert [line["step"] for line in resumed.lines] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_steps_of_several_batches(tmp_path):
    """The last step of an epoch has the remaining batches."""
    whole = train(tmp_path / "whole", grad_accum=3)
    assert [event for event in whole.events if "end" not in event][:3] == ["save 1 1", "save 1 2", "save 1 2"]
    assert whole.state["parts"]["stepper"]["steps_done"] == 4
    with pytest.raises(Killed):
        train(tmp_path / "killed", grad_accum=3, batches=TinyBatches(killed_at=4))
    resumed = train(tmp_path / "killed", resume=True, grad_accum=3)
    assert resumed.epochs[0] == (1, 3)
    assert_same_end(resumed, whole)


@pytest.mark.parametrize(("grad_accum", "steps"), [(1, 7), (2, 4), (7, 1), (8, 1)])
def test_steps_per_epoch(grad_accum, steps):
    assert LoopSettings(num_epochs=1, grad_accum=grad_accum).steps_per_epoch(7) == steps
    assert len(list(batched([{}] * 7, grad_accum))) == steps


def test_batches_are_not_read_ahead():
    source = iter([{"id": number} for number in range(5)])
    groups = batched(source, 2)
    assert [[batch["id"] for batch in next(groups)] for _ in range(2)] == [[0, 1], [2, 3]]
    assert next(source)["id"] == 4
    assert list(groups) == []


@pytest.mark.parametrize("late", [False, True])
def test_aborts_after_bad_steps(tmp_path, capsys, late):
    batches = TinyBatches(bad=(2, 3, 4))
    outcome = train(tmp_path, batches=batches, max_bad_steps=3, save_steps=100, late=late, log_frequency=100)
    assert outcome.outcome == "diverged"
    assert outcome.events == ["save 1 4"]
    assert outcome.state["parts"]["progress"]["bad_steps"] == 3
    bad = [line for line in outcome.lines if "bad_step" in line]
    assert [line["step"] for line in bad] == [2, 3, 4]
    assert all("height" in line["bad_step"] and "image/" in line["bad_step"] for line in bad)
    assert capsys.readouterr().err.count("image/") >= 3


def test_only_consecutive_bad_steps_count(tmp_path):
    outcome = train(tmp_path, batches=TinyBatches(bad=(1, 2, 4, 6, 7)), max_bad_steps=3)
    assert outcome.outcome == "finished"
    assert outcome.progress.bad_steps == 0
    assert outcome.state["parts"]["stepper"]["steps_done"] == 3


def test_bad_steps_before_resuming_count(tmp_path):
    train(tmp_path, batches=TinyBatches(bad=(1, 2)), stop=iter([None, "a signal"]).__next__)
    outcome = train(tmp_path, resume=True, batches=TinyBatches(bad=(1,)), max_bad_steps=3)
    assert (outcome.outcome, outcome.progress.step) == ("diverged", 3)


def test_gradient_norms_are_logged(tmp_path):
    """In the steps whose losses are written; a bad step among them leaves the network finite."""
    outcome = train(tmp_path, log_grad_norms=True, log_frequency=2, batches=TinyBatches(bad=(2,)))
    norms = {f"grad_norm/{task}" for task in TASKS}
    assert [line["step"] for line in outcome.lines if norms <= line.keys()] == [2, 4, 6, 8]
    assert all(value.isfinite().all() for value in outcome.state["parts"]["stepper"]["objective"].values())


def test_gradient_norms_change_nothing(tmp_path):
    """Without dropout: its random numbers would differ."""
    with_norms, without = (train(tmp_path / str(x), dropout=0.0, log_grad_norms=x) for x in (True, False))
    assert_same_state(with_norms, without)


@pytest.mark.parametrize("settings", [{}, {"save_steps": 3}, {"log_grad_norms": True}], ids=str)
@pytest.mark.parametrize("balancing", ["uncertainty", "rlw", "gradnorm"])
def test_late_results_change_nothing(tmp_path, balancing, settings, capsys):
    """Not even the order of saving and logging."""
    settings = {"save_steps": 100, "log_frequency": 3, **settings}
    outcomes, printed = [], []
    for late in (False, True):
        batches = TinyBatches(bad=(2, 3, 5))
        outcomes.append(train(tmp_path / str(late), batches=batches, balancing=balancing, late=late, **settings))
        lines = capsys.readouterr().err.split("\n")  # after what the progress bar has drawn and erased before them
        printed.append([line.rpartition("\r")[2] for line in lines if "not finite" in line])
    assert_same_end(*outcomes)
    assert outcomes[0].events == outcomes[1].events
    assert [len(lines) for lines in printed] == [3, 3]
    assert printed[0] == printed[1]


@pytest.mark.parametrize("save_steps", [2, 3])
def test_killed_with_late_results(whole, tmp_path, save_steps):
    """The saved state includes all steps so far."""
    settings = {"late": True, "save_steps": save_steps, "log_frequency": 100}
    with pytest.raises(Killed):
        train(tmp_path, batches=TinyBatches(killed_at=NUM_BATCHES), **settings)
    resumed = train(tmp_path, resume=True, **settings)
    assert resumed.epochs[0] == (1, save_steps)
    assert_same_state(resumed, whole)


def test_stopped_with_late_results(whole, tmp_path):
    """A step later; the saved state includes this step."""
    settings = {"late": True, "save_steps": 100, "log_frequency": 100}
    stopped = train(tmp_path, stop=iter([None, "time is up", "time is up"]).__next__, **settings)
    assert (stopped.outcome, stopped.events) == ("stopped", ["save 1 3"])
    assert_same_state(train(tmp_path, resume=True, **settings), whole)


@pytest.mark.parametrize("max_bad_steps", [1, 2])
def test_aborts_with_late_results(tmp_path, max_bad_steps):
    """Not a step later than without."""
    settings = {"late": True, "save_steps": 100, "log_frequency": 100}
    outcome = train(tmp_path, batches=TinyBatches(bad=(2, 3)), max_bad_steps=max_bad_steps, **settings)
    assert outcome.outcome == "diverged"
    assert (outcome.progress.step, outcome.progress.bad_steps) == (1 + max_bad_steps, max_bad_steps)

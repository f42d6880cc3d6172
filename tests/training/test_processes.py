"""A step of two processes with batches of B equals a step of one process with a batch of 2B.

BatchNorm's statistics are frozen, because SyncBatchNorm, which would share them, exists only on CUDA.
"""

from functools import partial
from pathlib import Path

import pytest
import torch

from tasks import FOLDERS
from tests.processes import run_processes
from tests.tiny import (
    KINDS,
    TASKS,
    assert_identical,
    assert_same_gradients,
    parameters,
    step_gradients,
    tiny_batch,
    tiny_stepper,
    with_nan_input,
    without_labels,
)
from training.run_folder import RunFolder
from training.state import Progress, SavedState, Signature, save_state

pytestmark = pytest.mark.slow  # starts processes that import torch
METHODS = [*KINDS, "pcgrad", "rlw"]
# The images of each process, in batches. Valid pixels lie unevenly.
SINGLE = [[[0, 1]], [[2, 3]]]
SEVERAL = [[[0], [1]], [[2], [3]]]


def batches_of(cut: list, rank: int, processes: int) -> list[dict]:
    """The batches of one of two processes; for a single process, their joint batches."""
    if processes > 1:
        return [tiny_batch(numbers) for numbers in cut[rank]]
    return [tiny_batch(numbers[0] + numbers[1]) for numbers in zip(*cut, strict=True)]


def one_step(name: str, cut: list, rank: int, processes: int) -> dict:
    stepper = tiny_stepper(name, frozen=True)
    torch.manual_seed(rank)
    losses, gradients = step_gradients(stepper, batches_of(cut, rank, processes))
    stepper.objective.balancing.end_epoch()
    return {"losses": losses, "gradients": gradients, "weights": stepper.objective.balancing.weights()}


def bad_step(rank: int, processes: int) -> dict:
    """A step in which only the last process has a non-finite loss."""
    stepper = tiny_stepper()
    before = parameters(stepper)
    batch = tiny_batch([2 * rank, 2 * rank + 1])
    result = stepper.step([with_nan_input(batch) if rank == processes - 1 else batch])
    moved = any(not torch.equal(before[name], now) for name, now in parameters(stepper).items())
    return {"problem": result.problem, "moved": moved, "state": bool(stepper.optimizer.state)}


def moved_tasks(num_with_labels: int, rank: int) -> list[str]:
    """Tasks whose own parameters move in a second step, when only the first processes have labels of ``kind``."""
    stepper = tiny_stepper(weight_decay=0.1)
    batch = tiny_batch([2 * rank, 2 * rank + 1])
    stepper.step([batch])
    network = stepper.objective.network
    before = {task: [p.detach().clone() for p in network.own_parameters(task)] for task in TASKS}
    stepper.step([batch if rank < num_with_labels else without_labels(batch, "kind")])
    now = {task: network.own_parameters(task) for task in TASKS}
    return [task for task in TASKS if not all(map(torch.equal, before[task], now[task]))]


def is_stopped(rank: int, processes: int) -> bool:
    """Whether a step tells this process to stop when the last process wants to."""
    return tiny_stepper().step([tiny_batch([rank])], wants_to_stop=rank == processes - 1).stop


def states_of_late_results(rank: int, processes: int) -> list[tuple[dict, list[str]]]:
    """States and problems of a stepper that waits and of a late one, with a bad step in the last process."""
    first, second, third = (tiny_batch([2 * rank + 4 * i, 2 * rank + 4 * i + 1]) for i in range(3))
    second = with_nan_input(second) if rank == processes - 1 else second
    outcomes = []
    for late in (False, True):
        stepper = tiny_stepper("dwa", late=late)
        results = [stepper.step([batch]) for batch in (first, second, without_labels(third, "kind"), third)]
        results.append(stepper.settle())
        outcomes.append((stepper.state_dict(), [result.problem for result in results if result]))
    return outcomes


def restored_draw(rank: int, folder: str) -> tuple[float, float]:
    """A random number drawn after saving a state, and one drawn after restoring it."""
    run = RunFolder(Path(folder), FOLDERS)
    torch.manual_seed(rank)
    save_state(run, Signature("", {}, {}), {"progress": Progress()})
    drawn = torch.rand(()).item()
    torch.manual_seed(99)
    torch.distributed.barrier()
    SavedState(run).restore({"progress": Progress()})
    return drawn, torch.rand(()).item()


def in_process(rank: int, processes: int, folder: str) -> dict:
    """The values for all tests, so that the processes are started only once."""
    return {
        "single": {name: one_step(name, SINGLE, rank, processes) for name in METHODS},
        "several": {name: one_step(name, SEVERAL, rank, processes) for name in METHODS},
        "bad": bad_step(rank, processes),
        "moved": [moved_tasks(num_with_labels, rank) for num_with_labels in range(processes + 1)],
        "stop": is_stopped(rank, processes),
        "late": states_of_late_results(rank, processes),
        "draws": restored_draw(rank, folder),
    }


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> list[dict]:
    """The values of both processes."""
    folder = tmp_path_factory.mktemp("processes")
    return run_processes(partial(in_process, folder=str(folder / "run")), 2, folder)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("batches", "cut"), [("single", SINGLE), ("several", SEVERAL)])
def test_two_processes_equal_one(together, name, batches, cut):
    """The same losses, gradients and weights as one process with the joint batches; the same in both processes."""
    first, second = (results[batches][name] for results in together)
    single = one_step(name, cut, 0, 1)
    for key, loss in single["losses"].items():
        # Each process has its part of the mean, times the number of processes.
        assert (first["losses"][key] + second["losses"][key]) / 2 == pytest.approx(loss, rel=1e-5), key
        assert first["losses"][key] != pytest.approx(loss, rel=1e-3), key
    assert_identical(first["gradients"], second["gradients"])
    assert_same_gradients(first["gradients"], single["gradients"])
    assert first["weights"] == second["weights"]
    assert first["weights"] == pytest.approx(single["weights"], rel=1e-4)


def test_a_bad_loss_in_one_process_skips_the_step_in_all(together):
    for results in together:
        problem = results["bad"]["problem"]
        assert "height" in problem
        assert "image/2" in problem
        assert "image/3" in problem
        assert "image/0" not in problem, "the samples of the other process are fine"
        assert not results["bad"]["moved"]
        assert not results["bad"]["state"]


def test_labels_in_one_process_count_in_all(together):
    """Parameters of a task stay only if no process has labels for it."""
    for results in together:
        assert results["moved"] == [["height", "slope"], [*TASKS], [*TASKS]]


def test_one_process_stops_all(together):
    assert [results["stop"] for results in together] == [True, True]


def test_late_results_are_the_same(together):
    for results in together:
        (waiting, problems), (late, late_problems) = results["late"]
        assert_identical(late, waiting)
        assert late_problems == problems
        assert [bool(problem) for problem in problems] == [False, True, False, False]


def test_each_process_restores_its_own_generators(together):
    (first, first_restored), (second, second_restored) = (results["draws"] for results in together)
    assert first != second
    assert (first_restored, second_restored) == (first, second)

"""The predictors that do not attend to the image, evaluated on the panoramas of a network's evaluation."""

from collections.abc import Iterable

import torch

from metrics.breakdown import Breakdown
from metrics.constant_baselines import BestConstant
from metrics.evaluator import Evaluator, evaluate
from metrics.fixed_maps import FixedMapPredictor
from tasks import TASKS


class Baselines:
    """The best constants and the fixed maps of some tasks.

    Use: `fit` with every batch of the evaluation, then `evaluate` on all of them.

    Args:
        tasks: to evaluate.
        num_classes: K.
        height, width: of the panoramas, H x W.
        normal_frame: of the ground truth, "camera" or "world"; no fixed map is known for normals in the latter.

    Attributes:
        constants: once evaluated, of each task and metric the best constant.
        breakdowns: once evaluated, where the errors of the fixed maps lie, per task, if asked for.
    """

    def __init__(self, tasks: tuple[str, ...], num_classes: int, height: int, width: int, normal_frame: str):
        self._num_classes = num_classes
        self._constants = {task: TASKS[task].constant(num_classes) for task in tasks}
        maps = {task: TASKS[task].fixed_map(num_classes, height, width) for task in tasks}
        self._maps = {
            task: fixed for task, fixed in maps.items() if normal_frame == "camera" or not fixed.needs_camera_frame
        }
        self.constants: dict[str, dict[str, BestConstant]] = {}
        self._map_results: dict[str, dict[str, float]] = {}
        self.breakdowns: dict[str, Breakdown] = {}

    def fit(self, batch: dict) -> None:
        """Take the ground truth of a batch into account."""
        for baseline in (*self._constants.values(), *self._maps.values()):
            baseline.fit(batch)

    def evaluate(self, batches: Iterable[dict], device: torch.device, with_breakdowns: bool) -> None:
        """Evaluate on the batches that were fitted; in all processes."""
        for constant in self._constants.values():
            constant.choose()
        predictor = FixedMapPredictor({task: fixed.compute() for task, fixed in self._maps.items()})
        evaluator = Evaluator(tuple(self._maps), self._num_classes, device, with_breakdowns)

        def evaluate_constants(number: int, batch: dict, predictions: dict) -> None:
            for constant in self._constants.values():
                constant.evaluate(batch)

        self._map_results, _ = evaluate(predictor, batches, evaluator, on_batch=evaluate_constants)
        self.constants = {task: constant.compute() for task, constant in self._constants.items()}
        if with_breakdowns:
            self.breakdowns = evaluator.breakdowns()

    def results(self) -> dict[str, dict[str, dict[str, float]]]:
        """Once evaluated: of ``constant`` and ``fixed_map`` the metrics of each task; none without ground truth."""
        constants = {
            task: {name: best.metric for name, best in of_task.items()} for task, of_task in self.constants.items()
        }
        maps = {task: of_task if constants[task] else {} for task, of_task in self._map_results.items()}
        return {"constant": constants, "fixed_map": maps}

    def describe(self) -> dict:
        """Once evaluated: what the baselines of each task are, in words, and the value of each constant."""
        return {
            "constant": {task: constant.description for task, constant in self._constants.items()},
            "fixed_map": {task: fixed.description for task, fixed in self._maps.items()},
            "values": {
                task: {name: best.constant for name, best in of_task.items()}
                for task, of_task in self.constants.items()
            },
        }

"""The predictors that do not attend to the image, evaluated on the panoramas of a network's evaluation."""

from collections.abc import Callable, Iterable, Mapping

import torch

from metrics.breakdown import Breakdown
from metrics.constant_baselines import BestConstant, ConstantBaseline
from metrics.evaluator import Evaluator, evaluate
from metrics.fixed_maps import FixedMap, FixedMapPredictor


class Baselines:
    """The best constants and the fixed maps of some tasks.

    Use: `fit` with every batch of the evaluation, then `evaluate` on all of them.

    Args:
        constants: of each task to evaluate.
        maps: of the tasks for which one is known.
        build_evaluator: from tasks, the device, and whether to note where the errors lie, to a fresh evaluator.

    Attributes:
        constants: once evaluated, of each task and metric the best constant.
        breakdowns: once evaluated, where the errors of the fixed maps lie, per task, if asked for.
    """

    def __init__(
        self,
        constants: Mapping[str, ConstantBaseline],
        maps: Mapping[str, FixedMap],
        build_evaluator: Callable[[tuple[str, ...], torch.device, bool], Evaluator],
    ):
        self._constants = constants
        self._maps = maps
        self._build_evaluator = build_evaluator
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
        evaluator = self._build_evaluator(tuple(self._maps), device, with_breakdowns)

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

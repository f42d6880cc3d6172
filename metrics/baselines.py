"""Baselines that ignore the image, evaluated on the same panoramas as a network."""

from collections.abc import Callable, Iterable, Mapping

import torch

from metrics.breakdown import Breakdown
from metrics.constant_baselines import BestConstant, ConstantBaseline
from metrics.evaluator import Evaluator, evaluate
from metrics.fixed_maps import FixedMap, FixedMapPredictor


class Baselines:
    """The best constants and the fixed maps of several tasks.

    Usage: call `fit` with every batch of the evaluation, then `evaluate` with all of them.

    Args:
        constants: constant baselines by task.
        maps: fixed maps by task; not every task needs one.
        build_evaluator: returns a new evaluator, given tasks, device and whether to collect error profiles.

    Attributes:
        constants: the best constant for each metric of each task; set by `evaluate`.
        breakdowns: error profiles of the fixed maps by task; set by `evaluate` if it collects them.
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
        """Add the ground truth of a batch."""
        for baseline in (*self._constants.values(), *self._maps.values()):
            baseline.fit(batch)

    def evaluate(self, batches: Iterable[dict], device: torch.device, with_breakdowns: bool) -> None:
        """Evaluate on the batches passed to `fit`; to be called by all processes."""
        for constant in self._constants.values():
            constant.choose()
        predictor = FixedMapPredictor({task: fixed.compute().to(device) for task, fixed in self._maps.items()})
        evaluator = self._build_evaluator(tuple(self._maps), device, with_breakdowns)

        def evaluate_constants(number: int, batch: dict, predictions: dict) -> None:
            for constant in self._constants.values():
                constant.evaluate(batch)

        self._map_results, _ = evaluate(predictor, batches, evaluator, on_batch=evaluate_constants)
        self.constants = {task: constant.compute() for task, constant in self._constants.items()}
        if with_breakdowns:
            self.breakdowns = evaluator.breakdowns()

    def results(self) -> dict[str, dict[str, dict[str, float]]]:
        """Metrics by task of ``constant`` and ``fixed_map``, after `evaluate`; empty for tasks without ground truth."""
        constants = {
            task: {name: best.metric for name, best in metrics.items()} for task, metrics in self.constants.items()
        }
        maps = {task: metrics if constants[task] else {} for task, metrics in self._map_results.items()}
        return {"constant": constants, "fixed_map": maps}

    def describe(self) -> dict:
        """Descriptions of the baselines by task, and the chosen constants, after `evaluate`."""
        return {
            "constant": {task: constant.description for task, constant in self._constants.items()},
            "fixed_map": {task: fixed.description for task, fixed in self._maps.items()},
            "values": {
                task: {name: best.constant for name, best in metrics.items()}
                for task, metrics in self.constants.items()
            },
        }

"""The end of each epoch of training: validation and checkpoints."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from datasets.loading import Batches
from metrics.evaluator import Evaluator, evaluate
from networks.saved_network import NetworkSettings, save_checkpoint
from tasks.task import Task
from training.log import TrainingLog
from training.run_folder import RunFolder
from training.state import Progress
from training.step import Stepper
from utils.distributed import broadcast_buffers, is_main
from visual.displays import DisplaySettings
from visual.panels import panel_writer

SUMMARY = "all tasks"  # key of `Validation.summary` among the best scores


@dataclass(frozen=True)
class ValidationSet:
    """Images to validate on.

    Attributes:
        batches: batches of the images.
        build_evaluator: returns a new evaluator of the tasks for which they have ground truth.
    """

    batches: Batches
    build_evaluator: Callable[[], Evaluator]


@dataclass(frozen=True)
class Validation:
    """Validation settings of a training.

    Attributes:
        tasks: tasks of the network, by name.
        sets: validation sets; each covers some of the tasks.
        draw_every: draw images of every N-th batch.
        keep_every: keep the model of every N-th epoch.
        first: first epoch to validate.
        every: validate every N-th epoch, and the last.
        last: last epoch of the training.
        summary: returns a single score (higher is better), given the metrics of all tasks; it selects the best model
            for all tasks, and schedules may depend on it. None: no such score.
    """

    tasks: Mapping[str, Task]
    sets: tuple[ValidationSet, ...]
    draw_every: int
    keep_every: int
    last: int
    first: int = 1
    every: int = 1
    summary: Callable[[dict[str, dict[str, float]]], float] | None = None

    def is_due(self, epoch: int) -> bool:
        """Whether to validate after an epoch."""
        return epoch == self.last or (epoch >= self.first and epoch % self.every == 0)


@dataclass(frozen=True)
class EpochEnd:
    """Validates the network after an epoch and saves checkpoints: the last, the best of each task, every N-th.

    Attributes:
        folder: run folder.
        settings: settings of the network.
        balancing_name: name of the balancing method.
        validation: validation settings.
        stepper, log, progress: state of the training.
    """

    folder: RunFolder
    settings: NetworkSettings
    balancing_name: str
    validation: Validation
    stepper: Stepper
    log: TrainingLog
    progress: Progress

    def __call__(self) -> None:
        """Validate if due, and save checkpoints."""
        balancing = self.stepper.objective.balancing
        results = self.validate() if self.validation.is_due(self.progress.epoch) else {}
        if results:
            tasks = self.validation.tasks
            accuracies = {task: tasks[task].accuracy(metrics) for task, metrics in results.items()}
            self.log.validation(self.progress.epoch, results, accuracies)
        balancing.end_epoch()
        summary = None
        if results:
            balancing.validated(accuracies)
            if self.validation.summary:
                summary = self.validation.summary(results)
                self.stepper.validated(summary)
        if is_main():
            self.save_models(results, summary)

    def validate(self) -> dict[str, dict[str, float]]:
        """Metrics by task on the validation sets."""
        network, epoch = self.stepper.network, self.progress.epoch
        broadcast_buffers(network)
        network.eval()
        results = {}
        for validation_set in self.validation.sets:
            evaluator = validation_set.build_evaluator()
            draw = panel_writer(
                self.folder.image,
                {name: self.validation.tasks[name].display for name in evaluator.metrics},
                DisplaySettings.of(self.settings),
                epoch,
                self.validation.draw_every,
                partial(self.log.image, epoch=epoch),
            )
            results |= evaluate(network, validation_set.batches, evaluator, on_batch=draw)[0]
        return {task: results[task] for task in self.validation.tasks}

    def save_models(self, results: dict[str, dict[str, float]], summary: float | None = None) -> None:
        """Save the last model, every N-th one, and those with a new best score of a task or of all tasks."""
        progress, balancing = self.progress, self.stepper.objective.balancing
        save = partial(
            save_checkpoint,
            settings=self.settings,
            network=self.stepper.network,
            weighting=balancing,
            epoch=progress.epoch,
            balancing=self.balancing_name,
        )
        for name, metrics in results.items():
            task = self.validation.tasks[name]
            score = metrics.get(task.best_metric)
            if task.is_better(score, progress.best_scores.get(name)):
                progress.best_scores[name] = score
                save(self.folder.best_model(name))
        if summary is not None and summary > progress.best_scores.get(SUMMARY, -math.inf):  # False for NaN
            progress.best_scores[SUMMARY] = summary
            save(self.folder.best_of_all)
        if progress.epoch % self.validation.keep_every == 0:
            save(self.folder.kept_model(progress.epoch))
        save(self.folder.last_model, best_scores=progress.best_scores)

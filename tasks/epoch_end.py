"""What happens after each epoch of training: validation, and the models that are kept."""

from dataclasses import dataclass
from functools import partial

from datasets.loading import Batches
from metrics.evaluator import evaluate
from networks.checkpoint import ModelSettings, save_checkpoint
from tasks import DISPLAYS, TASKS, build_evaluator
from training.log import TrainingLog
from training.run_folder import RunFolder
from training.state import Progress
from training.step import Stepper
from utils.distributed import broadcast_buffers, is_main
from visual.displays import DisplaySettings
from visual.panels import panel_writer


@dataclass(frozen=True)
class EpochEnd:
    """Validates the network of a training, and keeps the last model, the best ones and every Nth.

    Attributes:
        folder: of the run.
        settings: of the network.
        balancing: name of the method.
        batches: of the validation set.
        stepper, log, progress: of the training.
        draw_every: batches between those of which images are drawn.
        keep_every: epochs between models that are kept.
    """

    folder: RunFolder
    settings: ModelSettings
    balancing: str
    batches: Batches
    stepper: Stepper
    log: TrainingLog
    progress: Progress
    draw_every: int
    keep_every: int

    def __call__(self) -> None:
        """Validate after an epoch."""
        results = self.validate()
        accuracies = {task: TASKS[task].accuracy(metrics) for task, metrics in results.items()}
        self.log.validation(self.progress.epoch, results, accuracies)
        balancing = self.stepper.objective.balancing
        balancing.end_epoch()
        balancing.validated(accuracies)
        if is_main():
            self.save_models(results)

    def validate(self) -> dict[str, dict[str, float]]:
        """Metrics of the validation set, per task."""
        network, epoch = self.stepper.network, self.progress.epoch
        broadcast_buffers(network)
        network.eval()
        draw = panel_writer(
            *(self.folder.picture, {task: DISPLAYS[task] for task in self.settings.tasks}),
            *(DisplaySettings.of(self.settings), epoch, self.draw_every, partial(self.log.picture, epoch=epoch)),
        )
        evaluator = build_evaluator(self.settings.tasks, len(self.settings.class_names), self.stepper.device)
        results, _ = evaluate(network, self.batches, evaluator, on_batch=draw)
        return results

    def save_models(self, results: dict[str, dict[str, float]]) -> None:
        """Write the last model, those that are the best at a task so far, and every Nth."""
        progress, balancing = self.progress, self.stepper.objective.balancing
        trained = (self.settings, self.stepper.network, balancing, progress.epoch, self.balancing)
        for task in self.settings.tasks:
            score = results[task].get(TASKS[task].best_metric)
            if TASKS[task].is_better(score, progress.best_scores.get(task)):
                progress.best_scores[task] = score
                save_checkpoint(self.folder.best_model(task), *trained)
        if progress.epoch % self.keep_every == 0:
            save_checkpoint(self.folder.kept_model(progress.epoch), *trained)
        save_checkpoint(self.folder.last_model, *trained, best_scores=progress.best_scores)

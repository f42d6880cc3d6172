"""The end of each epoch of training: validation and checkpoints."""

from dataclasses import dataclass
from functools import partial

from datasets.loading import Batches
from metrics.evaluator import evaluate
from networks.checkpoint import ModelSettings
from networks.saved_network import save_checkpoint
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
    """Validates the network after an epoch and saves its checkpoints: the last, the best of each task and every Nth.

    Attributes:
        folder: of the run.
        settings: of the network.
        balancing_name: of the balancing method.
        batches: of the validation set.
        stepper, log, progress: of the training.
        draw_every: draw images of every N-th batch.
        keep_every: keep the model of every N-th epoch.
    """

    folder: RunFolder
    settings: ModelSettings
    balancing_name: str
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
            self.folder.image,
            {task: DISPLAYS[task] for task in self.settings.tasks},
            DisplaySettings.of(self.settings),
            epoch,
            self.draw_every,
            partial(self.log.image, epoch=epoch),
        )
        evaluator = build_evaluator(self.settings.tasks, len(self.settings.class_names), self.stepper.device)
        results, _ = evaluate(network, self.batches, evaluator, on_batch=draw)
        return results

    def save_models(self, results: dict[str, dict[str, float]]) -> None:
        """Write the last model, those that are now the best of a task, and every N-th."""
        progress, balancing = self.progress, self.stepper.objective.balancing
        save = partial(
            save_checkpoint,
            settings=self.settings,
            network=self.stepper.network,
            weighting=balancing,
            epoch=progress.epoch,
            balancing=self.balancing_name,
        )
        for task in self.settings.tasks:
            score = results[task].get(TASKS[task].best_metric)
            if TASKS[task].is_better(score, progress.best_scores.get(task)):
                progress.best_scores[task] = score
                save(self.folder.best_model(task))
        if progress.epoch % self.keep_every == 0:
            save(self.folder.kept_model(progress.epoch))
        save(self.folder.last_model, best_scores=progress.best_scores)

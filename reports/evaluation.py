"""The evaluation of a network, or of the predictions of another program, on panoramas.

For perspective images see `reports.perspective_evaluation`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from datasets.panorama import PanoramaDataset
from metrics.baselines import Baselines
from metrics.breakdown import Breakdown
from metrics.evaluator import Evaluator, PredictedBatches, evaluate_predictions
from metrics.protocol import Protocol
from networks.saved_network import SavedNetwork
from prediction.candidate import BatchPredictor, Candidate
from prediction.cost import measure_cost
from reports.gallery import Gallery, GalleryImage
from reports.results import complete, write_results
from tasks import DISPLAYS, build_baselines, build_evaluator
from tasks.meaning import display_settings_of
from training.run_folder import RunFolder
from utils.distributed import gather_objects, is_main
from utils.errors import UserError
from visual.displays import DisplaySettings
from visual.panels import panel_writer


@dataclass(frozen=True)
class Extras:
    """What an evaluation does besides measuring its candidate.

    Attributes:
        draw_every: draw the panoramas of every N-th batch.
        baselines: whether to evaluate baselines that ignore the image.
        cost: whether to measure the cost of the network.
        report: whether to collect error profiles and images for a report.
    """

    draw_every: int
    baselines: bool = False
    cost: bool = False
    report: bool = False


@dataclass(frozen=True)
class EvaluationResults:
    """Results of an evaluation.

    Attributes:
        summary: metrics of all predictors, descriptions of the baselines, and the cost, as entries of results.json.
        rows: metrics of each image, see `Evaluator.compute`.
        breakdowns: error profiles per task; empty without a report, like the next two.
        baseline_breakdowns: error profiles of the fixed maps per task.
        shown: images of the report per task.
    """

    summary: dict
    rows: list[dict]
    breakdowns: dict[str, Breakdown] = field(default_factory=dict)
    baseline_breakdowns: dict[str, Breakdown] = field(default_factory=dict)
    shown: dict[str, list[GalleryImage]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one candidate on one dataset.

    Attributes:
        candidate: predicts the panoramas.
        dataset: the panoramas; its classes are those that are evaluated.
        batches: the panoramas with these classes, and with ground truth only where it is evaluated.
        protocol: how predictions are compared with the ground truth.
        device: device of the batches.
    """

    candidate: Candidate
    dataset: PanoramaDataset
    batches: Iterable[dict]
    protocol: Protocol
    device: torch.device

    def run(self, extras: Extras, folder: RunFolder) -> EvaluationResults:
        """Evaluate the candidate and, if requested, the baselines. Draws images into the folder.

        All processes make this call.
        """
        evaluator = self._new_evaluator(extras.report)
        baselines = self._new_baselines() if extras.baselines else None
        gallery = Gallery(self.dataset.tasks) if extras.report else None
        draw = self._panel_writer(folder, extras.draw_every)

        def on_batch(number: int, batch: dict, predictions: dict) -> None:
            draw(number, batch, predictions)
            if gallery:
                gallery.add(batch, predictions, evaluator.rows[-len(batch["id"]) :])
            if baselines:
                baselines.fit(batch)

        results, rows = evaluate_predictions(self._predicted(self.candidate.predict), evaluator, on_batch)
        metrics, more = {"results": results}, {}
        if self.candidate.plain:
            metrics["plain"], _ = evaluate_predictions(self._predicted(self.candidate.plain), self._new_evaluator())
        if baselines:
            baselines.evaluate(self.batches, self.device, with_breakdowns=extras.report)
            metrics |= baselines.results()
            more["baselines"] = baselines.describe()
        if extras.cost and is_main():
            size = self.dataset.height, self.dataset.width
            more["cost"] = measure_cost(self.candidate.source, self.candidate.predict, *size, self.device)
        completed = {
            predictor: {task: complete(task, values) for task, values in of_tasks.items()}
            for predictor, of_tasks in metrics.items()
        }
        return EvaluationResults(
            completed | more,
            rows,
            evaluator.breakdowns() if extras.report else {},
            baselines.breakdowns if baselines else {},
            gallery.join() if gallery else {},
        )

    def _predicted(self, predict: BatchPredictor) -> PredictedBatches:
        return PredictedBatches(progress_bar(self.batches), predict, self.protocol.at_truth_size)

    def _new_evaluator(self, with_breakdown: bool = False) -> Evaluator:
        dataset = self.dataset
        return build_evaluator(dataset.tasks, len(dataset.classes), self.device, with_breakdown, self.protocol)

    def _new_baselines(self) -> Baselines:
        dataset = self.dataset
        return build_baselines(
            dataset.tasks, len(dataset.classes), dataset.height, dataset.width, dataset.normal_frame, self.protocol
        )

    def _panel_writer(self, folder: RunFolder, every: int) -> Callable[[int, dict, dict], None]:
        """A callback that draws panels in the unit and the frame of the predictions."""
        source = self.candidate.source
        settings = display_settings_of(self.dataset)._replace(
            depth_unit=source.settings.depth_unit, normal_frame=source.settings.normal_frame
        )
        displays = {task: DISPLAYS[task] for task in self.dataset.tasks}
        return panel_writer(folder.image, displays, settings, source.epoch, every)


def progress_bar(batches: Iterable[dict]) -> tqdm:
    """The batches, with a progress bar in the main process."""
    return tqdm(batches, desc="evaluating", unit="batch", disable=not is_main(), dynamic_ncols=True)


def require_same_checkpoint(checkpoint: SavedNetwork) -> None:
    """Make sure that all processes have read the same file.

    Raises:
        UserError: when it was replaced in the meantime.
    """
    if len(set(gather_objects(checkpoint.sha256))) > 1:
        raise UserError(f"{checkpoint.path} was replaced while the processes read it: evaluate a copy of it")


def write_evaluation(folder: RunFolder, summary: dict, results: EvaluationResults, settings: DisplaySettings) -> None:
    """Write the result files and, if results were collected for it, report.html; print the metrics.

    Args:
        folder: folder to write to.
        summary: the content of results.json.
        results: results of the evaluation.
        settings: display settings of the ground truth.
    """
    if not is_main():
        return
    write_results(folder, summary, results.rows)
    if not results.breakdowns:
        return
    from reports.page import Report, write_report  # needs packages that are optional without --report

    report = Report(summary, results.rows, results.breakdowns, results.baseline_breakdowns, results.shown, settings)
    write_report(folder.root / "report.html", report)

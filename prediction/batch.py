"""Prediction of many images; an error in one does not stop the others."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import shorten

import torch
from tqdm import tqdm

from prediction.file_predictor import FilePredictor
from prediction.input_image import InputImage
from prediction.naming import Job
from prediction.result import Prediction
from prediction.result_files import ResultFiles
from utils.errors import UserError, interrupts_deferred

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Outcome:
    """Outcome of the images so far.

    Attributes:
        descriptions: content of the .json file of each predicted image.
        num_existing: number of images that already had results.
        failures: a line of text for each image that could not be predicted.
    """

    descriptions: list[dict] = field(default_factory=list)
    num_existing: int = 0
    failures: list[str] = field(default_factory=list)

    def counts(self) -> str:
        """The three numbers as text."""
        return f"{len(self.descriptions)} predicted, {self.num_existing} exist already, {len(self.failures)} failed"


def predict_all(
    predictor: FilePredictor, jobs: list[Job], files: ResultFiles, outcome: Outcome, batch_size: int = 1
) -> None:
    """Predict images `batch_size` at a time, write their results and record the outcome.

    Raises:
        UserError: when the disk is full.
    """
    batch: list[tuple[Job, InputImage]] = []
    for job in tqdm(jobs, unit="image", dynamic_ncols=True, disable=None):
        with _recorded_failures([job], outcome):
            if files.are_current(job):
                outcome.num_existing += 1
            else:
                files.require_names(job)
                batch.append((job, _read(predictor, job)))
        if len(batch) == batch_size or job is jobs[-1]:
            _predict_and_write(predictor, batch, files, outcome)
            batch = []


def _read(predictor: FilePredictor, job: Job) -> InputImage:
    return predictor.read(job.image) if job.frame is None else predictor.read_frame(job.image, job.frame)


def _predict_and_write(
    predictor: FilePredictor, batch: list[tuple[Job, InputImage]], files: ResultFiles, outcome: Outcome
) -> None:
    """Predict a batch and write the results of each image."""
    predictions: list[Prediction] = []
    with _recorded_failures([job for job, _ in batch], outcome):
        predictions = predictor.predict([image for _, image in batch]) if batch else []
    for (job, image), prediction in zip(batch, predictions, strict=False):  # no predictions if the batch failed
        # Interrupts are deferred so that temporary folders are removed and written results are counted.
        with _recorded_failures([job], outcome), interrupts_deferred():
            outcome.descriptions.append(files.write(job, image, prediction))


@contextmanager
def _recorded_failures(jobs: list[Job], outcome: Outcome) -> Iterator[None]:
    """Record any error, even an unexpected one, as a failure of these images, so that all others are still predicted.

    Raises:
        UserError: when the disk is full.
    """
    try:
        yield
    except Exception as error:
        if _is_disk_full(error):
            raise UserError(_failure_line(jobs[0], error)) from error
        outcome.failures += [_failure_line(job, error) for job in jobs]


def _failure_line(job: Job, error: Exception) -> str:
    """The error of an image as one line."""
    if isinstance(error, UserError):
        line = str(error)
    elif isinstance(error, OSError):
        line = f"{error.filename or job.image}: {error.strerror or error}"
    elif isinstance(error, MemoryError | torch.OutOfMemoryError):
        line = f"{job.image} does not fit into memory"
    else:
        line = f"{job.image}: {type(error).__name__}: {shorten(str(error), 200)}"
    return line.replace("\n", " ")


def _is_disk_full(error: Exception) -> bool:
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in _DISK_FULL

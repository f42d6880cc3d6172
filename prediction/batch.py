"""Predicting many images. An error in one does not stop the others."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import shorten

import torch
from tqdm import tqdm

from prediction.input_image import InputImage, read_image, require_panorama
from prediction.model import PanoramaModel
from prediction.naming import Job
from prediction.result_files import ResultFiles
from utils.errors import UserError, interrupts_deferred

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Outcome:
    """Outcome of the images so far.

    Attributes:
        seams: per predicted image, the seam score of each task.
        plain_seams: the same without test-time augmentation.
        there: number of images that already had results.
        failures: a line of text for each image that could not be predicted.
    """

    seams: list[dict[str, float]] = field(default_factory=list)
    plain_seams: list[dict[str, float]] = field(default_factory=list)
    there: int = 0
    failures: list[str] = field(default_factory=list)

    def counts(self) -> str:
        """As text."""
        return f"{len(self.seams)} predicted, {self.there} there already, {len(self.failures)} failed"


def predict_all(
    model: PanoramaModel,
    jobs: list[Job],
    files: ResultFiles,
    tta: int,
    force: bool,
    outcome: Outcome,
    batch_size: int = 1,
) -> None:
    """Predict images, `batch_size` at a time, and write their results, and record the outcome.

    Raises:
        UserError: when the disk is full.
    """
    read: list[tuple[Job, InputImage]] = []
    for job in tqdm(jobs, unit="image", dynamic_ncols=True, disable=None):
        with _failures_noted([job], outcome):
            if files.are_there(job):
                outcome.there += 1
            else:
                files.require_names(job)
                image = _read(job.image, force)
                read.append((job, image._replace(rgb=model.resize(image.rgb))))
        if len(read) == batch_size or job is jobs[-1]:
            _predict_and_write(model, read, files, tta, outcome)
            read = []


def _predict_and_write(
    model: PanoramaModel, read: list[tuple[Job, InputImage]], files: ResultFiles, tta: int, outcome: Outcome
) -> None:
    """Predict resized images at once, and write the results of each."""
    predictions = []
    with _failures_noted([job for job, _ in read], outcome):
        predictions = model.predict_batch([image.rgb for _, image in read], tta) if read else []
    for (job, image), prediction in zip(read, predictions, strict=False):  # none, if that failed
        # Interrupts are deferred so that no temporary folder is left, and results are counted.
        with _failures_noted([job], outcome), interrupts_deferred():
            files.write(job, image, prediction)
            outcome.seams.append(prediction.seam)
            outcome.plain_seams.append(prediction.plain_seam)


@contextmanager
def _failures_noted(jobs: list[Job], outcome: Outcome) -> Iterator[None]:
    """Note any error, also an unforeseen one, as the failure of these images: thousands of others may follow.

    Raises:
        UserError: when the disk is full.
    """
    try:
        yield
    except Exception as error:
        if _is_disk_full(error):
            raise UserError(_line(jobs[0], error)) from error
        outcome.failures += [_line(job, error) for job in jobs]


def require_writable(out: Path) -> None:
    """Create a folder and make sure that it is writable.

    Raises:
        UserError: when they cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(f"--out {out} cannot be written to ({error.strerror}): choose another folder") from error


def _read(path: Path, force: bool) -> InputImage:
    """Read a panorama, or with `force` any image.

    Raises:
        UserError: when it cannot be read, or is not a panorama.
    """
    image = read_image(path)
    if not force:
        require_panorama(image.rgb, path, "--force")
    return image


def _line(job: Job, error: Exception) -> str:
    """The error of an image, as one line."""
    if isinstance(error, UserError):
        line = str(error)
    elif isinstance(error, OSError):
        line = f"{error.filename or job.image}: {error.strerror or error}"
    elif isinstance(error, MemoryError | torch.OutOfMemoryError):
        line = f"{job.image} does not fit into the memory"
    else:
        line = f"{job.image}: {type(error).__name__}: {shorten(str(error), 200)}"
    return line.replace("\n", " ")


def _is_disk_full(error: Exception) -> bool:
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in _DISK_FULL

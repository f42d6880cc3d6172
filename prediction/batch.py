"""Predicting many images. An error in one does not stop the others."""

import errno
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import shorten

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
    model: PanoramaModel, jobs: list[Job], files: ResultFiles, tta: int, force: bool, outcome: Outcome
) -> None:
    """Predict images and write their results, and record the outcome.

    Raises:
        UserError: when the disk is full.
    """
    for job in tqdm(jobs, unit="image", dynamic_ncols=True, disable=None):
        try:
            if files.are_there(job):
                outcome.there += 1
                continue
            files.require_names(job)
            image = _read(job.image, force)
            prediction = model.predict(image.rgb, tta, force=force)
            with interrupts_deferred():  # so that no temporary folder is left, and results are counted
                files.write(job, image, prediction)
                outcome.seams.append(prediction.seam)
                outcome.plain_seams.append(prediction.plain_seam)
        except Exception as error:  # also unforeseen errors: thousands of images may follow
            if _is_disk_full(error):
                raise UserError(_line(job, error)) from error
            outcome.failures.append(_line(job, error))


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
    elif isinstance(error, MemoryError):
        line = f"{job.image} does not fit into the memory"
    else:
        line = f"{job.image}: {type(error).__name__}: {shorten(str(error), 200)}"
    return line.replace("\n", " ")


def _is_disk_full(error: Exception) -> bool:
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in _DISK_FULL

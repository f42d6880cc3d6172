"""What predict_elite360m.py and predict_achievement.py do once they have a predictor and input files."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from prediction.batch import Outcome, predict_all
from prediction.file_predictor import FilePredictor
from prediction.inputs import Inputs
from prediction.result_files import ResultFiles
from utils.errors import INTERRUPTED, UserError


def predict_files(
    predictor: FilePredictor,
    inputs: Inputs,
    out: Path,
    kinds: list[str] | None,
    overwrite: bool,
    batch_size: int,
    up: str = "-y",
) -> int:
    """Predict images, write their results and print a summary.

    Args:
        predictor: of the program.
        inputs: the images.
        out: folder of the results.
        kinds, overwrite, up: see `ResultFiles`.
        batch_size: images to predict at a time.

    Returns:
        The exit code: 0, 1 when an image failed, 130 when interrupted.

    Raises:
        UserError: when the options do not fit the model, existing results are in the way, or the disk is full.
    """
    files = ResultFiles(predictor, kinds, overwrite, up)
    files.check(inputs.jobs)
    require_writable(out)
    outcome = Outcome(failures=inputs.problems)
    try:
        predict_all(predictor, inputs.jobs, files, outcome, batch_size)
    except KeyboardInterrupt:
        print(f"interrupted: {outcome.counts()} of {len(inputs.jobs)} images: {out}", file=sys.stderr)
        return INTERRUPTED
    except UserError:
        _report(predictor, outcome, out)
        raise
    _report(predictor, outcome, out)
    if skipped := inputs.skipped_line():
        print(skipped)
    return 1 if outcome.failures else 0


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Context in which SIGTERM acts like Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_writable(out: Path) -> None:
    """Create a folder and make sure that it is writable.

    Raises:
        UserError: when it is not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(f"--out {out} cannot be written to ({error.strerror}): choose another folder") from error


def _report(predictor: FilePredictor, outcome: Outcome, out: Path) -> None:
    """Print the failures, the program's summary and the counts."""
    for failure in outcome.failures:
        print(f"failed: {failure}", file=sys.stderr)
    print(*predictor.summary(outcome.descriptions), f"{outcome.counts()}: {out}", sep="\n")

"""Finding the files of samples, such as masks, in a folder."""

from pathlib import Path

from utils.errors import UserError


class SampleFiles:
    """Finds files by sample ids without suffixes: in the same folder tree as the ids, or by the last part of the id.

    Args:
        folder: the folder to search.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._used: dict[tuple[Path, tuple[str, ...]], str] = {}  # the sample of each file found

    def find(self, sample: str, endings: tuple[str, ...]) -> Path | None:
        """The file of a sample, with the first of the endings that exists; None if there is no file.

        Args:
            sample: id of the sample.
            endings: what may follow the id in the file name.

        Raises:
            UserError: when the file was already found for another sample.
        """
        stem = Path(sample).with_suffix("")
        for base in (self._folder / stem, self._folder / stem.name):
            for ending in endings:
                path = base.with_name(base.name + ending)
                if path.is_file():
                    if self._used.setdefault((path, endings), sample) != sample:
                        raise UserError(
                            f"{path} matches several samples: use the folder tree of the sample ids in {self._folder}"
                        )
                    return path
        return None

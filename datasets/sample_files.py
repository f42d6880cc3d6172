"""Files that a folder holds of the samples of a dataset."""

from pathlib import Path

from utils.errors import UserError


class SampleFiles:
    """Finds files by the ids of samples, without their suffixes: in the tree of the ids, or only by their last parts.

    Args:
        folder: to search.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._used: dict[tuple[Path, tuple[str, ...]], str] = {}  # the sample that each file was found for

    def find(self, sample: str, endings: tuple[str, ...]) -> Path | None:
        """The file of a sample whose name ends in one of these, the first of several; None if there is none.

        Args:
            sample: its id.
            endings: what follows the id.

        Raises:
            UserError: when the file was found for another sample.
        """
        stem = Path(sample).with_suffix("")
        for place in (self._folder / stem, self._folder / stem.name):
            for ending in endings:
                path = place.with_name(place.name + ending)
                if path.is_file():
                    if self._used.setdefault((path, endings), sample) != sample:
                        raise UserError(
                            f"{path} stands for several samples: repeat the folders of their ids in {self._folder}"
                        )
                    return path
        return None

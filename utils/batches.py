"""Batches that are changed on their way to an evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

STORED = "stored"  # key in a batch: the same panoramas at the size of their files, see `datasets.panorama`


class ChangedBatches(ABC):
    """Batches with a change, which those at the size of the files (STORED), if there are any, undergo as well."""

    def __init__(self, batches: Iterable[dict]):
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict]:
        for batch in self._batches:
            stored = {STORED: self.change(batch[STORED])} if STORED in batch else {}
            yield self.change(batch) | stored

    @abstractmethod
    def change(self, batch: dict) -> dict:
        """The changed batch."""

"""Batches modified on the fly for evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

STORED = "stored"  # batch key: the same panoramas at the size of their files, see `datasets.panorama`


class ChangedBatches(ABC):
    """Applies `change` to each batch, and to its panoramas at the size of their files (STORED), if present."""

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
        """Return the modified batch."""

"""Order and seeds of the samples of a training epoch."""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, DistributedSampler

from utils.errors import UserError


class SeededIndex(NamedTuple):
    """Index of a sample, and the seed of its augmentation."""

    index: int
    seed: int


class SeededSampler(DistributedSampler):
    """A `DistributedSampler` that seeds the augmentation of each sample by (seed, epoch, index).

    Augmentations differ between epochs, and do not depend on the number of processes and workers.

    Attributes:
        first: number of samples to skip at the beginning of the epoch; `len` still counts the whole epoch.
    """

    first = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        for index in islice(super().__iter__(), self.first, None):
            yield self._seeded(index)

    def _seeded(self, index: int, repetition: int = 0) -> SeededIndex:
        """Seed a sample that was drawn `repetition` times before in this epoch."""
        entropy = [self.seed, self.epoch, index, *([repetition] if repetition else [])]
        return SeededIndex(index, int(np.random.SeedSequence(entropy).generate_state(1)[0]))


class MixingSampler(SeededSampler):
    """A `SeededSampler` of concatenated datasets that contribute to an epoch in a given ratio.

    An epoch has as many samples as all datasets together, in random order. A dataset larger than its part of the epoch
    contributes a different random subset to every epoch; a smaller one is repeated, with different augmentation each
    time.

    Args:
        dataset: the concatenated datasets, see `datasets.joint.JointDataset`.
        sizes: number of samples of each dataset.
        ratio: relative contribution of each dataset to an epoch.
        num_replicas, rank: number of processes, and the index of this one.
        seed: seed of order, subsets and augmentation.

    Raises:
        UserError: when the ratio does not have one positive number per dataset.
    """

    def __init__(
        self, dataset: Dataset, sizes: Sequence[int], ratio: Sequence[float], num_replicas: int, rank: int, seed: int
    ):
        super().__init__(dataset, num_replicas, rank, shuffle=True, seed=seed)
        if len(ratio) != len(sizes) or not all(0 < part < float("inf") for part in ratio):
            raise UserError(f"--mix_ratio {' '.join(map(str, ratio))}: pass {len(sizes)} numbers above 0")
        self._sizes = sizes
        # Begin and end of each dataset's part of an epoch before it is shuffled.
        bounds = np.rint(np.cumsum([0, *ratio]) / np.sum(ratio) * sum(sizes)).astype(int).tolist()
        self._parts = list(pairwise(bounds))

    def __iter__(self) -> Iterator[SeededIndex]:
        epoch = [draw for number in range(len(self._sizes)) for draw in self._draws(number)]
        for position in islice(DistributedSampler.__iter__(self), self.first, None):
            yield self._seeded(*epoch[position])

    def _draws(self, number: int) -> Iterator[tuple[int, int]]:
        """The samples of dataset `number` in this epoch: index, and how many times it was drawn before."""
        size, (begin, end) = self._sizes[number], self._parts[number]
        offset = sum(self._sizes[:number])
        rng = np.random.default_rng([self.seed, self.epoch, number])
        for repetition in range(-(-(end - begin) // size)):
            for index in rng.permutation(size)[: end - begin - repetition * size]:
                yield offset + int(index), repetition

"""From a dataset to the batches of a process."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from datasets.panorama import unpack
from utils.distributed import gather_objects, is_main, rank, world_size
from utils.errors import UserError, interrupts_deferred
from utils.malloc import tune_malloc


class PackedDataset(Protocol):
    """A dataset of samples that travel as they are stored: of panoramas or of perspective images."""

    def __len__(self) -> int: ...

    def packed(self, index: int) -> dict:
        """A sample as arrays that can be stacked."""

    def unpack(self, packed: dict, device: torch.device) -> dict:
        """Decode a batch of packed samples on a device."""


class Batches:
    """The batches of a process: what a DataLoader's workers read, decoded on a device.

    Args:
        loader: of packed samples.
        device: that decodes them.
        decode: makes a batch on a device of packed samples.

    Attributes:
        bad: with --skip_bad_samples, what was wrong with the samples of this process that were skipped so far.
    """

    def __init__(self, loader: DataLoader, device: torch.device, decode: Callable[[dict, torch.device], dict] = unpack):
        self._loader = loader
        self._device = device
        self._decode = decode
        self.bad: set[str] = set()

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict]:
        for batch in self.packed():
            yield self._decode(batch, self._device)

    def packed(self) -> Iterator[dict]:
        """The batches as the workers send them, not yet decoded."""
        with interrupts_deferred():  # while workers start
            batches = iter(self._loader)
        for batch in batches:
            self.bad.update(batch.pop("bad"))
            if batch:
                yield batch

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Seed order and augmentations of an epoch of training; skip batches that were seen before."""
        self._loader.sampler.set_epoch(epoch)
        self._loader.sampler.first = first_batch * self._loader.batch_size


@dataclass(frozen=True)
class LoadingSettings:
    """How samples are read.

    Attributes:
        batch_size: samples per batch.
        num_workers: processes that read; 0 reads in this one.
        skip_bad: whether samples that cannot be read are skipped instead of ending the program.
    """

    batch_size: int = 1
    num_workers: int = 0
    skip_bad: bool = False


def training_batches(dataset: PackedDataset, settings: LoadingSettings, seed: int, device: torch.device) -> Batches:
    """Shuffled batches of this process's share; a bad sample that may be skipped is replaced by the next good one."""
    sampler = SeededSampler(dataset, world_size(), rank(), shuffle=True, seed=seed)
    reader = _Reader(dataset, skip_bad=settings.skip_bad, replace_bad=True)
    return _batches(reader, sampler, settings, device)


def evaluation_batches(dataset: PackedDataset, settings: LoadingSettings, device: torch.device) -> Batches:
    """Batches of this process's share in the order of the dataset: over all processes, every sample exactly once.

    Bad samples are skipped if allowed.
    """
    indices = range(rank(), len(dataset), world_size())
    return _batches(_Reader(dataset, skip_bad=settings.skip_bad), indices, settings, device)


def report_bad_samples(*all_batches: Batches) -> None:
    """List the samples that were skipped, by all processes together."""
    gathered = gather_objects(set().union(*(batches.bad for batches in all_batches)))
    bad = sorted(set().union(*gathered))
    if bad and is_main():
        lines = "\n".join(f"  {message}" for message in bad)
        print(f"{len(bad)} bad {'sample was' if len(bad) == 1 else 'samples were'} skipped:\n{lines}", file=sys.stderr)


class SeededIndex(NamedTuple):
    """A sample to augment: its index, and the seed of its augmentation."""

    index: int
    seed: int


class SeededSampler(DistributedSampler):
    """A `DistributedSampler` that seeds the augmentation of each sample by (seed, epoch, index).

    So augmentations differ between epochs, and are the same for any number of processes and workers.

    Attributes:
        first: samples of this process to leave out at the beginning of the epoch; its length stays that of a whole one.
    """

    first = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        for index in islice(super().__iter__(), self.first, None):
            entropy = np.random.SeedSequence([self.seed, self.epoch, index])
            yield SeededIndex(index, int(entropy.generate_state(1)[0]))


class _Reader(Dataset):
    """What a worker does: read packed samples, augmented by the seeds they come with; skip bad ones if allowed."""

    def __init__(self, dataset: PackedDataset, skip_bad: bool, replace_bad: bool = False):
        self._dataset = dataset
        self.unpack = dataset.unpack
        self._skip_bad = skip_bad
        self._replace_bad = replace_bad

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: int | SeededIndex) -> dict:
        """A packed sample; what was wrong on the way to it is listed under ``bad``. {"bad": ...} alone is none."""
        if not isinstance(key, SeededIndex):
            return self._read(key)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key.seed)  # torch.manual_seed would seed those of GPUs too
            return self._read(key.index)

    def _read(self, index: int) -> dict:
        bad = []
        for attempt in range(len(self) if self._replace_bad else 1):
            try:
                return self._dataset.packed((index + attempt) % len(self)) | {"bad": bad}
            except UserError as error:
                if not self._skip_bad:
                    raise
                bad.append(str(error))
        if self._replace_bad:
            raise UserError(f"all {len(self)} samples are bad, {bad[0]} for one")
        return {"bad": bad}


def _collate(samples: list[dict]) -> dict:
    """One batch of the good samples, as arrays, and under ``bad`` all that was wrong.

    Arrays go to the main process through a pipe while the worker reads on; tensors would have to be copied into fresh
    shared memory first, which takes longer.
    """
    bad = [message for sample in samples for message in sample.pop("bad")]
    good = [sample for sample in samples if sample]
    if not good:
        return {"bad": bad}
    ids = [sample.pop("id") for sample in good]
    return {key: np.stack([sample[key] for sample in good]) for key in good[0]} | {"id": ids, "bad": bad}


def _batches(
    reader: _Reader, sampler: DistributedSampler | range, settings: LoadingSettings, device: torch.device
) -> Batches:
    loader = DataLoader(
        reader,
        batch_size=settings.batch_size,
        sampler=sampler,
        collate_fn=_collate,
        num_workers=settings.num_workers,
        persistent_workers=settings.num_workers > 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # for the workers' seeds, which nobody uses: the global one is left alone
    )
    return Batches(loader, device, reader.unpack)


def _start_worker(_: int) -> None:
    os.setpgrp()  # Ctrl-C goes to the whole group of processes, but is the main one's business
    cv2.setNumThreads(0)  # one worker, one thread
    tune_malloc()

"""The batches of a process: read and collated by workers, decoded on the device."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datasets.base import ImageDataset
from datasets.sampling import MixingSampler, SeededIndex, SeededSampler
from utils.batches import STORED
from utils.distributed import gather_objects, is_main, rank, world_size
from utils.errors import UserError, interrupts_deferred
from utils.extras import MissingPackageError
from utils.malloc import tune_malloc

_PADDED_KEYS = {"boxes", "objects"}  # arrays of different lengths
_REMEDY = "add or replace the file, or pass --skip_bad_samples"
_REMEDY_IN_TRAINING = f"{_REMEDY}; --resume continues from the last saved state"


class Batches:
    """The batches of a process. Workers read, augment, pack and collate samples; this process moves each batch to the
    device and decodes it there.

    Args:
        loader: loads packed batches.
        device: device of the batches.
        decode: decodes a packed batch on a device.

    Attributes:
        bad: with --skip_bad_samples, the errors of the samples that this process has skipped so far.
    """

    def __init__(self, loader: DataLoader, device: torch.device, decode: Callable[[dict, torch.device], dict]):
        self._loader = loader
        self._device = device
        self._decode = decode
        self.bad: set[str] = set()

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict]:
        if self._device.type == "cuda":
            return decoded_ahead(self.packed(), self._device, self._decode)
        return (self._decode(batch, self._device) for batch in self.packed())

    def packed(self) -> Iterator[dict]:
        """The batches from the workers, not decoded yet."""
        with interrupts_deferred():  # while workers are started
            batches = iter(self._loader)
        for batch in batches:
            self.bad.update(batch.pop("bad"))
            if batch:
                yield batch

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Seed order and augmentation of a training epoch, and skip its first batches."""
        self._loader.sampler.set_epoch(epoch)
        self._loader.sampler.first = first_batch * self._loader.batch_size


def decoded_ahead(
    packed: Iterable[dict], device: torch.device, decode: Callable[[dict, torch.device], dict]
) -> Iterator[dict]:
    """Decode batches on a GPU, copying and decoding each batch while the previous one is in use.

    Decoding runs in a separate stream, for which the current stream waits without blocking the host. One more batch
    than yielded has been read from `packed`. Resuming by `Batches.set_epoch` is unaffected: it counts yielded batches.
    """
    side = torch.cuda.Stream(device)
    ahead = None
    for batch in packed:
        with torch.cuda.stream(side):
            decoded = decode(batch, device)
        if ahead is not None:
            yield ahead
        # The current stream must not use the batch before it is complete, nor may its memory be reused before that use.
        torch.cuda.current_stream(device).wait_stream(side)
        for value in (*decoded.values(), *decoded.get(STORED, {}).values()):
            if isinstance(value, torch.Tensor):
                value.record_stream(torch.cuda.current_stream(device))
        ahead = decoded
    if ahead is not None:
        yield ahead


@dataclass(frozen=True)
class LoadingSettings:
    """Settings of data loading.

    Attributes:
        batch_size: samples per batch.
        num_workers: worker processes; 0 reads in this process.
        skip_bad: skip samples that cannot be read, instead of raising an error.
        drop_last: drop the last batch of a training epoch if it is smaller.
        mix_ratio: contributions of the datasets of a `datasets.joint.JointDataset` to an epoch, see
            `datasets.sampling.MixingSampler`; None: each sample once.
    """

    batch_size: int = 1
    num_workers: int = 0
    skip_bad: bool = False
    drop_last: bool = False
    mix_ratio: tuple[float, ...] | None = None


def training_batches(dataset: ImageDataset, settings: LoadingSettings, seed: int, device: torch.device) -> Batches:
    """Shuffled batches of this process. With `skip_bad`, a bad sample is replaced by the next good one.

    Iterating raises a UserError for a bad sample otherwise.
    """
    if settings.mix_ratio:
        sampler = MixingSampler(dataset, dataset.sizes, settings.mix_ratio, world_size(), rank(), seed)
    else:
        sampler = SeededSampler(dataset, world_size(), rank(), shuffle=True, seed=seed)
    reader = _Reader(dataset, settings.skip_bad, _REMEDY_IN_TRAINING, replace_bad=True)
    return _batches(
        reader, sampler, settings, device, keep_workers=settings.num_workers > 0, drop_last=settings.drop_last
    )


def evaluation_batches(
    dataset: ImageDataset, settings: LoadingSettings, device: torch.device, in_training: bool = False
) -> Batches:
    """Batches of this process, in the order of the dataset. All processes together read every sample exactly once.

    With `skip_bad`, bad samples are omitted; otherwise iterating raises a UserError for a bad sample. Workers exit
    after each pass, as training workers keep running meanwhile.

    Args:
        dataset, settings, device: see `Batches` and `LoadingSettings`.
        in_training: whether it is the validation of a training, which can be resumed after an error.
    """
    indices = range(rank(), len(dataset), world_size())
    reader = _Reader(dataset, settings.skip_bad, _REMEDY_IN_TRAINING if in_training else _REMEDY)
    return _batches(reader, indices, settings, device, keep_workers=False)


def report_bad_samples(*all_batches: Batches) -> None:
    """Print the samples that any process has skipped."""
    gathered = gather_objects(set().union(*(batches.bad for batches in all_batches)))
    bad = sorted(set().union(*gathered))
    if bad and is_main():
        lines = "\n".join(f"  {message}" for message in bad)
        print(f"{len(bad)} bad {'sample was' if len(bad) == 1 else 'samples were'} skipped:\n{lines}", file=sys.stderr)


class _Reader(Dataset):
    """The dataset of the workers: reads packed samples, seeds their augmentation, and skips bad ones if allowed.

    Args:
        dataset: the dataset to read.
        skip_bad: skip bad samples.
        remedy: what to do about a bad sample, appended to its error unless it is skipped.
        replace_bad: replace skipped samples by the next good ones.
    """

    def __init__(self, dataset: ImageDataset, skip_bad: bool, remedy: str, replace_bad: bool = False):
        self._dataset = dataset
        self.unpack = dataset.unpack
        self._skip_bad = skip_bad
        self._remedy = remedy
        self._replace_bad = replace_bad

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: int | SeededIndex) -> dict:
        """A packed sample, with the errors of skipped samples as ``bad``; only ``bad`` if it was skipped itself."""
        if not isinstance(key, SeededIndex):
            return self._read(key)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key.seed)  # torch.manual_seed would also seed the GPUs
            return self._read(key.index)

    def _read(self, index: int) -> dict:
        bad = []
        for attempt in range(len(self) if self._replace_bad else 1):
            try:
                return self._dataset.packed((index + attempt) % len(self)) | {"bad": bad}
            except MissingPackageError as error:
                # A UserError, as `exit_on_user_error` knows errors from workers by this name.
                raise UserError(str(error)) from error
            except UserError as error:
                if not self._skip_bad:
                    raise UserError(f"{error}; {self._remedy}") from error
                bad.append(str(error))
        if self._replace_bad:
            raise UserError(f"all {len(self)} samples are bad, for example: {bad[0]}")
        return {"bad": bad}


def _collate(samples: list[dict]) -> dict:
    """A batch of the good samples, as arrays, and all errors as ``bad``.

    Arrays are sent to the main process through a pipe while the worker continues; tensors would be copied to new shared
    memory first, which takes longer. Boxes and objects, whose numbers differ between samples, are padded with rows of
    zeros.
    """
    bad = [message for sample in samples for message in sample.pop("bad")]
    good = [sample for sample in samples if sample]
    if not good:
        return {"bad": bad}
    return _stacked(good) | {"bad": bad}


def _stacked(samples: list[dict]) -> dict:
    """Stack the arrays of samples, and of those at the size of the files if present; ids become a list."""
    batch: dict = {"id": [sample.pop("id") for sample in samples]}
    stored = [sample.pop(STORED) for sample in samples if STORED in sample]
    if stored and len({sample["depth"].shape for sample in stored}) + len(samples) - len(stored) > 1:
        raise UserError(f"{batch['id'][0]} and other files of its batch differ in size: pass --batch_size 1")
    if stored:
        batch[STORED] = _stacked(stored)
    for key in _PADDED_KEYS & samples[0].keys():
        length = max(len(sample[key]) for sample in samples)
        for sample in samples:
            sample[key] = np.pad(sample[key], ((0, length - len(sample[key])), (0, 0)))
    return batch | {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}


def _batches(
    reader: _Reader,
    sampler: SeededSampler | range,
    settings: LoadingSettings,
    device: torch.device,
    keep_workers: bool,
    drop_last: bool = False,
) -> Batches:
    loader = DataLoader(
        reader,
        batch_size=settings.batch_size,
        sampler=sampler,
        collate_fn=_collate,
        drop_last=drop_last,
        num_workers=settings.num_workers,
        persistent_workers=keep_workers,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # draws the workers' unused seeds, in place of the global generator
    )
    return Batches(loader, device, reader.unpack)


def _start_worker(_: int) -> None:
    os.setpgrp()  # Ctrl-C is sent to the process group, but only the main process handles it
    cv2.setNumThreads(0)  # one thread per worker
    tune_malloc()

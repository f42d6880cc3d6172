"""From the command line to the batches of a process."""

import argparse
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from datasets import build_dataset
from datasets.augment import Augmentation
from datasets.panorama import PanoramaDataset, unpack
from datasets.stored import StoredPanoramas
from utils.distributed import gather_objects, is_main, rank, world_size
from utils.errors import UserError, interrupts_deferred
from utils.malloc import tune_malloc
from utils.tasks import parse_tasks


def open_dataset(options: argparse.Namespace, split: str, height: int, width: int) -> PanoramaDataset:
    """A split of the dataset that the options name, as far as their tasks need it; training is augmented as they say.

    Raises:
        UserError: when the dataset cannot be opened; when files are missing, unless bad samples may be skipped and
            some others are there.
    """
    if options.metric_depth and options.dataset != "Struc3D":
        raise UserError(f"--metric_depth is for Struc3D: the depth of {options.dataset} is in metres anyway")
    if options.dataset == "Synthetic":
        _require_no_files(options)
        num_rooms = options.num_train if split == "train" and "num_train" in options else options.num_val
        special = {"num_rooms": num_rooms, "cache_dir": options.cache_dir}
        if options.cache_dir:
            Path(options.cache_dir).mkdir(parents=True, exist_ok=True)  # here, not in a worker: errors are told better
    else:
        training = "train_list" in options
        special = {
            "hold_out_val": training and options.val_split == "val",
            "list_file": options.train_list if training and split == "train" else options.val_list,
            "normal_frame": options.normal_frame,
        }
        if options.dataset == "Struc3D":
            special["metric_depth"] = options.metric_depth
    augment = False
    if split == "train" and "disable_color_augmentation" in options:
        augment = Augmentation(
            yaw=not options.disable_yaw_rotation_augmentation,
            flip=not options.disable_LR_flip_augmentation,
            colour=not options.disable_color_augmentation,
        )
    tasks = parse_tasks(options.task)
    dataset = build_dataset(options.dataset, options.dataset_rootdir, split, height, width, augment, tasks, **special)
    if isinstance(dataset, StoredPanoramas):
        _require_files(dataset, options)
    return dataset


def _require_no_files(options: argparse.Namespace) -> None:
    """Refuse what Synthetic could only ignore."""
    lists = [f"--{name}" for name in ("train_list", "val_list") if getattr(options, name, None)]
    if lists:
        raise UserError(f"{lists[0]} is for datasets on disk: Synthetic makes its rooms, see --num_train and --num_val")
    if options.normal_frame != "camera":
        raise UserError(f"--normal_frame {options.normal_frame}: the normals of Synthetic are in the camera frame")


def _require_files(dataset: StoredPanoramas, options: argparse.Namespace) -> None:
    """Find out now what is missing: the first step may need other files than the last validation."""
    missing = dataset.missing_files()
    if not missing:
        return
    lost = set(missing)
    if not options.skip_bad_samples:
        remedy = "add them, or leave their panoramas out by --skip_bad_samples"
    elif not any(lost.isdisjoint(files.paths()) for files in dataset.files):
        remedy = "no panorama is left by --skip_bad_samples"
    else:
        return
    lack = f"split {dataset.split} lacks {len(lost)} file{'s' * (len(lost) > 1)} that --task {options.task} reads"
    raise UserError(f"{lack}: {remedy}; {dataset.root / missing[0]} is missing")


def describe(dataset: PanoramaDataset, options: argparse.Namespace) -> str:
    """One line on what was opened: how many panoramas, of how many, and what depth and normals mean."""
    expected = dataset.expected_count if isinstance(dataset, StoredPanoramas) else None
    missing = f" of the {expected} of the complete dataset" if expected not in (None, len(dataset)) else ""
    return (
        f"{options.dataset}, split {dataset.split}: {len(dataset)} panoramas{missing}; depth in {dataset.depth_unit}; "
        f"normals in the {dataset.normal_frame} frame"
    )


class Batches:
    """The batches of a process: what a DataLoader's workers read, decoded on a device (see `datasets.panorama`).

    Attributes:
        bad: with --skip_bad_samples, what was wrong with the samples of this process that were skipped so far.
    """

    def __init__(self, loader: DataLoader, device: torch.device):
        self._loader = loader
        self._device = device
        self.bad: set[str] = set()

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict]:
        for batch in self.packed():
            yield unpack(batch, self._device)

    def packed(self) -> Iterator[dict]:
        """The batches as the workers send them, not yet decoded."""
        with interrupts_deferred():  # while workers start
            batches = iter(self._loader)
        for batch in batches:
            self.bad.update(batch.pop("bad"))
            if batch:
                yield batch

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Give an epoch of training an order and augmentations of its own; leave out batches that were seen before."""
        self._loader.sampler.set_epoch(epoch)
        self._loader.sampler.first = first_batch * self._loader.batch_size


def training_batches(dataset: PanoramaDataset, options: argparse.Namespace, device: torch.device) -> Batches:
    """Shuffled batches of this process's share; a bad sample that may be skipped is replaced by the next good one."""
    sampler = SeededSampler(dataset, world_size(), rank(), shuffle=True, seed=options.seed)
    reader = _Reader(dataset, skip_bad=options.skip_bad_samples, replace_bad=True)
    return _batches(reader, sampler, options, device)


def evaluation_batches(dataset: PanoramaDataset, options: argparse.Namespace, device: torch.device) -> Batches:
    """Batches of this process's share in the order of the dataset: over all processes, every sample exactly once.

    Bad samples that may be skipped are left out.
    """
    share = range(rank(), len(dataset), world_size())
    return _batches(_Reader(dataset, skip_bad=options.skip_bad_samples), share, options, device)


def report_bad_samples(*all_batches: Batches) -> None:
    """List the samples that were skipped, by all processes together."""
    gathered = gather_objects(set().union(*(batches.bad for batches in all_batches)))
    bad = sorted(set().union(*gathered))
    if bad and is_main():
        lines = "\n".join(f"  {message}" for message in bad)
        print(f"{len(bad)} bad {'sample was' if len(bad) == 1 else 'samples were'} skipped:\n{lines}", file=sys.stderr)


class Draw(NamedTuple):
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

    def __iter__(self) -> Iterator[Draw]:
        for index in islice(super().__iter__(), self.first, None):
            entropy = np.random.SeedSequence([self.seed, self.epoch, index])
            yield Draw(index, int(entropy.generate_state(1)[0]))


class _Reader(Dataset):
    """What a worker does: read packed samples, augmented by the seeds they come with; skip bad ones if allowed."""

    def __init__(self, dataset: PanoramaDataset, skip_bad: bool, replace_bad: bool = False):
        self._dataset = dataset
        self._skip_bad = skip_bad
        self._replace_bad = replace_bad

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: int | Draw) -> dict:
        """A packed sample; what was wrong on the way to it is listed under ``bad``. {"bad": ...} alone is none."""
        if not isinstance(key, Draw):
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
    reader: _Reader, sampler: DistributedSampler | range, options: argparse.Namespace, device: torch.device
) -> Batches:
    loader = DataLoader(
        reader,
        batch_size=options.batch_size,
        sampler=sampler,
        collate_fn=_collate,
        num_workers=options.num_workers,
        persistent_workers=options.num_workers > 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # for the workers' seeds, which nobody uses: the global one is left alone
    )
    return Batches(loader, device)


def _start_worker(_: int) -> None:
    os.setpgrp()  # Ctrl-C goes to the whole group of processes, but is the main one's business
    cv2.setNumThreads(0)  # one worker, one thread
    tune_malloc()

"""From the command line to the batches of a process."""

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler, Subset

from datasets import build_dataset
from datasets.augment import Augmentation
from datasets.panorama import PanoramaDataset
from utils.distributed import rank, world_size
from utils.errors import UserError


def open_dataset(options: argparse.Namespace, split: str, height: int, width: int) -> PanoramaDataset:
    """A split of the dataset that the options name; the training split is augmented as they say."""
    if options.dataset == "Synthetic":
        num_rooms = options.num_train if split == "train" and "num_train" in options else options.num_val
        special = {"num_rooms": num_rooms, "cache_dir": options.cache_dir}
        if options.cache_dir:
            Path(options.cache_dir).mkdir(parents=True, exist_ok=True)  # here, not in a worker: errors are told better
    elif options.dataset_rootdir is None:
        raise UserError(f"--dataset {options.dataset} needs --dataset_rootdir, the folder that holds it")
    else:
        special = {}
    augment = False
    if split == "train" and "disable_color_augmentation" in options:
        augment = Augmentation(
            yaw=not options.disable_yaw_rotation_augmentation,
            flip=not options.disable_LR_flip_augmentation,
            colour=not options.disable_color_augmentation,
        )
    return build_dataset(options.dataset, options.dataset_rootdir, split, height, width, augment, **special)


def training_loader(dataset: PanoramaDataset, options: argparse.Namespace, device: torch.device) -> DataLoader:
    """Shuffled batches of this process's share; `loader.sampler.set_epoch` gives each epoch an order of its own."""
    sampler = DistributedSampler(dataset, world_size(), rank(), shuffle=True, seed=options.seed)
    return _loader(dataset, options, device, sampler=sampler)


def evaluation_loader(dataset: PanoramaDataset, options: argparse.Namespace, device: torch.device) -> DataLoader:
    """Batches of this process's share in the order of the dataset: over all processes, every sample exactly once."""
    share = Subset(dataset, range(rank(), len(dataset), world_size()))
    return _loader(share, options, device)


def _loader(
    dataset: Dataset, options: argparse.Namespace, device: torch.device, sampler: Sampler | None = None
) -> DataLoader:
    return DataLoader(
        dataset,
        batch_size=options.batch_size,
        sampler=sampler,
        num_workers=options.num_workers,
        pin_memory=device.type == "cuda",
        persistent_workers=options.num_workers > 0,
    )

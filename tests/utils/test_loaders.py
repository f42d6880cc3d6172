"""From options to batches: what is augmented, what is shuffled, who gets what."""

import argparse

import pytest
import torch

from datasets.augment import Augmentation
from utils import loaders
from utils.errors import UserError
from utils.options import eval_parser, train_parser

CPU = torch.device("cpu")


def train_options(*more: str) -> argparse.Namespace:
    return train_parser().parse_args(["--num_train", "7", "--num_val", "5", "--num_workers", "0", *more])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], Augmentation()),
        (["--disable_color_augmentation"], Augmentation(colour=False)),
        (["--disable_LR_filp_augmentation"], Augmentation(flip=False)),
        (["--disable_yaw_rotation_augmentation"], Augmentation(yaw=False)),
    ],
)
def test_training_is_augmented_as_told(flags, expected):
    dataset = loaders.open_dataset(train_options(*flags), "train", 32, 64)
    assert dataset.augment == expected
    assert len(dataset) == 7


def test_validation_and_evaluation_are_not_augmented():
    validation = loaders.open_dataset(train_options(), "val", 32, 64)
    assert validation.augment is None
    assert (len(validation), validation.split) == (5, "val")
    options = eval_parser().parse_args(["--load_weights_dir", "x", "--num_val", "3"])
    for split in ("train", "test"):
        dataset = loaders.open_dataset(options, split, 32, 64)
        assert (len(dataset), dataset.split, dataset.augment) == (3, split, None)


def test_real_datasets_need_a_folder():
    options = train_options()
    options.dataset = "MP3D"
    with pytest.raises(UserError, match="--dataset MP3D needs --dataset_rootdir"):
        loaders.open_dataset(options, "train", 32, 64)


class Indices(torch.utils.data.Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, index):
        return index


def seen(loader) -> list[int]:
    return [int(i) for batch in loader for i in batch]


def as_process(monkeypatch, rank: int, processes: int) -> None:
    monkeypatch.setattr(loaders, "rank", lambda: rank)
    monkeypatch.setattr(loaders, "world_size", lambda: processes)


def test_every_epoch_has_an_order_of_its_own():
    loader = loaders.training_loader(Indices(), train_options("--batch_size", "2"), CPU)
    orders = []
    for epoch in (1, 2, 1):
        loader.sampler.set_epoch(epoch)
        orders.append(seen(loader))
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(7))
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]
    assert orders[0] != list(range(7))


def test_processes_train_on_different_samples(monkeypatch):
    shares = []
    for rank in (0, 1):
        as_process(monkeypatch, rank, 2)
        shares.append(seen(loaders.training_loader(Indices(), train_options(), CPU)))
    assert len(shares[0]) == len(shares[1]) == 4, "the same number of steps, one sample twice"
    assert set(shares[0]) | set(shares[1]) == set(range(7))


@pytest.mark.parametrize("processes", [1, 3, 9])
def test_every_sample_is_evaluated_once(monkeypatch, processes):
    shares = []
    for rank in range(processes):
        as_process(monkeypatch, rank, processes)
        shares.append(seen(loaders.evaluation_loader(Indices(), train_options("--batch_size", "2"), CPU)))
    assert sorted(index for share in shares for index in share) == list(range(7))
    assert all(share == sorted(share) for share in shares)

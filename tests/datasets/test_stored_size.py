"""Samples that also contain the maps at the size of their files."""

import numpy as np
import pytest
import torch

from datasets import build_dataset
from datasets.loading import LoadingSettings, evaluation_batches
from datasets.preparation.synthetic_layouts import write_dataset
from utils.batches import STORED
from utils.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("matterport")
    write_dataset("MP3D", num=2, out=root, height=32)
    return root


def batches(root, height: int, keeps_stored: bool) -> list[dict]:
    dataset = build_dataset("MP3D", root, "test", height, 2 * height)
    dataset.keeps_stored = keeps_stored
    return list(evaluation_batches(dataset, LoadingSettings(batch_size=2), torch.device("cpu")))


def test_both_sizes(root):
    (plain,), (small,), (large,) = batches(root, 16, False), batches(root, 16, True), batches(root, 32, True)
    assert STORED not in plain
    assert STORED not in large, "the files have this size"
    assert small.keys() - plain.keys() == {STORED}
    for found, expected in ((small, plain), (small[STORED], large)):
        for key, value in expected.items():
            same = torch.equal if isinstance(value, torch.Tensor) else np.array_equal
            assert same(found[key], value), key


def test_files_of_several_sizes(root, monkeypatch):
    dataset = build_dataset("MP3D", root, "test", 16, 32)
    dataset.keeps_stored = True
    read = dataset.read
    for height in (16, 8):  # the size of the samples, and another size
        monkeypatch.setattr(dataset, "read", lambda i, h=height: read(i).resized(h, 2 * h) if i else read(i))
        with pytest.raises(UserError, match="--batch_size 1"):
            next(iter(evaluation_batches(dataset, LoadingSettings(batch_size=2), torch.device("cpu"))))
        single = evaluation_batches(dataset, LoadingSettings(batch_size=1), torch.device("cpu"))
        heights = [batch.get(STORED, batch)["rgb"].shape[-2] for batch in single]
        assert np.array_equal(heights, [32, height])

"""The sample contract: shapes, types, masks, resizing."""

import numpy as np
import pytest
import torch

from datasets import build_dataset
from datasets.augment import Augmentation
from datasets.panorama import Panorama, pack, unpack


@pytest.fixture
def panorama():
    generator = np.random.default_rng(0)
    normal = generator.standard_normal((64, 128, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    panorama = Panorama(
        rgb=generator.integers(0, 256, (64, 128, 3), dtype=np.uint8),
        depth=generator.uniform(0.5, 12, (64, 128)).astype(np.float32),
        normal=normal.astype(np.float32),
        semantic=generator.integers(-1, 13, (64, 128)).astype(np.int8),
        id="x",
    )
    panorama.depth[0, :4] = [0, -1, np.nan, np.inf]
    panorama.normal[0, :2] = 0
    return panorama


def test_contract(panorama):
    sample = unpack(pack(panorama, 0))
    expected = {
        "rgb": ((3, 64, 128), torch.float32),
        "depth": ((1, 64, 128), torch.float32),
        "normal": ((3, 64, 128), torch.float32),
        "semantic": ((64, 128), torch.int64),
        "depth_mask": ((1, 64, 128), torch.bool),
        "normal_mask": ((1, 64, 128), torch.bool),
    }
    assert {key: (tuple(x.shape), x.dtype) for key, x in sample.items() if key not in ("id", "index")} == expected
    assert sample["id"] == "x"
    assert sample["rgb"].min() >= 0
    assert sample["rgb"].max() == 1


def test_masks(panorama):
    sample = unpack(pack(panorama, 0))
    assert sample["depth"][0, 0, :4].tolist() == [0, 0, 0, 0]
    assert not sample["depth_mask"][0, 0, :4].any()
    depth = torch.from_numpy(panorama.depth)
    assert torch.equal(sample["depth_mask"][0], (depth > 0) & (depth <= 10))
    assert sample["normal_mask"][0, 0, :3].tolist() == [False, False, True]


def test_resizing_does_not_interpolate_maps(panorama):
    small = panorama.resized(32, 64)
    assert small.rgb.shape == (32, 64, 3)
    assert np.isin(small.depth[np.isfinite(small.depth)], panorama.depth).all()
    assert np.isin(small.semantic, panorama.semantic).all()
    lengths = np.linalg.norm(small.normal, axis=-1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))


def test_colors_are_averaged_by_area(panorama):
    small = panorama.resized(32, 64)
    blocks = panorama.rgb.reshape(32, 2, 64, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(small.rgb - blocks).max() <= 0.51


def test_resizing_to_the_same_size(panorama):
    assert panorama.resized(64, 128) is panorama


def test_build_dataset():
    dataset = build_dataset("Synthetic", None, "train", 32, 64, augment=Augmentation(), num_rooms=3)
    assert len(dataset) == 3
    assert dataset.augment == Augmentation()
    sample = dataset[2]
    assert sample["index"] == 2
    assert sample["rgb"].shape == (3, 32, 64)
    assert build_dataset("Synthetic", None, "test", 32, 64, num_rooms=3).augment is None


def test_codes_are_decoded(panorama):
    """Compared with n = v / 128 - 1 with x and z swapped, and depth in units of 5 mm."""
    generator = np.random.default_rng(1)
    codes = generator.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    codes[3, :2] = [[0, 0, 0], [128, 128, 128]]
    vectors = codes[..., ::-1] / 128 - 1
    lengths = np.linalg.norm(vectors, axis=-1)
    known = (lengths > 0.5) & (lengths < 1.5)
    panorama.normal = codes
    panorama.normal_decoding = np.array([[0, 0, 1, -128], [0, 1, 0, -128], [1, 0, 0, -128]]) / 128
    panorama.depth = generator.integers(0, 65536, (64, 128)).astype(np.uint16)
    panorama.depth_scale = 0.005
    sample = unpack(pack(panorama, 0))
    assert not known[3, :2].any()
    assert np.array_equal(sample["normal_mask"][0], known)
    decoded = sample["normal"].movedim(0, -1).numpy()
    assert np.abs(decoded[known] - vectors[known] / lengths[known][:, None]).max() < 1e-6
    assert not decoded[~known].any()
    assert np.allclose(sample["depth"][0], panorama.depth * 0.005, rtol=1e-6)


def test_batches_decode_like_samples(panorama):
    other = panorama.resized(64, 128)
    turned = Panorama(other.rgb, other.depth, other.normal, other.semantic, "y", 0.5, -np.eye(3, 4))
    packed = [pack(panorama, 0), pack(turned, 1)]
    batch = unpack(torch.utils.data.default_collate(packed))
    for i in range(2):
        for key, value in unpack(packed[i]).items():
            assert (batch[key][i] == value).all() if isinstance(value, torch.Tensor) else batch[key][i] == value
            assert not isinstance(value, torch.Tensor) or value.is_contiguous()

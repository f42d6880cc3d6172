"""Perspective images: sample contract, transforms, augmentation, loading."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets.loading import LoadingSettings, evaluation_batches, training_batches
from datasets.perspective import PerspectiveDataset, PerspectiveImage, fit_colors, pack, unpack
from datasets.perspective_augment import PerspectiveAugmentation, distort_colors, zoomed
from datasets.synthetic_nyu import SyntheticNYU
from tests.achievement_golden import files_of, load
from utils.padding import padded_size

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CPU = torch.device("cpu")


def golden_cases():
    for path in files_of("transform"):
        yield from ((path, number) for number in range(len(load(path)["cases"])))


def random_image(rows=12, columns=20, seed=0):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(rows, columns, 3)).astype(np.float32)
    return PerspectiveImage(
        rgb=rng.integers(0, 256, (rows, columns, 3), np.uint8),
        depth=rng.uniform(0.5, 9, (rows, columns)).astype(np.float32),
        normal=normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        semantic=rng.integers(0, 5, (rows, columns)).astype(np.int8),
        id="random",
    )


class Images(PerspectiveDataset):
    """Random images."""

    def __init__(self, num, *arguments, **more):
        super().__init__(*arguments, **more)
        self.num = num

    def __len__(self):
        return self.num

    def read(self, index):
        return random_image(seed=index)

    def sample_names(self):
        return list(map(str, range(self.num)))


@pytest.mark.parametrize(("path", "number"), list(golden_cases()), ids=lambda value: getattr(value, "stem", value))
def test_transform_equals_the_released_code(path, number):
    with np.load(path) as file:
        h, w, height, width = (int(size) for size in file["cases"][number])
        prefix = f"case{number}_"
        prefix += "" if prefix + "label" in file else "INTENDED_"
        names = ("image_uint8", "label", "depth_mm", "normal", "normalised_strided", "boxes")
        rgb, label, depth, normal, colors, boxes = (file[prefix + name] for name in names)
        fractions = file[f"case{number}_boxes_in"]
        rng = np.random.default_rng(10 * int(file["seed"]) + number)
    image = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
    labels = rng.integers(0, 21, (h, w)).astype(np.int8)
    millimeters = rng.integers(0, 9999, (h, w))
    vectors = rng.standard_normal((h, w, 3))
    vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    meters = millimeters.astype(np.float32) / np.float32(1000)
    stored_boxes = (fractions * [w, h, w, h, 1]).astype(np.float32)
    fitted = PerspectiveImage(image, meters, vectors, labels, "", stored_boxes).fitted(height, width)
    assert np.allclose(pack(fitted, 0)["boxes"], boxes, atol=1e-6)
    assert np.array_equal(fitted.rgb.transpose(2, 0, 1), rgb)
    assert np.array_equal(fit_colors(image, height, width), fitted.rgb)
    assert np.array_equal(fitted.semantic.astype(np.uint8), label)  # -1 is 255
    assert np.array_equal(np.rint(fitted.depth * 1000), depth[0])
    assert np.allclose(fitted.normal.transpose(2, 0, 1)[:, ::2, ::2], normal, atol=1e-6)
    normalized = (unpack(pack(fitted, 0))["rgb"].movedim(0, -1).numpy() - MEAN) / STD  # in our code done by the network
    assert np.allclose(normalized.transpose(2, 0, 1)[:, ::4, ::4], colors, atol=1e-5)


def test_sample():
    image = random_image()
    image.depth[0, :5] = 0, 0.0005, 0.0011, 9.999, 10
    image.normal[1, 0] = 0
    image.normal[1, 1] *= 0.6  # an average of similar directions
    image.normal[1, 2] *= 0.4  # an average of contrary directions
    sample = unpack(pack(image, 3))
    assert np.allclose(sample["rgb"].movedim(0, -1), image.rgb / 255, atol=1e-6)
    assert sample["depth_mask"][0, 0, :5].tolist() == [False, False, True, True, False]
    assert sample["normal_mask"][0, 1, :3].tolist() == [False, True, False]
    assert np.allclose(sample["normal"].norm(dim=0)[sample["normal_mask"][0]], 1, atol=1e-6)
    assert not sample["normal"][:, 1, [0, 2]].any()
    assert sample["semantic"].dtype == torch.int64
    assert (sample["id"], sample["index"]) == ("random", 3)


def test_batches_decode_like_samples():
    dataset = Images(3, 24, 32)
    (batch,) = evaluation_batches(dataset, LoadingSettings(batch_size=3), CPU)
    for index in range(3):
        for key, value in dataset[index].items():
            assert torch.equal(batch[key][index], value) if isinstance(value, torch.Tensor) else True
    assert batch["id"] == ["random"] * 3


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [((425, 560), (480, 640), (425, 567)), ((300, 640), (480, 640), (480, 640)), ((480, 640), (640, 640), (640, 640))],
)
def test_padded_size(size, target, expected):
    assert padded_size(size, *target) == expected


def test_padding_has_no_ground_truth():
    image = random_image(4, 4)
    padded = image.padded(8, 8, 1, 2)
    assert np.array_equal(padded.depth[1:5, 2:6], image.depth)
    outside = np.ones((8, 8), bool)
    outside[1:5, 2:6] = False
    assert not padded.depth[outside].any()
    assert not padded.normal[outside].any()
    assert (padded.semantic[outside] == -1).all()
    assert np.abs(padded.rgb[outside] - 255 * MEAN).max() <= 0.5


def test_flip_mirrors_normals():
    image = random_image()
    flipped = image.flipped()
    assert np.array_equal(flipped.normal[:, ::-1], image.normal * [-1, 1, 1])
    for name in ("rgb", "depth", "semantic"):
        assert np.array_equal(getattr(flipped, name)[:, ::-1], getattr(image, name))


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_zoom_scales_depth(scale):
    """A crop of half the size shows objects twice as large, so at half the distance."""
    image = random_image(20, 40)
    found = zoomed(image, scale)
    assert found.size == (20 * scale, 40 * scale)
    known = found.depth[found.depth > 0]
    assert len(known) == min(image.depth.size, found.depth.size)
    assert np.isin(known, image.depth * np.float32(scale)).all()


def test_zoom_reaches_all_positions():
    image = random_image(8, 8)
    corners = {zoomed(image, 0.5).rgb[0, 0].tobytes() for _ in range(200)}
    assert len(corners) == 5 * 5


def test_augmentation_zooms_half_of_the_images():
    """A plane at 2 m: its depth is proportional to the scale, and it fills 1 / scale^2 of a larger canvas."""
    image = random_image(48, 64)
    image.depth[:] = 2
    augment = PerspectiveAugmentation(color=False)
    scales = []
    for _ in range(200):
        found = augment(image, 48, 64)
        assert found.size == (48, 64)
        known = found.depth > 0
        scales.append(float(found.depth.max()) / 2)
        assert np.allclose(found.depth[known], 2 * scales[-1])
        assert known.mean() == pytest.approx(1 / max(scales[-1], 1) ** 2, abs=0.06)
    assert 70 < scales.count(1) < 130
    assert min(scales) < 0.75
    assert max(scales) > 1.25
    assert min(scales) >= 2 / 3
    assert max(scales) <= 4 / 3 + 1e-6


def test_augmentation_mirrors_half_of_the_images():
    image = random_image(48, 64)
    augment = PerspectiveAugmentation(min_scale=1, max_scale=1, color=False)
    found = [augment(image, 48, 64) for _ in range(60)]
    unchanged = sum(np.array_equal(augmented.normal, image.normal) for augmented in found)
    mirrored = sum(np.array_equal(augmented.normal, image.flipped().normal) for augmented in found)
    assert unchanged + mirrored == 60
    assert 15 < mirrored < 45
    never = PerspectiveAugmentation(min_scale=1, max_scale=1, flip=False, color=False)
    assert all(np.array_equal(never(image, 48, 64).depth, image.depth) for _ in range(20))


def test_bounds_of_color_distortion():
    """Gray remains gray; brightness and contrast change it within bounds."""
    gray = np.full((6, 6, 3), 128, np.uint8)
    values = []
    for _ in range(300):
        found = distort_colors(gray)
        assert found.dtype == np.float32
        assert np.ptp(found) < 1e-5
        values.append(found[0, 0, 0])
    low, high = (128 / 255 - 32 / 255) * 0.5, (128 / 255 + 32 / 255) * 1.5
    assert low <= min(values) < 0.35
    assert 0.7 < max(values) <= high
    assert sum(abs(value - 128 / 255) < 1e-6 for value in values) > 30  # a quarter is unchanged


def fix_draws(monkeypatch, coins, numbers):
    """Replace random coins and numbers by the given ones, in order."""
    coins, numbers = iter(coins), iter(numbers)
    monkeypatch.setattr("datasets.perspective_augment._coin", lambda: next(coins))
    monkeypatch.setattr("datasets.perspective_augment._uniform", lambda low, high: next(numbers))


@pytest.mark.parametrize("contrast_first", [False, True])
def test_color_formulas(monkeypatch, contrast_first):
    """Brightness 0.1, contrast 1.4, saturation 1.3 and a third of a turn of hue, pixel by pixel."""
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    fix_draws(monkeypatch, [True, contrast_first, True, True, True, False, False], [0.1, 1.4, 1.3, 120.0])
    found = distort_colors(image)
    for color, pixel in zip(found.reshape(-1, 3), image.reshape(-1, 3) / 255, strict=True):
        red, green, blue = np.clip(pixel + 0.1, 0, 1) * (1.4 if contrast_first else 1)
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        turned = np.array(colorsys.hsv_to_rgb((hue + 1 / 3) % 1, saturation, value))
        saturated = value + 1.3 * (turned - value)  # not clipped at 0
        expected = saturated * (1 if contrast_first else 1.4)
        assert np.allclose(color, expected, atol=2e-3)
    assert found.min() < 0
    assert found.max() > 1


def test_permutation_and_sharpness(monkeypatch):
    image = np.zeros((5, 5, 3), np.uint8)
    image[2, 2] = 60, 90, 120
    fix_draws(monkeypatch, [False, False, False, False, False, True, False], [])
    permuted = distort_colors(image)[2, 2] * 255
    assert sorted(permuted.round()) == [60, 90, 120]
    fix_draws(monkeypatch, [False, False, False, False, False, False, True], [])
    sharp = distort_colors(image)
    blurred = np.array([60, 90, 120]) * 5 / 13 / 255  # kernel of ones with 5 in the center
    assert np.allclose(sharp[2, 2], 2 * np.array([60, 90, 120]) / 255 - blurred, atol=1e-5)


def test_distorted_colors_are_not_clipped():
    image = random_image()
    image = replace(image, rgb=np.full(image.rgb.shape, 1.25, np.float32))
    assert np.allclose(unpack(pack(image, 0))["rgb"], 1.25)


def test_training_depends_only_on_seed_epoch_and_index():
    dataset = Images(6, 24, 32, augment=PerspectiveAugmentation())

    def epoch(number, seed=5, first=0):
        batches = training_batches(dataset, LoadingSettings(2), seed, CPU)
        batches.set_epoch(number, first)
        return list(batches)

    once, again, resumed, other = epoch(1), epoch(1), epoch(1, first=2), epoch(2)
    assert len(once) == 3
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a["rgb"], b["rgb"])
        assert torch.equal(a["depth"], b["depth"])
    assert torch.equal(resumed[0]["rgb"], once[2]["rgb"])
    assert not torch.equal(other[0]["rgb"], once[0]["rgb"])
    assert not torch.equal(epoch(1, seed=6)[0]["rgb"], once[0]["rgb"])


@pytest.mark.slow
def test_workers_do_not_change_samples():
    dataset = Images(4, 24, 32, augment=PerspectiveAugmentation())
    batches = [training_batches(dataset, LoadingSettings(2, workers), 5, CPU) for workers in (0, 2)]
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a["rgb"], b["rgb"])
        assert torch.equal(a["normal"], b["normal"])


def test_synthetic_images():
    dataset = SyntheticNYU("train", 3, 48, 64)
    sample = dataset[2]
    assert sample["rgb"].shape == (3, 48, 64)
    assert sample["id"] == "synthetic/train/000002"
    assert torch.equal(sample["depth_mask"], sample["normal_mask"])
    assert torch.equal(sample["depth"], SyntheticNYU("train", 9, 48, 64)[2]["depth"])
    assert not torch.equal(sample["depth"], SyntheticNYU("test", 3, 48, 64)[2]["depth"])
    coarser = SyntheticNYU("train", 3, 48, 64, num_classes=13)
    assert (len(dataset.classes), len(coarser.classes)) == (40, 13)
    wall = sample["semantic"] == dataset.classes.label("wall")
    assert wall.any()
    assert (coarser[2]["semantic"][wall] == coarser.classes.label("wall")).all()
    with pytest.raises(IndexError):
        dataset.read(3)


def test_drop_last_applies_only_to_training():
    for drop_last, sizes in ((False, [2, 2, 1]), (True, [2, 2])):
        batches = training_batches(Images(5, 12, 20), LoadingSettings(2, drop_last=drop_last), 0, CPU)
        assert [len(batch["id"]) for batch in batches] == sizes
        assert len(batches) == len(sizes)
    evaluated = evaluation_batches(Images(5, 12, 20), LoadingSettings(2, drop_last=True), CPU)
    assert [len(batch["id"]) for batch in evaluated] == [2, 2, 1], "all images are evaluated"

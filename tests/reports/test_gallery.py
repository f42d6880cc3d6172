"""Choice and drawing of the images in reports; the choice does not depend on batches or processes."""

import cv2
import numpy as np
import pytest
import torch

from datasets.classes import STANFORD2D3D
from reports.gallery import TILES, Gallery, badness, choose, draw_tiles, encode_smallest, make_thumbnail
from tasks import TASKS
from utils.tasks import METERS
from visual.displays import DisplaySettings

SETTINGS = DisplaySettings(STANFORD2D3D.names, STANFORD2D3D.colors, METERS, "camera")


def random_badness(count: int) -> dict[int, tuple]:
    scores = torch.rand(count).round(decimals=1)  # with ties
    return {index: (score, index) for index, score in enumerate(scores.tolist())}


def test_worst_and_best_are_chosen():
    scores = random_badness(100)
    chosen = choose(scores, 5)
    order = sorted(scores, key=scores.get)
    assert {*order[:5], *order[-5:]} <= chosen
    assert 10 < len(chosen) <= 15
    assert choose(scores, 100) == set(scores)


def test_choice_does_not_depend_on_processes():
    """Three processes choose image by image; the final choice is among their images."""
    scores = random_badness(200)
    gathered = {}
    for rank in range(3):
        kept = {}
        for index in range(rank, 200, 3):
            kept[index] = scores[index]
            kept = {i: kept[i] for i in choose(kept, 7)}
            assert len(kept) <= 21, "memory does not grow"
        gathered |= kept
    assert choose(gathered, 7) == choose(scores, 7)


def test_sample_covers_the_dataset():
    equal = dict.fromkeys(range(1000), (0.0, 0))
    tenths = np.bincount(np.array(sorted(choose(equal, 20))) // 100, minlength=10)
    assert (tenths >= 1).all()


def test_badness():
    nan = float("nan")
    assert badness("depth", 0.5, 0) > badness("depth", 0.4, 0)
    assert badness("segmentation", 0.4, 0) > badness("segmentation", 0.5, 0)
    for task in TASKS:
        assert badness(task, nan, 0) > badness(task, 1e9, 0)
        assert badness(task, nan, 0) > badness(task, -1e9, 0)


@pytest.fixture
def batch():
    count, height, width = 4, 8, 16
    return {
        "rgb": torch.rand(count, 3, height, width),
        "depth": torch.full((count, 1, height, width), 2.0),
        "depth_mask": torch.ones(count, 1, height, width, dtype=torch.bool),
    }


def test_order_of_images(batch):
    gallery = Gallery(("depth",))
    rows = [{"index": i, "id": f"image {i}", "depth/rms": rms} for i, rms in enumerate((0.5, float("nan"), 0.7))]
    rows.append({"index": 3, "id": "without ground truth"})
    gallery.add(batch, {"depth": torch.full((4, 1, 8, 16), 3.0)}, rows)
    shown = gallery.join()["depth"]
    assert [image.id for image in shown] == ["image 1", "image 2", "image 0"]
    for image in shown:
        assert tile_shapes(image, "depth") == dict.fromkeys(TILES, (8, 16, 3))


def test_predictions_without_ground_truth(batch):
    """A sample of them is shown, in the order of the dataset."""
    gallery = Gallery(("depth",), group_size=2)
    gallery.add(batch, {"depth": torch.full((4, 1, 8, 16), 3.0)}, [{"index": i, "id": str(i)} for i in range(4)])
    shown = gallery.join()["depth"]
    assert [image.index for image in shown] == sorted(image.index for image in shown)
    assert len(shown) == 2
    for image in shown:
        assert (image.score, image.thumbnail.target) == (None, None)
        assert tile_shapes(image, "depth") == dict.fromkeys(("RGB", "prediction"), (8, 16, 3))


def tile_shapes(image, task: str) -> dict[str, tuple[int, ...]]:
    tiles = draw_tiles(image.thumbnail, task, SETTINGS, TASKS[task].display.scale(image.thumbnail.maps(), SETTINGS))
    return {name: cv2.imdecode(np.frombuffer(tile, np.uint8), cv2.IMREAD_COLOR).shape for name, tile in tiles.items()}


def test_images_share_a_scale(batch):
    """Depths of 1 and 3 m have the colors of the two ends, although each map is constant."""
    gallery = Gallery(("depth",))
    depth = torch.tensor([1.0, 1.0, 3.0, 3.0])[:, None, None, None].expand(4, 1, 8, 16)
    gallery.add(batch, {"depth": depth}, [{"index": i, "id": str(i), "depth/rms": 1.0} for i in range(4)])
    shown = gallery.join()["depth"]
    maps = tuple(values for image in shown for values in image.thumbnail.maps())
    scale = TASKS["depth"].display.scale(maps, SETTINGS)
    assert scale == (1, 3, "m")
    for image in shown:
        tile = np.frombuffer(draw_tiles(image.thumbnail, "depth", SETTINGS, scale)["prediction"], np.uint8)
        red, _, blue = cv2.imdecode(tile, cv2.IMREAD_COLOR_RGB)[4, 8].astype(int)
        assert (red > blue) == (image.index >= 2)


def test_large_panoramas_are_reduced():
    batch = {"rgb": torch.rand(1, 3, 512, 1024), "semantic": torch.randint(-1, 13, (1, 512, 1024))}
    gallery = Gallery(("segmentation",))
    logits = torch.rand(1, 13, 512, 1024)
    gallery.add(batch, {"segmentation": logits}, [{"index": 0, "id": "x", "segmentation/mIoU_occurring": 0.1}])
    (shown,) = gallery.join()["segmentation"]
    assert tile_shapes(shown, "segmentation") == dict.fromkeys(TILES, (192, 384, 3))


def test_reduced_maps_have_the_nearest_pixels():
    """Of every three by three pixels, the middle one."""
    labels = torch.arange(384 * 1152).view(384, 1152) % 13
    batch = {"rgb": torch.rand(1, 3, 384, 1152), "semantic": labels[None]}
    logits = torch.nn.functional.one_hot(labels, 13).movedim(-1, 0)
    thumbnail = make_thumbnail("segmentation", batch, logits.float(), 0)
    assert np.array_equal(thumbnail.prediction, labels[1::3, 1::3])
    assert np.array_equal(thumbnail.target, labels[1::3, 1::3])


def test_label_maps_are_pngs_and_photographs_jpegs():
    labels = np.zeros((64, 128, 3), np.uint8)
    labels[:, 40:] = (200, 30, 30)
    file = encode_smallest(labels)
    assert (cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB) == labels).all()
    noise = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    assert encode_smallest(noise).startswith(b"\xff\xd8")

"""Augmentation moves vectors with pixels: shown with rooms, whose geometry is known."""

import numpy as np
import pytest
import torch

from datasets.augment import Augmentation, flip_left_right, roll_yaw
from datasets.panorama import to_sample
from datasets.synthetic import SyntheticRooms
from utils.sphere import depth_to_points

HEIGHT, WIDTH = 64, 128


@pytest.fixture(scope="module")
def sample():
    sample = to_sample(SyntheticRooms("train", 1, HEIGHT, WIDTH).read(0))
    sample["semantic"][3:5, 7:9] = -1
    sample["normal"][:, 3:5, 7:9] = 0
    sample["normal_mask"][:, 3:5, 7:9] = False
    return sample


def median_angle_to_depth(sample) -> float:
    """Median angle in degrees between the normals of walls and furniture and those that the depth alone implies.

    Floor and ceiling are left out: their normals look the same however the room is turned.
    """
    points = depth_to_points(sample["depth"][0].double().numpy())
    along_row = np.roll(points, -1, axis=1)[1:-1] - np.roll(points, 1, axis=1)[1:-1]
    along_column = points[2:] - points[:-2]
    implied = np.cross(along_column, along_row)
    implied /= np.linalg.norm(implied, axis=-1, keepdims=True)
    # Towards the camera, which is at the origin.
    implied *= -np.sign((implied * points[1:-1]).sum(-1, keepdims=True))
    normal = sample["normal"].movedim(0, -1).double().numpy()[1:-1]
    angle = np.degrees(np.arccos(np.clip((implied * normal).sum(-1), -1, 1)))
    upright = np.abs(normal[..., 1]) < 0.5
    return float(np.median(angle[upright]))


def test_the_measure_tells_right_from_wrong(sample):
    assert median_angle_to_depth(sample) < 1
    assert median_angle_to_depth(sample | {"normal": sample["normal"].roll(40, -1)}) > 10
    assert median_angle_to_depth(sample | {"normal": -sample["normal"]}) > 170


@pytest.mark.parametrize("columns", [1, 17, 64, 127])
def test_rolled_normals_fit_rolled_depth(sample, columns):
    assert median_angle_to_depth(roll_yaw(sample, columns)) < 1


def test_flipped_normals_fit_flipped_depth(sample):
    assert median_angle_to_depth(flip_left_right(sample)) < 1


def test_pixels_move_together(sample):
    """Everything at column c is found at column c + 5 after a roll by 5, at column W - 1 - c after a flip."""
    for key in ("rgb", "depth", "semantic", "depth_mask", "normal_mask"):
        assert torch.equal(roll_yaw(sample, 5)[key][..., 12], sample[key][..., 7])
        assert torch.equal(flip_left_right(sample)[key][..., WIDTH - 1 - 7], sample[key][..., 7])


def test_inverses(sample):
    there_and_back = flip_left_right(flip_left_right(roll_yaw(roll_yaw(sample, 33), WIDTH - 33)))
    for key in ("rgb", "depth", "semantic", "depth_mask", "normal_mask"):
        assert torch.equal(there_and_back[key], sample[key])
    assert torch.allclose(there_and_back["normal"], sample["normal"], atol=1e-6)


def test_missing_normals_stay_missing(sample):
    turned = flip_left_right(roll_yaw(sample, 9))
    assert not turned["normal"].masked_select(~turned["normal_mask"]).any()
    assert torch.allclose(turned["normal"].norm(dim=0)[turned["normal_mask"][0]], torch.ones(()), atol=1e-5)


def test_colour_jitter_touches_rgb_alone(sample):
    augment = Augmentation(yaw=False, flip=False, colour=True)
    augmented = [augment(sample) for _ in range(20)]
    changed = [not torch.equal(x["rgb"], sample["rgb"]) for x in augmented]
    assert 2 < sum(changed) < 18, "half of them, more or less"
    for x in augmented:
        assert x["rgb"].min() >= 0
        assert x["rgb"].max() <= 1
        assert all(torch.equal(x[key], sample[key]) for key in ("depth", "normal", "semantic"))


def test_all_off_changes_nothing(sample):
    augmented = Augmentation(yaw=False, flip=False, colour=False)(sample)
    assert all(augmented[key] is value for key, value in sample.items())


def test_seeded(sample):
    def augmented(seed):
        torch.manual_seed(seed)
        return Augmentation()(sample)["depth"]

    assert torch.equal(augmented(1), augmented(1))
    assert not torch.equal(augmented(1), augmented(2))


def test_original_is_left_alone(sample):
    before = {key: value.clone() for key, value in sample.items() if isinstance(value, torch.Tensor)}
    torch.manual_seed(3)
    for _ in range(5):
        Augmentation()(sample)
    assert all(torch.equal(sample[key], value) for key, value in before.items())

"""Augmentation transforms normals along with pixels, verified on rooms of known geometry."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from datasets.augment import Augmentation, flip_left_right, roll_yaw
from datasets.panorama import Panorama, pack, unpack
from datasets.synthetic import SyntheticRooms
from utils.sphere import depth_to_points

HEIGHT, WIDTH = 64, 128
MAPS = ("rgb", "depth", "semantic")


@pytest.fixture(scope="module")
def panorama():
    panorama = SyntheticRooms("train", 1, HEIGHT, WIDTH).read(0)
    panorama.semantic[3:5, 7:9] = -1
    panorama.normal[3:5, 7:9] = 0
    panorama.depth[10, 20:30] = 0
    return panorama


@pytest.fixture(scope="module")
def stored(panorama):
    """The same panorama with 8-bit normals and 16-bit depth."""
    codes = np.rint((panorama.normal + 1) * 127.5).astype(np.uint8)
    return replace(
        panorama,
        normal=codes,
        normal_decoding=np.hstack([np.eye(3) * 2 / 255, -np.ones((3, 1))]),
        depth=np.rint(panorama.depth * 4000).astype(np.uint16),
        depth_scale=1 / 4000,
    )


def decoded(panorama: Panorama) -> dict:
    return unpack(pack(panorama, 0))


def median_angle_to_depth(panorama) -> float:
    """Median angle in degrees between the normals of walls and furniture and the normals implied by depth.

    Floor and ceiling are excluded: their normals do not change with yaw.
    """
    sample = decoded(panorama)
    points = depth_to_points(sample["depth"][0].double().numpy())
    along_row = np.roll(points, -1, axis=1)[1:-1] - np.roll(points, 1, axis=1)[1:-1]
    along_column = points[2:] - points[:-2]
    implied = np.cross(along_column, along_row)
    implied /= np.linalg.norm(implied, axis=-1, keepdims=True) + 1e-12
    # Toward the camera, which is at the origin.
    implied *= -np.sign((implied * points[1:-1]).sum(-1, keepdims=True))
    normal = sample["normal"].movedim(0, -1).double().numpy()[1:-1]
    angle = np.degrees(np.arccos(np.clip((implied * normal).sum(-1), -1, 1)))
    upright = np.abs(normal[..., 1]) < 0.5
    return float(np.median(angle[upright]))


def test_measure_detects_wrong_normals(panorama):
    assert median_angle_to_depth(panorama) < 1
    assert median_angle_to_depth(replace(panorama, normal=np.roll(panorama.normal, 40, axis=1))) > 10
    assert median_angle_to_depth(replace(panorama, normal=-panorama.normal)) > 170


@pytest.mark.parametrize("columns", [1, 17, 64, 127])
def test_rolled_normals_fit_rolled_depth(panorama, stored, columns):
    assert median_angle_to_depth(roll_yaw(panorama, columns)) < 1
    assert median_angle_to_depth(roll_yaw(stored, columns)) < 1


def test_flipped_normals_fit_flipped_depth(panorama, stored):
    assert median_angle_to_depth(flip_left_right(panorama)) < 1
    assert median_angle_to_depth(flip_left_right(stored)) < 1


def test_rolls_and_flips_combine(stored):
    for columns in (5, 90):
        assert median_angle_to_depth(roll_yaw(flip_left_right(roll_yaw(stored, 33)), columns)) < 1


def test_world_normals_do_not_rotate(panorama):
    """They only move with their pixels when rolled; they are mirrored with the building."""
    world = replace(panorama, normal_frame="world")
    before = decoded(world)["normal"]
    assert torch.equal(decoded(roll_yaw(world, 5))["normal"], before.roll(5, -1))
    mirrored = before.flip(-1) * torch.tensor([-1.0, 1, 1])[:, None, None]
    assert torch.equal(decoded(flip_left_right(world))["normal"], mirrored)


def test_pixels_move_together(panorama):
    """Column c moves to c + 5 with a roll by 5, and to W - 1 - c with a flip."""
    rolled, flipped, before = (decoded(x) for x in (roll_yaw(panorama, 5), flip_left_right(panorama), panorama))
    for key in (*MAPS, "depth_mask", "normal_mask"):
        assert torch.equal(rolled[key][..., 12], before[key][..., 7])
        assert torch.equal(flipped[key][..., WIDTH - 1 - 7], before[key][..., 7])


def test_inverses(stored):
    restored = flip_left_right(flip_left_right(roll_yaw(roll_yaw(stored, 33), WIDTH - 33)))
    before, after = decoded(stored), decoded(restored)
    for key in (*MAPS, "depth_mask", "normal_mask"):
        assert torch.equal(after[key], before[key])
    assert torch.allclose(after["normal"], before["normal"], atol=1e-6)


def test_missing_normals_stay_missing(panorama):
    sample = decoded(flip_left_right(roll_yaw(panorama, 9)))
    assert (~sample["normal_mask"]).sum() == 4
    assert not sample["normal"].masked_select(~sample["normal_mask"]).any()
    assert torch.allclose(sample["normal"].norm(dim=0)[sample["normal_mask"][0]], torch.ones(()), atol=1e-5)


def test_color_jitter_changes_only_rgb(panorama):
    augment = Augmentation(yaw=False, flip=False, color=True)
    augmented = [augment(panorama) for _ in range(20)]
    changed = [not np.array_equal(x.rgb, panorama.rgb) for x in augmented]
    assert 2 < sum(changed) < 18, "about half of them"
    for x in augmented:
        assert (x.rgb.shape, x.rgb.dtype) == (panorama.rgb.shape, np.uint8)
        assert all(getattr(x, key) is getattr(panorama, key) for key in ("depth", "normal", "semantic"))


def test_all_disabled(panorama):
    assert Augmentation(yaw=False, flip=False, color=False)(panorama) is panorama


def test_seeded(panorama):
    def augmented(seed):
        torch.manual_seed(seed)
        return Augmentation()(panorama).depth

    assert np.array_equal(augmented(1), augmented(1))
    assert not np.array_equal(augmented(1), augmented(2))


def test_input_is_not_modified(panorama):
    before = {field.name: np.copy(getattr(panorama, field.name)) for field in fields(panorama)}
    torch.manual_seed(3)
    for _ in range(5):
        Augmentation()(panorama)
    assert all(np.array_equal(getattr(panorama, name), value) for name, value in before.items())

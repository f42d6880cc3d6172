"""Turned panoramas, compared with rolled panoramas and with a room seen by a turned camera."""

import numpy as np
import pytest
import torch

from datasets.turned import TurnedBatches, turn_rotation, unzoomed
from utils.sphere import erp_rays

HEIGHT, WIDTH = 64, 128
HALF_SIZE = torch.tensor([2.0, 1.5, 3.0]).double()  # of a room around the camera


def room(rotation: np.ndarray) -> dict:
    """A batch of one panorama in a room, given the rotation from the camera's frame to the room's frame."""
    rotation = torch.tensor(rotation)
    rays = torch.einsum("ij,hwj->ihw", rotation, torch.tensor(erp_rays(HEIGHT, WIDTH)))
    depth, face = (HALF_SIZE[:, None, None] / rays.abs()).min(0)
    normal = -rays.sign() * torch.nn.functional.one_hot(face, 3).movedim(-1, 0)
    normal = torch.einsum("ji,jhw->ihw", rotation, normal)
    known = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    return {
        "rgb": (0.5 + 0.5 * rays)[None].float(),
        "depth": depth[None, None].float(),
        "depth_mask": known,
        "normal": normal[None].float(),
        "normal_mask": known,
        "semantic": face[None],
        "id": ["room"],
    }


def turned(batch: dict, turn: tuple, normal_frame: str = "camera") -> dict:
    (result,) = TurnedBatches([batch], turn, normal_frame)
    return result


@pytest.mark.parametrize("turn", [(0, 30, 0), (0, 0, -20), (40, 10, 15), (0, 90, 0)])
def test_turned_camera(turn):
    upright, expected = room(np.eye(3)), room(turn_rotation(turn))
    found = turned(upright, turn)
    assert found["id"] == ["room"]
    inside = (found["semantic"] == expected["semantic"])[:, None]
    assert inside.double().mean() > 0.97, "except for pixels at edges"
    assert (found["rgb"] - expected["rgb"]).abs().max() < 0.02
    error = ((found["depth"] - expected["depth"]).abs() / expected["depth"])[inside]
    assert error.mean() < 0.02
    assert (found["normal"] - expected["normal"]).abs()[inside.expand(-1, 3, -1, -1)].max() < 1e-5


def test_directions():
    """Yaw turns to the right, pitch up, roll clockwise; y points down."""
    forward, up = np.array([0, 0, 1]), np.array([0, -1, 0])
    assert turn_rotation((90, 0, 0)) @ forward == pytest.approx([1, 0, 0])
    assert turn_rotation((0, 90, 0)) @ forward == pytest.approx([0, -1, 0])
    assert turn_rotation((0, 0, 90)) @ up == pytest.approx([1, 0, 0])


def test_yaw_by_whole_columns_is_a_roll():
    batch = room(np.eye(3)) | {"rgb": torch.rand(1, 3, HEIGHT, WIDTH)}
    found = turned(batch, (45, 0, 0))
    for key in ("rgb", "depth", "semantic"):
        assert torch.allclose(found[key].double(), batch[key].roll(-WIDTH // 8, dims=-1).double(), atol=1e-4), key
    world = turned(batch, (45, 0, 0), "world")["normal"]
    assert torch.allclose(world, batch["normal"].roll(-WIDTH // 8, dims=-1))


def test_maps_of_other_tasks_turn_too():
    albedo, index = torch.rand(1, 3, HEIGHT, WIDTH), torch.tensor([7])
    found = turned(room(np.eye(3)) | {"albedo": albedo, "albedo_mask": albedo[:, :1] > 0.5, "index": index}, (45, 0, 0))
    assert torch.equal(found["albedo"], albedo.roll(-WIDTH // 8, dims=-1))
    assert torch.equal(found["albedo_mask"], found["albedo"][:, :1] > 0.5)
    assert found["index"] is index


def test_zoom_in_the_stereographic_plane():
    """Zooming divides points of the plane, projected from behind; zooms multiply, and 1 is the identity."""
    rays = erp_rays(16, 32)

    def plane(rays: np.ndarray) -> np.ndarray:
        return (rays[..., 0] + 1j * rays[..., 1]) / (1 + rays[..., 2])

    for zoom in (0.4, 3.0):
        assert plane(unzoomed(rays, zoom)) == pytest.approx(plane(rays) / zoom)
        assert np.linalg.norm(unzoomed(rays, zoom), axis=-1) == pytest.approx(1)
        assert unzoomed(unzoomed(rays, zoom), 2.0) == pytest.approx(unzoomed(rays, 2 * zoom))
    assert unzoomed(rays, 1.0) == pytest.approx(rays)


def test_zoomed_panoramas():
    """2 arctan(tan(45 degrees / 2) / 2) to the right moves to 45 degrees, with its depth and label."""
    batch = room(np.eye(3))
    (zoomed,) = TurnedBatches([batch], (0.0, 0.0, 0.0), "camera", zoom=2.0)
    angle = 2 * np.arctan(np.tan(np.pi / 8) / 2)
    row, column = HEIGHT // 2, round(WIDTH / 2 + WIDTH / 8 - 0.5)
    source = round(WIDTH / 2 + angle / (2 * np.pi) * WIDTH - 0.5)
    assert abs(zoomed["depth"][0, 0, row, column] - batch["depth"][0, 0, row, source]) < 0.1
    assert zoomed["semantic"][0, row, column] == batch["semantic"][0, row, source]
    assert (zoomed["semantic"] == 2).sum() > 1.2 * (batch["semantic"] == 2).sum(), "the wall in front is larger"
    (same,) = TurnedBatches([batch], (0.0, 0.0, 0.0), "camera", zoom=1.0)
    assert torch.equal(same["depth"], batch["depth"])

"""Extra metrics against closed forms and loops in NumPy."""

import itertools
import math

import numpy as np
import pytest
import torch

from metrics.boundaries import BOUNDARIES, RADII, RATIOS, boundary_scores
from metrics.consistency import CONSISTENCY, consistency, normals_of_depth
from metrics.cube_seams import CUBE_SEAMS, cube_seam_scores
from metrics.normal_mse import NORMAL_MSE, mean_squared_angles
from metrics.points import NUM_DIRECTIONS, POINTS, THRESHOLDS, point_scores
from metrics.protocol import ALIGNMENTS, EXTRA_METRIC_TASKS, PRESETS, DepthProtocol, Protocol, aligned
from tasks import EXTRA_METRICS, TASKS, build_evaluator
from tests.cuda.pretend import host_waits
from utils.cpu_kernels import without_cpu_kernels
from utils.sphere import angles_to_pixels, erp_rays, rays_to_angles

HEIGHT, WIDTH = 32, 64


def box_room(height: int = HEIGHT, width: int = WIDTH) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth (1, 1, H, W) and normals (1, 3, H, W) of a room of 4 x 3 x 6 m with the camera at its center."""
    rays = torch.tensor(erp_rays(height, width)).movedim(-1, 0)
    half = torch.tensor([2.0, 1.5, 3.0]).double()[:, None, None]
    distance, face = (half / rays.abs()).min(0)
    normal = -rays.sign() * torch.nn.functional.one_hot(face, 3).movedim(-1, 0)
    return distance[None, None].float(), normal[None].float()


def test_normals_of_box_room_depth():
    """Exact on the walls, also across the border; invalid at the poles."""
    depth, normal = box_room(128, 256)
    implied, valid = normals_of_depth(depth[:, 0].double())
    cosine = torch.cosine_similarity(implied, normal.double(), dim=1)
    assert cosine[valid].median() > 1 - 1e-9
    assert (cosine[valid] > 0.999).double().mean() > 0.95, "all but pixels at corners of the room"
    assert valid.double().mean() > 0.95
    assert valid[:, 1:-1, [0, -1]].all()
    assert not valid[:, [0, -1]].any()


def test_consistency():
    """Normals rotated by 10 degrees; pixels at depth edges are ignored."""
    depth, normal = box_room(128, 256)
    assert consistency({"depth": depth, "normal": normal}, {}).values[0, 1] == pytest.approx(0, abs=0.01)
    cos, sin = math.cos(math.radians(10)), math.sin(math.radians(10))
    rotation = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    rotated = torch.einsum("ij,bjhw->bihw", rotation, normal)
    values, valid = consistency({"depth": depth, "normal": rotated}, {})
    mean, median, weighted = values[0]
    is_rotated = normal[:, 2] == 0  # normals along z do not change
    assert valid.all()
    assert median == pytest.approx(10, abs=0.01)
    assert mean == pytest.approx(10 * is_rotated.double().mean().item(), abs=0.6)
    assert weighted != pytest.approx(mean.item(), rel=1e-3)
    stripes = torch.tensor([1.0, 2.0, 4.0]).repeat(6).expand(1, 1, 9, 18)  # the neighbors of a column always differ
    assert not consistency({"depth": stripes, "normal": torch.rand(1, 3, 9, 18)}, {}).is_valid


def test_points_of_equal_depth():
    depth, _ = box_room()
    batch = {"depth": depth, "depth_mask": torch.ones_like(depth, dtype=torch.bool)}
    values, valid = point_scores({"depth": depth}, batch)
    assert values[0].tolist() == [0, 1, 1, 1]
    assert valid.all()


def test_points_against_loops():
    depth = 1 + torch.rand(2, 1, HEIGHT, WIDTH)
    mask = torch.rand_like(depth) > 0.4
    predicted = depth + 0.2 * torch.randn_like(depth)
    values, has_values = point_scores(
        {"depth": predicted}, {"depth": depth.masked_fill(~mask, torch.nan), "depth_mask": mask}
    )
    latitude = np.arcsin((2 * np.arange(NUM_DIRECTIONS) + 1) / NUM_DIRECTIONS - 1)
    longitude = 2 * np.pi * ((np.arange(NUM_DIRECTIONS) * (5**0.5 - 1) / 2) % 1 - 0.5)
    rows = np.clip(np.rint((latitude / np.pi + 0.5) * HEIGHT - 0.5).astype(int), 0, HEIGHT - 1)
    columns = np.rint((longitude / 2 / np.pi + 0.5) * WIDTH - 0.5).astype(int) % WIDTH
    for i in range(2):
        valid = mask[i, 0].numpy()[rows, columns]
        rays = erp_rays(HEIGHT, WIDTH)[rows, columns][valid]
        p, q = (maps[i, 0].numpy()[rows, columns][valid][:, None] * rays for maps in (predicted, depth))
        to_q = np.array([np.linalg.norm(q - point, axis=1).min() for point in p])
        to_p = np.array([np.linalg.norm(p - point, axis=1).min() for point in q])
        f1 = [2 / (1 / (to_q < limit).mean() + 1 / (to_p < limit).mean()) for limit in THRESHOLDS]
        assert values[i].tolist() == pytest.approx([(to_q.mean() + to_p.mean()) / 2, *f1], rel=1e-4)
    assert has_values.all()


def test_directions_are_evenly_distributed():
    """Half of them, like half of the sphere, lie within 30 degrees of the horizon."""
    depth = torch.full((1, 1, 256, 512), 1.0)
    near = torch.zeros(1, 1, 256, 512, dtype=torch.bool)
    near[:, :, 85:171] = True
    _, valid = point_scores({"depth": depth}, {"depth": depth, "depth_mask": torch.zeros_like(near)})
    assert not valid
    wrong = depth.where(near, 3.0)
    values, _ = point_scores({"depth": wrong}, {"depth": depth, "depth_mask": torch.ones_like(near)})
    assert values[0, 1] == pytest.approx(2 / (1 / 0.5 + 1 / 0.55), abs=0.06)


def column_step(column: int, ratio: float) -> torch.Tensor:
    """Depth (1, 1, H, W) of 2 m, except for 20 columns of 2 * ratio from `column` on, across the border."""
    depth = torch.full((1, 1, HEIGHT, WIDTH), 2.0)
    depth[..., [(column + i) % WIDTH for i in range(20)]] *= ratio
    return depth


@pytest.mark.parametrize("column", [10, 0, WIDTH - 1])
@pytest.mark.parametrize("shift", [0, 1, 2, 3, 5])
def test_shifted_boundaries(column, shift):
    """Both columns beside a step are edges: shifted by s, a fraction max(0, min(2, 2 + r - s)) / 2 is within r."""
    true = column_step(column, 1.4)
    predicted = true.roll(shift, dims=-1)
    values, valid = boundary_scores({"depth": predicted}, {"depth": true, "depth_mask": true > 0})
    expected = [max(0, min(2, 2 + radius - shift)) / 2 for radius in RADII]
    assert values[0].tolist() == pytest.approx(expected)
    assert valid.all()


def test_boundaries_by_ratio():
    """A true step of 1.12 is an edge at ratios 1.05 and 1.1, a predicted one of 1.07 only at 1.05: F1 is 1 and 0."""
    true, predicted = column_step(5, 1.12), column_step(5, 1.07)
    values, _ = boundary_scores({"depth": predicted}, {"depth": true, "depth_mask": true > 0})
    assert values[0].tolist() == pytest.approx([0.5, 0.5, 0.5])
    flat = torch.full_like(true, 3.0)
    assert not boundary_scores({"depth": true}, {"depth": flat, "depth_mask": flat > 0}).is_valid
    assert RATIOS[:2] == (1.05, 1.1)


def test_boundaries_beside_invalid_pixels_are_ignored():
    true = column_step(5, 1.4)
    mask = torch.ones_like(true, dtype=torch.bool)
    mask[..., 4] = mask[..., 24] = False  # the last columns before the steps up and down
    assert not boundary_scores({"depth": true}, {"depth": true.where(mask, torch.nan), "depth_mask": mask}).is_valid
    mask[..., 24] = True
    assert boundary_scores({"depth": true}, {"depth": true.where(mask, torch.nan), "depth_mask": mask}).is_valid


def face_of(rays: np.ndarray) -> np.ndarray:
    """The face of the cube, 0 to 5, that rays (..., 3) hit."""
    axis = np.abs(rays).argmax(-1)
    return 2 * axis + (np.take_along_axis(rays, axis[..., None], -1)[..., 0] < 0)


def plain_cube_seams(depth: np.ndarray) -> list[float]:
    """Defect density, prevalence and severity, in a loop over the points along each edge."""
    height, width = depth.shape
    low, high = np.quantile(depth, [0.01, 0.99], method="inverted_cdf")
    number, step = height // 2, math.pi / height
    broken, severe, defects = [], [], []
    for first, second in itertools.combinations(range(3), 2):
        for signs in itertools.product((1, -1), repeat=2):
            jumps = []
            for i in range(number):
                sides = []
                for angle in (math.pi / 4 - step, math.pi / 4 + step):
                    ray = np.zeros(3)
                    ray[first] = signs[0] * math.sqrt(2) * math.cos(angle)
                    ray[second] = signs[1] * math.sqrt(2) * math.sin(angle)
                    ray[3 - first - second] = (2 * i + 1) / number - 1
                    row, column = angles_to_pixels(*rays_to_angles(ray), height, width)
                    sides.append(depth[min(max(round(row), 0), height - 1), round(column) % width])
                jumps.append(abs(sides[0] - sides[1]) / (high - low))
            fraction = np.mean([jump > 0.02 for jump in jumps])
            defects.append(fraction)
            broken.append(fraction > 0.1)
            severe.append(np.mean(jumps) > 0.015)
    return [np.mean(defects), np.mean(broken), np.mean(severe)]


def test_cube_seams_against_loops():
    smooth = torch.nn.functional.avg_pool2d(torch.rand(2, 1, HEIGHT, WIDTH), 5, 1, 2)
    for scale in (0.01, 1.0):  # with 0.01, most jumps are below the limits
        depth = 2 + scale * smooth + torch.linspace(0, 1, HEIGHT)[:, None] ** 2
        values, valid = cube_seam_scores({"depth": depth}, {})
        for i in range(2):
            assert values[i].tolist() == pytest.approx(plain_cube_seams(depth[i, 0].double().numpy()))
        assert valid.all()


def test_cube_seams_of_constant_faces():
    """With six different depths all 12 edges are broken, with one farther face 4 of them."""
    faces = torch.tensor(face_of(erp_rays(64, 128)))
    for depths, expected in (([1, 2, 3, 4, 5, 6], 1), ([1, 1, 1, 1, 2, 1], 1 / 3), ([2] * 6, 0)):
        depth = torch.tensor(depths).float()[faces][None, None]
        assert cube_seam_scores({"depth": depth}, {}).values[0].tolist() == pytest.approx([expected] * 3)


def test_normal_mse():
    batch = {"normal": torch.randn(2, 3, 4, 8), "normal_mask": torch.rand(2, 1, 4, 8) > 0.4}
    batch["normal_mask"][1] = False
    predicted = torch.randn(2, 3, 4, 8)
    values, valid = mean_squared_angles({"normal": predicted}, batch)
    assert valid.tolist() == [True, False]
    cosine = torch.cosine_similarity(predicted.double(), batch["normal"].double(), dim=1)
    expected = (cosine.arccos().rad2deg() ** 2)[0][batch["normal_mask"][0, 0]].mean()
    assert values[0].tolist() == pytest.approx([expected.item()])


def test_extra_metrics_in_evaluator():
    """A single transfer from the GPU per batch; images without depth have only metrics that do not need it."""
    batch = {
        "index": np.arange(2),
        "id": ["a", "b"],
        "rgb": torch.rand(2, 3, HEIGHT, WIDTH),
        "depth": 1 + torch.rand(2, 1, HEIGHT, WIDTH),
        "depth_mask": torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool),
        "normal": torch.nn.functional.normalize(torch.randn(2, 3, HEIGHT, WIDTH), dim=1),
        "normal_mask": torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool),
        "semantic": torch.zeros(2, HEIGHT, WIDTH, dtype=torch.long),
    }
    batch["depth_mask"][1] = False
    predictions = {"depth": 1 + 0.1 * torch.rand(2, 1, HEIGHT, WIDTH), "normal": torch.randn(2, 3, HEIGHT, WIDTH)}
    predictions["segmentation"] = torch.randn(2, 3, HEIGHT, WIDTH)
    depth = (*aligned(tuple(ALIGNMENTS), DepthProtocol(), True), *(one for f in PRESETS.values() for one in f("MP3D")))
    protocol = Protocol(depth=depth, more=tuple(EXTRA_METRIC_TASKS), pool_pixels=True)
    evaluator = build_evaluator(tuple(TASKS), 3, protocol=protocol)
    with without_cpu_kernels():
        evaluator.update(predictions, batch)
        evaluator.rows.clear()
        with host_waits() as names:
            evaluator.update(predictions, batch)
    assert names == ["cpu", "numpy"]
    results, rows = evaluator.compute()
    for extra in EXTRA_METRICS.values():
        for name in extra.names:
            assert math.isfinite(results[extra.task][name])
            assert (f"{extra.task}/{name}" in rows[1]) == (extra in (CONSISTENCY, CUBE_SEAMS, NORMAL_MSE))
    assert build_evaluator(("depth",), 3, protocol=protocol)._extra == (POINTS, BOUNDARIES, CUBE_SEAMS)

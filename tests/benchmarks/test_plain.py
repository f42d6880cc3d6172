"""The benchmark's plain network against the released code's numbers, as in test_parity, and against our network."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks.plain import PlainElite360M, farthest_point_sampling, nearest, plain_losses
from losses.balancing.uncertainty import UncertaintyWeighting
from networks.elite360m import Elite360M
from networks.point_hierarchy import NUM_LEVELS, PointHierarchy, build_point_hierarchy
from tasks import TASKS
from tests.networks import test_parity as parity
from training.objective import TrainingObjective

ICO_LEVEL = 2

golden_of_ours, eval_pass, training_pass = parity.golden, parity.eval_pass, parity.training_pass


@pytest.mark.slow
def test_outputs(golden, eval_pass):
    parity.test_outputs(golden, eval_pass)


@pytest.mark.slow
def test_losses(golden, training_pass):
    parity.test_losses(golden, training_pass)


@pytest.mark.slow
def test_gradients(golden, training_pass):
    parity.test_gradients(golden, training_pass)


class PlainObjective(TrainingObjective):
    """The plain network with the plain losses."""

    def losses_of(self, predictions: dict, batch: dict, fractions: None = None) -> dict[str, torch.Tensor]:
        return plain_losses(predictions, batch, self.balancing.log_variances)


@pytest.fixture(scope="module")
def golden(golden_of_ours) -> SimpleNamespace:
    """As in test_parity, with the plain network instead of ours."""
    meta, hierarchy = golden_of_ours.meta, golden_of_ours.hierarchy
    network = PlainElite360M(parity.BACKBONES[meta.backbone], meta.num_classes, pretrained=False, hierarchy=hierarchy)
    weights = {task: TASKS[task].loss_weight for task in TASKS}
    objective = PlainObjective(network, {}, UncertaintyWeighting(network.tasks, weights))

    def reset():
        golden_of_ours.reset()
        objective.load_state_dict(golden_of_ours.objective.state_dict())
        objective.zero_grad()

    return SimpleNamespace(**vars(golden_of_ours) | {"objective": objective, "reset": reset, "passes": {}})


def searched_hierarchy() -> PointHierarchy:
    """Tables from the plain network's search."""
    coordinates = build_point_hierarchy(ICO_LEVEL).coordinates
    points = torch.tensor(coordinates).float()[None]
    neighbors, kept, groups = [nearest(points, points)], [], []
    for _ in range(NUM_LEVELS - 1):
        kept.append(farthest_point_sampling(points, points.shape[1] // 4))
        kept_points = points[:, kept[-1][0]]
        groups.append(nearest(kept_points, points))
        neighbors.append(nearest(kept_points, kept_points))
        points = kept_points
    tables = (tuple(table[0].numpy() for table in levels) for levels in (neighbors, kept, groups))
    return PointHierarchy(coordinates, *tables)


def predict(network: Elite360M) -> dict[str, torch.Tensor]:
    """Predictions in eval mode, with weights of ordinary size; initial weights hardly depend on the points."""
    state = {
        key: torch.tensor(parity.golden_array(key, value.shape, "")) for key, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    rgb = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network.eval()(rgb)


@pytest.mark.parametrize(
    ("searched", "tasks"),
    [(False, tuple(TASKS)), (True, tuple(TASKS)), (False, ("normal",))],
)
def test_predictions_match_our_network(searched, tasks):
    hierarchy = searched_hierarchy() if searched else build_point_hierarchy(ICO_LEVEL)
    settings = {"num_classes": 5, "tasks": tasks, "ico_level": ICO_LEVEL, "pretrained": False}
    ours = predict(Elite360M(**settings, hierarchy=hierarchy))
    plain = predict(PlainElite360M(**settings, hierarchy=None if searched else hierarchy))
    assert plain.keys() == ours.keys()
    for task, prediction in plain.items():
        assert (prediction - ours[task]).abs().max() < 1e-4 * ours[task].abs().max(), task


def test_nearest():
    """Same distances as in the tables; the order of equally near points is undefined."""
    hierarchy = build_point_hierarchy(ICO_LEVEL)
    points = torch.tensor(hierarchy.coordinates).float()
    for i, neighbors in enumerate(hierarchy.neighbors):
        queries_and_tables = [(points, neighbors)]
        if i < len(hierarchy.kept):
            queries_and_tables.append((points[hierarchy.kept[i]], hierarchy.groups[i]))
        for queries, table in queries_and_tables:
            found = nearest(queries[None], points[None])[0]
            distances, expected = (
                (points[indices] - queries[:, None]).norm(dim=-1) for indices in (found, torch.tensor(table))
            )
            torch.testing.assert_close(distances, expected, atol=1e-3, rtol=0)
            assert all(len(set(row)) == len(row) for row in found.tolist())
        if i < len(hierarchy.kept):
            points = points[hierarchy.kept[i]]


def test_farthest_point_sampling():
    points = torch.tensor(build_point_hierarchy(ICO_LEVEL).coordinates).float()
    chosen = farthest_point_sampling(points[None].repeat(2, 1, 1), 80)
    assert torch.equal(chosen[0], chosen[1])
    assert chosen[0, 0] == 0
    for i in range(1, 80):
        distances = torch.cdist(points, points[chosen[0, :i]]).amin(dim=1)  # to the nearest chosen point
        assert distances[chosen[0, i]] > distances.max() - 1e-4

"""The constant tables of the ICOSAP encoder against brute force."""

import numpy as np
import pytest

from networks.point_hierarchy import build_point_hierarchy, farthest_point_sampling, nearest_neighbors


def distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


@pytest.fixture(scope="module")
def hierarchy():
    return build_point_hierarchy(3)


def test_sizes(hierarchy):
    assert hierarchy.coordinates.shape == (1280, 3)
    assert [table.shape for table in hierarchy.neighbors] == [(1280, 32), (320, 32), (80, 32), (20, 20)]
    assert [table.shape for table in hierarchy.kept] == [(320,), (80,), (20,)]
    assert [table.shape for table in hierarchy.groups] == [(320, 32), (80, 32), (20, 32)]


def test_neighbors_are_the_nearest(hierarchy):
    """Within all sets and between them."""
    points = hierarchy.coordinates
    for i, neighbors in enumerate(hierarchy.neighbors):
        check_nearest(points, points, neighbors)
        assert (neighbors[:, 0] == np.arange(len(points))).all(), "a point is its own nearest neighbor"
        if i < len(hierarchy.kept):
            kept = points[hierarchy.kept[i]]
            check_nearest(kept, points, hierarchy.groups[i])
            points = kept


def check_nearest(queries, points, table):
    all_distances = distances(queries, points)
    in_table = np.take_along_axis(all_distances, table, axis=1)
    expected = np.sort(all_distances, axis=1)[:, : table.shape[1]]
    assert in_table == pytest.approx(expected, abs=1e-4)
    assert all(len(set(row)) == len(row) for row in table)


def test_farthest_point_sampling_is_greedy(hierarchy):
    """Each point has the largest distance to all previous ones."""
    points = hierarchy.coordinates[:200]
    chosen = farthest_point_sampling(points, 30)
    assert chosen[0] == 0
    for i in range(1, 30):
        to_chosen = distances(points, points[chosen[:i]]).min(axis=1)
        assert to_chosen[chosen[i]] == pytest.approx(to_chosen.max(), abs=1e-4)
    assert len(set(chosen)) == 30


def test_ties_go_to_the_lower_index():
    square = np.array([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]]) + 1e-13 * np.arange(12).reshape(4, 3)
    assert nearest_neighbors(square, square, k=4).tolist() == [[0, 1, 2, 3], [1, 0, 3, 2], [2, 0, 3, 1], [3, 1, 2, 0]]
    assert farthest_point_sampling(square, 4).tolist() == [0, 3, 1, 2]


def test_tables_are_reproducible(hierarchy):
    build_point_hierarchy.cache_clear()
    again = build_point_hierarchy(3)
    assert again is not hierarchy
    for name in ("neighbors", "kept", "groups"):
        assert all((a == b).all() for a, b in zip(getattr(again, name), getattr(hierarchy, name), strict=True))


def test_too_low_level():
    with pytest.raises(ValueError, match="ico_level"):
        build_point_hierarchy(1)

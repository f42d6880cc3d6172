"""The constant tables of the ICOSAP encoder: points, nearest neighbors and downsampling.

The icosphere never changes, so these are computed once: four sets of points, each a quarter of the previous one and
chosen by farthest point sampling, with the nearest neighbors within and between the sets.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from utils.sphere import icosphere

NUM_NEIGHBORS = 32
DISTANCE_STEPS = 1e9  # squared distances are rounded to multiples of 1 / DISTANCE_STEPS, so that ties are exact
NUM_LEVELS = 4  # sets of points


@dataclass(frozen=True)
class PointHierarchy:
    """Points and index tables of the ICOSAP encoder, with P_i = P_0 / 4^i points in set i.

    Attributes:
        coordinates: (P_0, 3) float64, centroids of the icosphere's faces (not projected onto the sphere).
        neighbors: (P_i, k) for each of the four sets: the k points of the set nearest to each point, itself included.
        kept: (P_{i+1},) for each of the three downsampling steps: the points of set i that form set i + 1.
        groups: (P_{i+1}, k) for each of the three downsampling steps: the k points of set i nearest to each kept point.
    """

    coordinates: np.ndarray
    neighbors: tuple[np.ndarray, ...]
    kept: tuple[np.ndarray, ...]
    groups: tuple[np.ndarray, ...]


@lru_cache(maxsize=4)
def build_point_hierarchy(ico_level: int) -> PointHierarchy:
    """Tables for an icosphere of this level, whose 20 * 4^ico_level faces are the finest set.

    Many distances on the icosphere are exactly equal. Ties are broken in the same way on every machine: distances are
    rounded, well above the rounding error of float64, then the lower index wins. In a set smaller than k, all points
    are neighbors.

    Raises:
        ValueError: when ico_level is below 2: the coarsest set would have fewer than five points.
    """
    if ico_level < 2:
        raise ValueError(f"ico_level must be 2 or more, got {ico_level}")
    vertices, faces = icosphere(ico_level)
    coordinates = points = vertices[faces].mean(axis=1)
    neighbors, kept, groups = [nearest_neighbors(points, points)], [], []
    for _ in range(NUM_LEVELS - 1):
        keep = farthest_point_sampling(points, len(points) // 4)
        groups.append(nearest_neighbors(points[keep], points))
        points = points[keep]
        kept.append(keep)
        neighbors.append(nearest_neighbors(points, points))
    return PointHierarchy(coordinates, tuple(neighbors), tuple(kept), tuple(groups))


def nearest_neighbors(queries: np.ndarray, points: np.ndarray, k: int = NUM_NEIGHBORS) -> np.ndarray:
    """Indices (Q, min(k, P)) of the points (P, 3) nearest to each query (Q, 3), nearest first, ties by index."""
    k = min(k, len(points))
    blocks = [queries[start : start + 256] for start in range(0, len(queries), 256)]  # blocks that fit in the cache
    return np.concatenate([_nearest_in_block(block, points, k) for block in blocks])


def _nearest_in_block(queries: np.ndarray, points: np.ndarray, k: int) -> np.ndarray:
    # |q - p|^2 = |q|^2 - 2 q.p + |p|^2 as one matrix product, in units of 1 / DISTANCE_STEPS.
    left = np.column_stack([(queries**2).sum(-1), -2 * queries, np.ones(len(queries))])
    right = np.column_stack([np.ones(len(points)), points, (points**2).sum(-1)])
    ranks = left @ (right.T * DISTANCE_STEPS)
    # One number per pair, sorting by rounded distance, then by index: below 2^53, so exact in float64.
    np.rint(ranks, out=ranks)
    ranks *= len(points)
    ranks += np.arange(len(points))
    if k < len(points):
        ranks = np.partition(ranks, k - 1, axis=1)[:, :k]
    return np.sort(ranks, axis=1).astype(np.int64) % len(points)


def farthest_point_sampling(points: np.ndarray, num_samples: int) -> np.ndarray:
    """Indices (num_samples,) into points (P, 3): point 0, then always the point farthest from those; ties by index."""
    chosen = np.zeros(num_samples, dtype=np.int64)
    distance_to_chosen = np.full(len(points), np.inf)
    xyz = np.ascontiguousarray(points.T)  # (3, P): summing three rows is much faster than summing three columns
    for i in range(1, num_samples):
        squared = ((xyz - xyz[:, chosen[i - 1], None]) ** 2).sum(0)
        distance_to_chosen = np.minimum(distance_to_chosen, np.rint(squared * DISTANCE_STEPS))
        chosen[i] = distance_to_chosen.argmax()
    return chosen

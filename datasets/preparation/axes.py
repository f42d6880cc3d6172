"""Orders and signs of the axes along which vectors are stored."""

from itertools import permutations, product

import numpy as np

# All 48 orders and signs, (48, 3, 3); the first is the identity.
ALL_AXES = np.array(
    [
        np.diag(signs) @ np.eye(3)[list(order)]
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]
)


def cosines_along_axes(vectors: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cosines (N, 48) between unit vectors (N, 3), read along each of `ALL_AXES`, and their targets (N, 3)."""
    products = (targets[:, :, None] * vectors[:, None, :]).reshape(-1, 9)
    return products @ ALL_AXES.reshape(-1, 9).T.astype(products.dtype)


def axes_in_words(axes: np.ndarray) -> str:
    """One of `ALL_AXES` applied to (x, y, z), as text such as "(x, -y, z)"."""
    names = [("-" if row.sum() < 0 else "") + "xyz"[int(np.abs(row).argmax())] for row in axes]
    return f"({', '.join(names)})"

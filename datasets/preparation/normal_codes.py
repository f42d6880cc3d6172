"""Decoding of published normals, and encoding as the 8-bit colors of a prepared tree."""

import numpy as np


def decode_normals(codes: np.ndarray, middle: float) -> np.ndarray:
    """Unit vectors (..., 3) of published normals, along the axes of the codes; zero where they are missing.

    Args:
        codes: (..., 3); the code of a component n is (1 + n) * `middle`. Missing normals are black, or `middle` in all
            components.
        middle: code of 0.
    """
    normal = codes / middle - 1
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.where((length > 0.5) & (length < 1.5), normal / np.maximum(length, 0.5), 0)


def encode_normals(normal: np.ndarray) -> np.ndarray:
    """Codes v (H, W, 3) uint8 of unit vectors n = 2 v / 255 - 1; black where these are zero (missing)."""
    codes = np.rint(127.5 * normal + 127.5).clip(0, 255).astype(np.uint8)
    codes[~normal.any(axis=-1)] = 0
    return codes

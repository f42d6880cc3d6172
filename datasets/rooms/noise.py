"""Hash-based noise, a function of coordinates, for the textures."""

import numpy as np

_I, _J, _SEED = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D)  # odd, so that no bits are lost


def hash_unit(i: np.ndarray, j: np.ndarray, seed: np.ndarray | int = 0) -> np.ndarray:
    """Pseudo-random float32 in [0, 1) for integers i, j (of any numeric type) and seed, which broadcast."""
    with np.errstate(over="ignore"):  # integers wrap around by design
        return _scramble(_bits(i) * _I + _bits(j) * _J + _bits(seed) * _SEED)


def value_noise(x: np.ndarray, y: np.ndarray, seed: np.ndarray | int = 0) -> np.ndarray:
    """Smooth noise in [0, 1), float32: `hash_unit` at integer x and y, interpolated in between."""
    i, j = np.floor(x), np.floor(y)
    fx, fy = _smooth(x - i), _smooth(y - j)
    with np.errstate(over="ignore"):
        corner = _bits(i) * _I + _bits(j) * _J + _bits(seed) * _SEED
        upper = _blend(_scramble(corner), _scramble(corner + _I), fx)
        lower = _blend(_scramble(corner + _J), _scramble(corner + (_I + _J)), fx)
    return _blend(upper, lower, fy)


def _scramble(h: np.ndarray) -> np.ndarray:
    """uint32 to float32 in [0, 1): every bit of h changes about half of the bits of the result."""
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    h = (h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39)
    h = h ^ (h >> np.uint32(15))
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _bits(numbers: np.ndarray | int) -> np.ndarray:
    """Integers as uint32, negative ones wrapped around."""
    numbers = np.asarray(numbers)
    if numbers.dtype.kind == "f":
        numbers = numbers.astype(np.int32)
    return numbers.astype(np.uint32)


def _smooth(t: np.ndarray) -> np.ndarray:
    """Smoothstep from 0 to 1."""
    return t * t * (3 - 2 * t)


def _blend(a: np.ndarray, b: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    return a + (b - a) * fraction

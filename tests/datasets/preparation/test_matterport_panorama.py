"""Encoding and decoding of ids, normals and depth."""

import numpy as np
import pytest

from datasets.matterport3d import MPCAT40
from datasets.on_disk import NORMAL_DECODING_8BIT
from datasets.preparation.matterport_panorama import encode_depth, face_ids
from datasets.preparation.normal_codes import decode_normals, encode_normals


def test_face_ids_are_mpcat40_index_plus_one():
    """Category 7 is a sofa; 9 has no index, and -1 stands for no category."""
    ids = face_ids(np.array([7, -1, 9, 7, 3]), {7: MPCAT40.index("sofa"), 3: 0})
    assert ids.tolist() == [11, 42, 42, 11, 1]
    assert ids.dtype == np.uint8


def test_decode_normals():
    codes = np.array([[32768, 65535, 32768], [32768, 32768, 32768], [0, 0, 0], [52429, 32768, 6554]], np.uint16)
    expected = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0], [0.6, 0, -0.8]])
    assert decode_normals(codes, 32768) == pytest.approx(expected, abs=1e-4)


def test_encode_normals():
    """The loader's decoding gives the same components within half a step; missing normals are black."""
    normal = np.random.default_rng(0).normal(size=(5, 7, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[2, 3] = 0
    codes = encode_normals(normal)
    assert codes[2, 3].tolist() == [0, 0, 0]
    known = normal.any(axis=-1)
    assert codes[known] @ NORMAL_DECODING_8BIT[:, :3].T + NORMAL_DECODING_8BIT[:, 3] == pytest.approx(
        normal[known], abs=1 / 255
    )


def test_encode_depth():
    assert encode_depth(np.array([[0, 0.25, 16.38375], [16.4, 100, 1]])).tolist() == [[0, 1000, 65535], [0, 0, 4000]]

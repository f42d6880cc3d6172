"""Reading meshes and category mappings, and casting rays."""

import numpy as np
import pytest

from datasets.preparation.labeled_mesh import LabeledMesh, RayCaster, parse_category_mapping, parse_ply
from utils.errors import UserError

VERTICES = np.array([[-2.0, -2, 3], [2, -2, 3], [2, 2, 3], [-2, 2, 3]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
HEADER = [
    *("ply", "format binary_little_endian 1.0", "element vertex 4", "property float x", "property float y"),
    *("property float z", "property uchar red", "element face 2", "property list uchar int vertex_indices"),
    *("property int face_material", "property int face_category", "end_header", ""),
]


def ply(header=HEADER, counts=(3, 3)):
    points = b"".join(np.array(point, "<f4").tobytes() + b"\xff" for point in VERTICES)
    faces = b"".join(
        bytes([count]) + np.array(face, "<i4").tobytes() + np.array([7, 40 + number], "<i4").tobytes()
        for number, (count, face) in enumerate(zip(counts, FACES, strict=True))
    )
    return "\n".join(header).encode() + points + faces


def test_parse_ply():
    mesh = parse_ply(ply(), "a.ply")
    assert np.array_equal(mesh.vertices, VERTICES)
    assert np.array_equal(mesh.faces, FACES)
    assert mesh.category.tolist() == [40, 41]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        ply()[:-3],
        ply(counts=(3, 4)),
        ply([line.replace("face_category", "face_segment") for line in HEADER]),
        ply([line.replace("property int face_material", "property face_material") for line in HEADER]),
        ply([line.replace("vertex_indices", "x").replace("list uchar int", "int") for line in HEADER]),
    ],
    ids=["empty", "archive", "truncated", "square", "no categories", "damaged header", "no triangles"],
)
def test_bad_files(data):
    with pytest.raises(UserError, match=r"a\.ply"):
        parse_ply(data, "a.ply")


def test_cast():
    """A wall at z = 3 from a point 1 m in front of it, far from the origin of the world."""
    pytest.importorskip("embreex")
    shift, origin = np.array([300.0, -200.0, 50.0]), np.array([300.0, -200.0, 52.0])
    mesh = LabeledMesh(VERTICES + shift, FACES, np.array([40, 41]))
    rays = np.array([[0.1, 0, 1.0], [0.5, -0.5, 1], [-0.5, 0.5, 1], [0, 0, -1], [5, 0, 1]])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    hits = RayCaster(mesh).cast(origin, rays)
    assert hits.distance == pytest.approx([1 / rays[0, 2], 1 / rays[1, 2], 1 / rays[2, 2], 0, 0])
    assert hits.normal == pytest.approx(np.array([[0, 0, -1]] * 3 + [[0, 0, 0]] * 2))
    assert hits.face.tolist() == [0, 0, 1, -1, -1]


def test_category_mapping():
    text = "index\traw_category\tmpcat40index\tmpcat40\n1\twall\t1\twall\n17\tsettee\t10\tsofa\n99\tthing\t\t\n"
    assert parse_category_mapping(text, "map.tsv") == {1: 1, 17: 10}
    with pytest.raises(UserError, match=r"map\.tsv"):
        parse_category_mapping("index,mpcat40index\n1,1\n", "map.tsv")

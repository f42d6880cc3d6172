"""Names of results are unique."""

from itertools import permutations
from pathlib import Path

import pytest

from prediction.naming import Job, stems
from prediction.result_files import ENDINGS


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ({"a.png", "b.webp", "x/a.png"}, {"a", "b", "x/a"}),
        ({"a.png", "a.webp", "b.png"}, {"a.png", "a.webp", "b"}),
        ({"room.PNG", "Room.webp"}, {"room.PNG", "Room.webp"}),
        ({"room", "room.png"}, {"room", "room.png"}),
        ({"a.png", "a.webp", "a.png.jpg"}, {"a.png", "a.webp", "a.png.jpg"}),
        ({"a.png", "a.json/b.png"}, {"a.png", "a.json/b"}),
        ({"a.png", "a_depth.NPY/x/b.png", "c.png"}, {"a.png", "a_depth.NPY/x/b", "c"}),
        ({"a.png", "a_depth.png"}, {"a", "a_depth"}),
        ({"a.png", "a_boxes.png", "b.png"}, {"a.png", "a_boxes.png", "b"}),
        ({"a.png", "a/b.png"}, {"a", "a/b"}),
    ],
)
def test_stems(images, expected):
    """In any order of the images."""
    for order in permutations(map(Path, images)):
        chosen = stems(list(order), ENDINGS)
        assert {str(stem) for stem in chosen.values()} == expected
        results = [Job(image, stem).result(ending) for image, stem in chosen.items() for ending in ENDINGS]
        assert len({str(path).casefold() for path in results}) == len(results)


def test_endings():
    assert {".json", "_depth.npy", "_normal.png", "_labels_colour.png", "_panel.png", "_points.glb"} <= set(ENDINGS)

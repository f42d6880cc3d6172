"""Which of the files of released values are compared with."""

import pytest

from tests.achievement_golden import FILES, FOLDER

COMPARED = {
    *("DeepLab", "VMM", "detection", "average precision"),
    *("losses", "metrics", "combination", "evaluation", "transform"),
}


def test_there_are_files():
    assert COMPARED & set(FILES.values()), f"nothing to compare with in {FOLDER}"


def test_other_files():
    others = {path.name: kind for path, kind in FILES.items() if kind not in COMPARED}
    assert "unknown" not in others.values(), others
    if others:
        pytest.skip(f"what they need is not here yet: {others}")

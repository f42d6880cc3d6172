"""Which of the files of released values are compared with."""

import pytest

from tests.achievement_golden import FILES, FOLDER

COMPARED = {"DeepLab", "VMM", "detection", "losses", "metrics", "combination", "evaluation", "transform"}


def test_there_are_files():
    assert COMPARED & set(FILES.values()), f"nothing to compare with in {FOLDER}"


@pytest.mark.parametrize("path", [path for path, kind in FILES.items() if kind not in COMPARED], ids=lambda p: p.name)
def test_other_files(path):
    kind = FILES[path]
    assert kind != "unknown", "of no known kind"
    pytest.skip(f"{path.name} ({kind}): what it needs is not here yet")

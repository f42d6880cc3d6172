"""Which of the files of released values are compared with."""

from tests.achievement_golden import FILES, FOLDER

COMPARED = {
    *("DeepLab", "VMM", "detection", "average precision"),
    *("losses", "metrics", "combination", "evaluation", "transform"),
}


def test_every_file_is_compared_with():
    assert FILES, f"nothing to compare with in {FOLDER}"
    others = {path.name: kind for path, kind in FILES.items() if kind not in COMPARED}
    assert not others

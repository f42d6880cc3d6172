"""All files of reference values are used by some test."""

from tests.achievement_golden import FILES, FOLDER

USED = {
    *("DeepLab", "VMM", "detection", "average precision"),
    *("losses", "metrics", "combination", "evaluation", "transform"),
}


def test_every_file_is_used():
    assert FILES, f"no files in {FOLDER}"
    others = {path.name: kind for path, kind in FILES.items() if kind not in USED}
    assert not others

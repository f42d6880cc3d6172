"""Results of one evaluation never mix with, or silently replace, those of another."""

import json

import pytest

from tasks import FOLDERS
from training.evaluation_folder import IDENTITY, EvaluationFolder
from utils.errors import LONGEST_LINE, UserError
from utils.files import write_json

EVALUATION = {
    "checkpoint sha256": "0123abcd" * 8,
    "--dataset": "MP3D",
    "--split": "test",
    "--tta": 1,
    "--val_list sha256": None,
}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "Elite360M_Res18" / "depth"


def write(root, identity=EVALUATION, overwrite=False, rms=0.5, more=(), interfere=lambda: None) -> None:
    """Run an evaluation that writes the usual files; `interfere` is called in the middle."""
    folder = EvaluationFolder(root, identity, FOLDERS, overwrite)
    with folder.open():
        interfere()
        for name in ("per_image.csv", "depth/result.txt", "visual_results/depth/1_0/room.png", *more):
            path = folder.run.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(rms))
        write_json(folder.run.root / "results.json", {"results": {"rms": rms}, IDENTITY: identity})


def content(root) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_files_are_published_at_the_end(root):
    write(root)
    assert content(root).keys() == {
        *("results.json", "per_image.csv", "depth/result.txt", "visual_results/depth/1_0/room.png"),
    }
    assert not (root / "unfinished").exists()


def test_repeating_an_evaluation(root):
    """Its files are replaced; files that only the first one wrote are kept."""
    write(root, more=["report.html"])
    write(root, rms=0.7)
    assert content(root)["per_image.csv"] == "0.7"
    assert content(root)["report.html"] == "0.5"


@pytest.mark.parametrize("name", EVALUATION)
def test_another_evaluation_is_rejected(root, name):
    write(root)
    before = content(root)
    with pytest.raises(UserError, match=f"{name}.*--overwrite.*--log_dir") as error:
        write(root, EVALUATION | {name: "x" * 300}, rms=0.7)
    assert str(root) in str(error.value)
    assert len(str(error.value)) < LONGEST_LINE
    assert content(root) == before


def test_overwriting_removes_the_other_evaluation(root):
    """The user's own files stay."""
    write(root, more=["report.html", "visual_results/depth/2_0/other.png"])
    (root / "notes.txt").write_text("mine")
    write(root, EVALUATION | {"--split": "val"}, overwrite=True, rms=0.7)
    assert content(root).keys() == {
        *("results.json", "per_image.csv", "depth/result.txt", "visual_results/depth/1_0/room.png", "notes.txt"),
    }
    assert content(root)["per_image.csv"] == "0.7"
    write(root, EVALUATION | {"--split": "val"})


@pytest.mark.parametrize(
    "text", ["", "{", '{"results": 3}', "[1, 2]", "null", '{"evaluation": null}', '{"evaluation": {}}', "\udcff"]
)
def test_damaged_and_foreign_results_are_rejected(root, text):
    root.mkdir(parents=True)
    (root / "results.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match="--overwrite"):
        write(root)
    assert (root / "results.json").read_bytes() == text.encode("utf-8", "surrogateescape")
    write(root, overwrite=True)
    assert json.loads(content(root)["results.json"])["results"] == {"rms": 0.5}


def test_files_without_results_are_rejected(root):
    """Left by a program that was killed while it wrote them."""
    (root / "visual_results" / "depth").mkdir(parents=True)
    with pytest.raises(UserError, match=r"incomplete.*--overwrite"):
        write(root)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [UserError("a bad sample"), KeyboardInterrupt(), ZeroDivisionError()])
def test_failure_keeps_earlier_results(root, overwrite, error):
    write(root)
    before = content(root)

    def fail():
        (root / "unfinished" / "per_image.csv").touch()
        raise error

    with pytest.raises(type(error)):
        write(root, overwrite=overwrite, rms=0.7, interfere=fail)
    assert content(root) == before
    assert not (root / "unfinished").exists()


def test_failure_leaves_no_folder(root):
    with pytest.raises(UserError), EvaluationFolder(root, EVALUATION, FOLDERS, False).open():
        raise UserError("a bad sample")
    assert not root.exists()


def test_leftovers_of_a_killed_evaluation_are_removed(root):
    (root / "unfinished" / "visual_results" / "depth" / "9_9").mkdir(parents=True)
    (root / "unfinished" / "visual_results" / "depth" / "9_9" / "old.png").touch()
    write(root)
    assert not [name for name in content(root) if "9_9" in name]


def test_another_evaluation_ends_first(root):
    """Both started in an empty folder: the second does not replace the first."""
    other = root.parent / "other"
    write(other, EVALUATION | {"--tta": 2})
    with pytest.raises(UserError, match="--tta 2"):
        write(root, interfere=lambda: (other / "results.json").rename(root / "results.json"))
    assert json.loads(content(root)["results.json"])[IDENTITY]["--tta"] == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_concurrent_evaluations_are_rejected(root, overwrite):
    """Even of the same checkpoint: their images would mix."""

    def begin_another():
        (root / "unfinished" / "first.png").touch()
        with pytest.raises(UserError, match=f"{root}.*--log_dir"):
            write(root, overwrite=overwrite, rms=0.7)
        assert (root / "unfinished" / "first.png").exists()

    write(root, interfere=begin_another)
    assert content(root)["per_image.csv"] == "0.5"
    write(root, rms=0.7)
    assert content(root)["per_image.csv"] == "0.7"

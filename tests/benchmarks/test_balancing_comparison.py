"""The comparison of balancing methods: its metrics by hand, and all of it on a few small rooms."""

import json
from functools import partial

import pytest

import eval_elite360m
import train_elite360m
from benchmarks.balancing import Training, gain, main, parse, spread, table
from options.elite360m import eval_parser, train_parser
from tests.processes import Launch
from utils.errors import UserError

SINGLE = {"depth": 0.5, "normal": 20.0, "segmentation": 0.4}


def test_gain():
    """Depth 10 % better (less), normals 5 % worse (more), mIoU 25 % better (more): a mean of 10 %."""
    assert gain({"depth": 0.45, "normal": 21.0, "segmentation": 0.5}, SINGLE) == pytest.approx((10 - 5 + 25) / 3)
    assert gain(SINGLE, SINGLE) == 0


def test_spread():
    assert spread([1.0], 2) == "1.00"
    assert spread([1.0, 3.0], 1) == "2.0 ± 1.4"  # the standard deviation of a sample


def test_table():
    summary = {
        "single-task": {"metrics": [SINGLE, SINGLE]},
        "fixed": {"metrics": [SINGLE, {**SINGLE, "depth": 0.7}], "gain": [0.0, -4.0], "time": 1.0},
    }
    rows = table(summary).splitlines()
    assert rows[2] == "| single-task | 0.500 ± 0.000 | 20.00 ± 0.00 | 0.400 ± 0.000 | 0 |  |"
    assert rows[3] == "| fixed | 0.600 ± 0.141 | 20.00 ± 0.00 | 0.400 ± 0.000 | -2.0 ± 2.8 | 1.00 |"


def test_what_follows_the_dashes_goes_to_the_trainings():
    options, shared = parse(["--out", "x", "--methods", "fixed", "--", "--height", "64", "--width", "128"])
    assert options.methods == ["fixed"]
    assert shared == ["--height", "64", "--width", "128"]
    assert parse(["--out", "x"])[1] == []


@pytest.mark.parametrize(
    "arguments",
    [["--methods", "magic"], ["--", "--nonsense"], ["--jobs", "0"], ["--", "--seed", "5"], ["--", "--task=depth"]],
)
def test_wrong_command_lines(arguments, capsys):
    with pytest.raises(SystemExit) as info:
        parse(["--out", "x", *arguments])
    assert info.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


SCRIPTS = {
    "train_elite360m.py": (train_elite360m.main, train_parser),
    "eval_elite360m.py": (eval_elite360m.main, eval_parser),
}
SMALL = [
    *("--height", "32", "--width", "64", "--ico_level", "2", "--no_pretrained", "--num_workers", "0"),
    *("--num_train", "4", "--num_val", "2", "--batch_size", "2", "--num_epochs", "1"),
    *("--backbone", "timm:mobilenetv3_small_050"),
]


def call_script(script: str, arguments: list[str], *_) -> None:
    main, parser = SCRIPTS[script]
    main(parser().parse_args(arguments))


@pytest.fixture
def quick_starts(monkeypatch):
    """The scripts run in processes that have torch already, but for the first of each: importing it takes seconds."""
    launch, started = Training._launch, set()

    def start(self, script: str, arguments: list[str], threads: int) -> None:
        if script in started:
            return Launch(partial(call_script, script, arguments), 1).wait()
        started.add(script)
        return launch(self, script, arguments, threads)

    monkeypatch.setattr(Training, "_launch", start)


@pytest.mark.slow
def test_everything(quick_starts, tmp_path, capsys):
    """Trained, evaluated, written; a second call trains nothing again; a training that fails is named."""
    arguments = ["--out", str(tmp_path), "--num_test", "2", "--timed_steps", "1", "--seeds", "1", "--methods"]
    methods = ["fixed", "geometric", "b2f-corrected"]
    main([*arguments, *methods, "--", *SMALL])
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    results = json.loads((tmp_path / "comparison.json").read_text())
    single = results["single-task"]["metrics"][0]
    for name in methods:
        [metrics] = results[name]["metrics"]
        assert results[name]["gain"] == pytest.approx([gain(metrics, single)])
        assert results[name]["time"] > 0
    assert len({results[name]["metrics"][0]["depth"] for name in methods}) == 3, "they are different trainings"
    assert (tmp_path / "comparison.md").read_text().count("\n") == 2 + 1 + len(methods)

    [model] = (tmp_path / "fixed").rglob("last_model.pth")
    before = model.stat().st_mtime_ns
    main([*arguments, *methods, "--", *SMALL])
    assert model.stat().st_mtime_ns == before
    assert "fixed, seed 1" in capsys.readouterr().out
    with pytest.raises(UserError, match="--out"):
        main([*arguments, "fixed", "--", *SMALL, "--learning_rate", "1"])


def test_a_training_that_fails_is_named(tmp_path, monkeypatch):
    """By the last line that its script has printed; here the script is another, which fails at once."""
    script = "import sys\nsys.exit('a warning\\nerror: ' + ' '.join(sys.argv[-2:]))"
    (tmp_path / "train_elite360m.py").write_text(script)
    monkeypatch.setattr("benchmarks.balancing.ROOT", tmp_path)
    with pytest.raises(UserError, match=rf"train_elite360m.py for depth, seed 1: error: --log_dir {tmp_path}"):
        main(["--out", str(tmp_path / "out"), "--seeds", "1", "--methods", "fixed", "--", *SMALL])


def test_single_task_training_that_came_to_nothing():
    with pytest.raises(UserError, match="for segmentation"):
        gain(SINGLE, {**SINGLE, "segmentation": 0.0})

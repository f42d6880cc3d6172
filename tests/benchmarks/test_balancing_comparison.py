"""The comparison of balancing methods: its metrics against values computed by hand, and a run on a few small rooms."""

import json
import os
import signal

import pytest

import eval_elite360m
import train_elite360m
from benchmarks.balancing import Training, gain, main, parse, spread, table, train_all
from benchmarks.programs import PROGRAMS
from metrics.summary import summary_score
from options.achievement import BALANCING_RULES, parse_evaluation, parse_training
from options.balancing import balancing_settings
from options.elite360m import eval_parser, train_parser
from options.perspective import run_folder_of
from tasks import FOLDERS
from training.run_folder import RunFolder
from utils.errors import UserError
from utils.files import to_json

PANORAMAS, PERSPECTIVE = PROGRAMS["elite360m"], PROGRAMS["achievement"]
SINGLE = {"depth": {"rms": 0.5}, "normal": {"mean": 20.0}, "segmentation": {"mIoU": 0.4}}


def test_gain():
    """Depth is 10 % better (lower), normals 5 % worse (higher), mIoU 25 % better (higher): 10 % on average."""
    metrics = {"depth": {"rms": 0.45}, "normal": {"mean": 21.0}, "segmentation": {"mIoU": 0.5}}
    assert gain(PANORAMAS, metrics, SINGLE) == pytest.approx((10 - 5 + 25) / 3)
    assert gain(PANORAMAS, SINGLE, SINGLE) == 0


def test_gain_of_several_metrics():
    """Averaged per task first: segmentation +25 %, depth (+10 + 20) / 2, normals (-10 + 5 + 5) / 3."""
    single = {
        "segmentation": {"mIoU": 0.4},
        "depth": {"d1": 0.5, "rms": 1.0},
        "normal": {"11.25": 0.2, "mean": 20.0, "median": 10.0},
    }
    metrics = {
        "segmentation": {"mIoU": 0.5},
        "depth": {"d1": 0.55, "rms": 0.8},
        "normal": {"11.25": 0.18, "mean": 19.0, "median": 9.5},
    }
    assert gain(PERSPECTIVE, metrics, single) == pytest.approx((25 + 15 + 0) / 3)


def test_spread():
    assert spread([1.0], 2) == "1.00"
    assert spread([1.0, 3.0], 1) == "2.0 ± 1.4"  # the standard deviation of a sample


def test_table():
    summary = {
        "single-task": {"metrics": [SINGLE, SINGLE]},
        "fixed": {"metrics": [SINGLE, {**SINGLE, "depth": {"rms": 0.7}}], "gain": [0.0, -4.0], "time": 1.0},
    }
    rows = table(PANORAMAS, summary).splitlines()
    assert rows[0].startswith("| | depth rms (m) | normal mean (°) | segmentation mIoU |")
    assert rows[1].count("---") == rows[0].count("|") - 1
    assert rows[2] == "| single-task | 0.500 ± 0.000 | 20.00 ± 0.00 | 0.400 ± 0.000 | 0 |  |"
    assert rows[3] == "| fixed | 0.600 ± 0.141 | 20.00 ± 0.00 | 0.400 ± 0.000 | -2.0 ± 2.8 | 1.00 |"


def test_options_after_dashes():
    options, shared = parse(["--out", "x", "--methods", "fixed", "--", "--height", "64", "--width", "128"])
    assert options.methods == ["fixed"]
    assert shared == ["--height", "64", "--width", "128"]
    assert parse(["--out", "x"])[1] == []


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--methods", "magic"], ["--", "--nonsense"], ["--jobs", "0"], ["--", "--seed", "5"], ["--", "--task=depth"]),
        *(
            ["--program", "achievement", "--methods", "b2f-corrected"],
            ["--program", "achievement", "--", "--task", "x"],
        ),
        ["--program", "achievement", "--", "--app", "depth"],
    ],
)
def test_wrong_command_lines(arguments, capsys):
    with pytest.raises(SystemExit) as info:
        parse(["--out", "x", *arguments])
    assert info.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


MAINS = {
    "train_elite360m.py": (train_elite360m.main, train_parser),
    "eval_elite360m.py": (eval_elite360m.main, eval_parser),
}
SMALL = [
    *("--height", "32", "--width", "64", "--ico_level", "2", "--no_pretrained", "--num_workers", "0"),
    *("--num_train", "4", "--num_val", "2", "--batch_size", "2", "--num_epochs", "1"),
    *("--backbone", "timm:mobilenetv3_small_050"),
]
SMALL_PERSPECTIVE = [
    *("--train_dataset", "SyntheticNYU", "--num_classes", "13", "--size", "32", "48", "--num_workers", "0"),
    *("--basenet", "mobilenet_v2", "--normal_size", "8", "--no_pretrained", "--batch_size", "2"),
]


@pytest.fixture
def in_this_process(monkeypatch):
    """The scripts run in this process, as starting others is slow, but in a thread, which cannot handle signals."""

    def launch(self, script: str, arguments: list[str], threads: int) -> None:
        script_main, parser = MAINS[script]
        script_main(parser().parse_args(arguments))

    monkeypatch.setattr(Training, "_launch", launch)
    monkeypatch.setattr("signal.signal", lambda *_: signal.SIG_DFL)


@pytest.mark.slow
def test_small_comparison(in_this_process, tmp_path, capsys):
    """Trainings, evaluations and results; a second call reuses the trainings."""
    arguments = ["--out", str(tmp_path), "--num_test", "2", "--timed_steps", "1", "--seeds", "1", "--methods"]
    methods = ["fixed", "b2f-corrected"]
    main([*arguments, *methods, "--", *SMALL])
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    results = json.loads((tmp_path / "comparison.json").read_text())
    single = results["single-task"]["metrics"][0]
    for name in methods:
        [metrics] = results[name]["metrics"]
        assert results[name]["gain"] == pytest.approx([gain(PANORAMAS, metrics, single)])
        assert results[name]["time"] > 0
    assert len({results[name]["metrics"][0]["depth"]["rms"] for name in methods}) == 2, "trainings must differ"
    assert (tmp_path / "comparison.md").read_text().count("\n") == 2 + 1 + len(methods)

    [model] = (tmp_path / "fixed").rglob("last_model.pth")
    before = model.stat().st_mtime_ns
    capsys.readouterr()
    train_all(*parse([*arguments, *methods, "--", *SMALL]))
    assert model.stat().st_mtime_ns == before
    assert "fixed, seed 1" in capsys.readouterr().out
    with pytest.raises(UserError, match="--out"):
        main([*arguments, "fixed", "--", *SMALL, "--learning_rate", "1"])


ACCURACIES = {"segmentation": 0.3, "depth": 0.6, "normal": 0.2}  # of the fake trainings
METRICS = {
    "segmentation": {"mIoU": 0.25},
    "depth": {"d1": 0.5, "rms": 1.0},
    "normal": {"11.25": 0.2, "mean": 20.0, "median": 10.0},
}


@pytest.fixture
def potentials(monkeypatch) -> dict[str, dict[str, float]]:
    """Replaces the second program's scripts by the files that they write; returns the potentials of each training."""
    potentials = {}

    def launch(self, script: str, arguments: list[str], threads: int) -> None:
        train = script == "train_achievement.py"
        options = (parse_training if train else parse_evaluation)(arguments)
        run = RunFolder(run_folder_of(options), FOLDERS)
        if not train:
            assert options.num_val == 3
            run.root.joinpath("evaluation_test").mkdir(parents=True)
            results = {task: METRICS[task] for task in options.app}
            return run.root.joinpath("evaluation_test/results.json").write_text(json.dumps({"results": results}))
        settings = balancing_settings(options, dict.fromkeys(options.app, 1), BALANCING_RULES)
        potentials[self.name] = settings.get("potential")
        run.settings.parent.mkdir(parents=True)
        run.settings.write_text(to_json({"options": vars(options)}))
        lines = [{"epoch": 1, f"accuracy/{task}": ACCURACIES[task]} for task in options.app]
        run.metrics.write_text("".join(f"{json.dumps(line)}\n" for line in [{"step": 1, "weight/depth": 1}, *lines]))

    monkeypatch.setattr(Training, "_launch", launch)
    return potentials


@pytest.mark.slow  # loads matplotlib and renders rooms
def test_second_program(potentials, tmp_path):
    """Potentials are the accuracies of the single-task trainings; the score summarizes all three tasks."""
    arguments = ["--program", "achievement", "--out", str(tmp_path), "--num_test", "3", "--timed_steps", "1"]
    main([*arguments, "--seeds", "1", "--methods", "fixed", "achievement", "--", *SMALL_PERSPECTIVE])
    assert potentials == {**dict.fromkeys((*ACCURACIES, "fixed")), "achievement": ACCURACIES}
    results = json.loads((tmp_path / "comparison.json").read_text())
    for name in ("single-task", "fixed", "achievement"):
        assert results[name]["metrics"] == [METRICS]
        assert results[name]["score"] == [pytest.approx(summary_score(METRICS))]
    assert results["achievement"]["gain"] == [0]
    assert results["achievement"]["time"] > 0
    rows = (tmp_path / "comparison.md").read_text().splitlines()
    heads = "segmentation mIoU | depth d1 | depth rms (m) | normal 11.25 | normal mean (°) | normal median (°) | score"
    assert rows[0].startswith(f"| | {heads} |")
    assert rows[4].startswith("| achievement | 0.250 | 0.500 | 1.000 | 0.200 | 20.00 | 10.00 | ")


def test_failing_script(tmp_path, monkeypatch):
    """The error names the script and the training, and quotes the last line of stderr; other scripts run before."""
    (tmp_path / "train_elite360m.py").write_text("import os\nopen('threads', 'w').write(os.environ['OMP_NUM_THREADS'])")
    script = "import sys\nsys.exit('a warning\\nerror: ' + ' '.join(sys.argv[-2:]))"
    (tmp_path / "eval_elite360m.py").write_text(script)
    monkeypatch.setattr("benchmarks.balancing.ROOT", tmp_path)
    with pytest.raises(UserError, match=r"eval_elite360m.py for depth, seed 1: error: --log_frequency"):
        main(["--out", str(tmp_path / "out"), "--seeds", "1", "--methods", "fixed", "--", *SMALL])
    assert (tmp_path / "threads").read_text() == str(os.cpu_count())


def test_single_task_metric_of_zero():
    with pytest.raises(UserError, match="for segmentation"):
        gain(PANORAMAS, SINGLE, {**SINGLE, "segmentation": {"mIoU": 0.0}})

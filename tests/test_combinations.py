"""Every task subset, backbone, ablation and balancing method through the scripts: two steps of training and more."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import eval_elite360m
import predict_elite360m
import train_elite360m
from datasets.synthetic import SyntheticRooms
from losses.balancing import BALANCINGS
from networks.backbones import BACKBONES
from utils.checkpoint import load_checkpoint
from utils.errors import UserError
from utils.options import eval_parser, predict_parser, train_parser
from utils.tasks import TASK_VALUES, parse_tasks
from utils.visualize import save_picture

SIZE = ["--height", "32", "--width", "64", "--num_workers", "0", "--dataset", "Synthetic", "--num_val", "1"]
TWO_STEPS = ["--num_train", "4", "--batch_size", "2", "--num_epochs", "1", "--ico_level", "2", "--no_pretrained"]
POTENTIAL = ["--potential", "depth=0.8", "normal=0.6", "segmentation=0.5"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> list[str]:
    """Rooms are rendered once for all tests."""
    return ["--cache_dir", str(tmp_path_factory.mktemp("cache"))]


def train(log_dir: Path, *more: str) -> Path:
    options = train_parser().parse_args([*SIZE, *TWO_STEPS, "--log_dir", str(log_dir), *more])
    train_elite360m.main(options)
    return log_dir / options.task / options.backbone.replace(":", "_")


def evaluate(weights: Path, log_dir: Path, *more: str) -> dict:
    options = eval_parser().parse_args([*SIZE, "--load_weights_dir", str(weights), "--log_dir", str(log_dir), *more])
    eval_elite360m.main(options)
    folder = log_dir / options.backbone.replace(":", "_") / options.task
    return json.loads((folder / "results.json").read_text())["results"]


def lines_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def panorama(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "room.png"
    save_picture(path, SyntheticRooms("test", 1, 32, 64).read(0).rgb)
    return path


@pytest.mark.parametrize("task", TASK_VALUES)
def test_tasks(task, cache, panorama, tmp_path):
    """Trained, evaluated, and used for prediction."""
    run = train(tmp_path / "train", *cache, "--task", task)
    assert set(evaluate(tmp_path / "train", tmp_path / "test", *cache, "--task", task)) == set(parse_tasks(task))
    arguments = ["--checkpoint", str(run), "--input", str(panorama), "--out", str(tmp_path / "out")]
    predict_elite360m.main(predict_parser().parse_args(arguments))
    assert list((tmp_path / "out").iterdir())


SMALL_BACKBONES = ["Elite360M_Res34", "timm:mobilenetv3_small_100"]
LARGE_BACKBONES = [name for name in BACKBONES if name not in ("Elite360M_Res18", *SMALL_BACKBONES)]


@pytest.mark.parametrize(
    "backbone", [*SMALL_BACKBONES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_BACKBONES)]
)
def test_backbones(backbone, cache, tmp_path):
    """Trained, and evaluated from the folder of the training."""
    run = train(tmp_path / "train", *cache, "--backbone", backbone)
    assert load_checkpoint(run / "models/weights_last/last_model.pth").settings.backbone == backbone
    assert evaluate(tmp_path / "train", tmp_path / "test", *cache, "--backbone", backbone)["depth"]["rms"] > 0


@pytest.mark.parametrize(
    "flags",
    [
        ["--fusion", "semantic"],
        ["--fusion", "distance"],
        ["--fusion", "none"],
        ["--b2f", "corrected"],
        ["--fusion", "semantic", "--b2f", "corrected"],
        ["--cross_task", "none"],
        ["--no_intermediate_losses"],
        ["--ico_level", "3"],
        ["--fusion", "none", "--cross_task", "none", "--no_intermediate_losses", "--task", "depth_normal"],
    ],
    ids=" ".join,
)
def test_ablations(flags, cache, tmp_path):
    """Trained, written down, and built again from the checkpoint alone."""
    run = train(tmp_path / "train", *cache, *flags)
    options = vars(train_parser().parse_args(flags))
    written = json.loads((run / "models/settings.json").read_text())["options"]
    assert all(written[name] == options[name] for name in ("fusion", "b2f", "cross_task", "no_intermediate_losses"))
    settings = load_checkpoint(run / "models/weights_last/last_model.pth").settings
    assert (settings.fusion, settings.b2f, settings.cross_task) == (
        *(options["fusion"], options["b2f"], options["cross_task"]),
    )
    assert evaluate(run, tmp_path / "test", *cache, "--task", options["task"])["depth"]["rms"] > 0
    figures = lines_of(run)[0]
    assert ("loss/intermediate_depth" in figures) == settings.intermediate


@pytest.mark.parametrize("name", BALANCINGS)
def test_balancing(name, cache, tmp_path):
    """Trained; its weights and the accuracies are told; its state is in the checkpoint."""
    potential = POTENTIAL if "potential" in BALANCINGS[name].options else []
    run = train(tmp_path, *cache, "--balancing", name, *potential)
    lines = lines_of(run)
    assert {"weight/depth", "weight/normal", "weight/segmentation", "loss/total"} <= lines[0].keys()
    assert [task for task in ("depth", "normal", "segmentation") if any(f"accuracy/{task}" in x for x in lines)]
    checkpoint = load_checkpoint(run / "models/weights_last/last_model.pth")
    assert checkpoint.balancing == name
    assert json.loads((run / "models/settings.json").read_text())["balancing"]["name"] == name
    if potential:
        assert checkpoint.weighting["_goals"].tolist() == pytest.approx([0.84, 0.63, 0.525])
        assert checkpoint.weighting["_accuracies"].isfinite().all()


@pytest.mark.parametrize("name", ["dwa", "achievement", "gradnorm", "nash-mtl"])
def test_a_method_goes_on_where_it_was(name, cache, tmp_path):
    """Stopped after the first of two epochs, with a step of the second: the same weights as without a stop."""
    flags = [*cache, "--balancing", name, "--num_epochs", "2", "--save_steps", "1"]
    flags += POTENTIAL if name == "achievement" else []
    whole = train(tmp_path / "whole", *flags)
    step, stopped = train_elite360m.Stepper.step, []

    def stopping(self, *arguments, **named):
        stopped.append(1)
        return replace(step(self, *arguments, **named), stop=len(stopped) == 3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_elite360m.Stepper, "step", stopping)
        train(tmp_path / "stopped", *flags)
    run = train(tmp_path / "stopped", *flags, "--resume")
    ours, theirs = (load_checkpoint(x / "models/weights_last/last_model.pth") for x in (run, whole))
    assert all((ours.weighting[key] == value).all() for key, value in theirs.weighting.items())
    assert all((ours.network[key] == value).all() for key, value in theirs.network.items())


def test_resuming_with_another_method_is_refused(cache, tmp_path):
    train(tmp_path, *cache, "--balancing", "fixed")
    with pytest.raises(UserError, match="--balancing is dwa, but was fixed"):
        train(tmp_path, *cache, "--balancing", "dwa", "--resume")
    with pytest.raises(UserError, match="--loss_weights"):
        train(tmp_path, *cache, "--balancing", "fixed", "--loss_weights", "depth=7", "--resume")


def test_potentials_from_single_task_trainings(cache, tmp_path):
    """The highest accuracy of each; --potential overrules."""
    runs = []
    for task, accuracies in (("depth", (0.3, 0.7, 0.6)), ("normal", (0.4,)), ("segmentation", (0.1, 0.2))):
        runs.append(tmp_path / task)
        runs[-1].mkdir()
        lines = [{"step": 1, "loss/total": 2.0}, *({f"accuracy/{task}": a, "epoch": 1} for a in accuracies)]
        (runs[-1] / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = ["--balancing", "achievement", "--potential_from", *map(str, runs)]
    run = train(tmp_path / "out", *cache, *flags, "--potential", "normal=0.5")
    written = json.loads((run / "models/settings.json").read_text())["balancing"]
    assert written["potential"] == {"depth": 0.7, "normal": 0.5, "segmentation": 0.2}
    assert (written["margin"], written["focusing_factor"]) == (0.05, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--balancing", "achievement"], "needs the accuracy of single-task training for depth, normal, segmentation"),
        (
            ["--balancing", "achievement", "--potential", "depth=1.5", *POTENTIAL[2:]],
            "depth=1.5; accuracies are shares",
        ),
        (["--balancing", "achievement", "--potential_from", "/nowhere"], "there is no /nowhere/metrics.jsonl"),
        (["--balancing", "fixed", *POTENTIAL], "--potential is for --balancing achievement, achievement-arithmetic"),
        (["--balancing", "fixed", "--margin", "0.1"], "--margin is for --balancing achievement"),
        (["--balancing", "dwa", "--focusing_factor", "1"], "--focusing_factor is for --balancing dtp, dtp-geometric"),
        (["--balancing", "fixed", "--loss_weights", "depth=1", "depth=2"], "a task is told twice"),
        (["--balancing", "fixed", "--loss_weights", "depth=0", "normal=0", "segmentation=0"], "all are 0"),
        (["--balancing", "dwa", "--loss_weights", "depth=1"], "--loss_weights is for --balancing fixed, not for dwa"),
        (["--balancing", "fixed", "--loss_weights", "normal=1", "--task", "depth"], "the tasks are depth"),
        (["--fusion", "none", "--b2f", "corrected"], "leave one of them"),
        (["--backbone", "timm:vit_tiny_patch16_224"], "features at strides 16, 16, 16, but none at 4, 8, 32"),
        (["--balancing", "upgrad", "--amp", "fp16"], "say --amp bf16 or off"),
    ],
)
def test_what_does_not_go_together(flags, message, cache, tmp_path):
    with pytest.raises(UserError, match=message):
        train(tmp_path, *cache, *flags)
    assert not list(tmp_path.rglob("*.pth")), "nothing is written"


def test_potentials_from_the_wrong_run(cache, tmp_path):
    for name, text, message in (
        ("several", '{"accuracy/depth": 0.5}\n{"accuracy/normal": 0.5}\n', "validated for depth, normal"),
        ("none", '{"loss/total": 1}\n', "validated for no task"),
        ("damaged", '{"accuracy/depth": 0.5}\n{"accu\n', "is damaged"),
        ("foreign", "7\n", "is damaged"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text)
        with pytest.raises(UserError, match=message):
            train(tmp_path, *cache, "--balancing", "achievement", "--potential_from", str(tmp_path / name))

"""Task subsets, backbones, ablations and kinds of balancing methods through the scripts, with one or two steps."""

import json
from pathlib import Path

import pytest

import eval_elite360m
import predict_elite360m
import train_elite360m
from datasets.synthetic import SyntheticRooms
from losses.balancing import BALANCINGS
from networks.backbones import BACKBONES
from networks.checkpoint import load_checkpoint
from options.elite360m import eval_parser, train_parser
from options.panorama_prediction import predict_parser
from tests.tiny import assert_identical
from utils.errors import UserError
from utils.tasks import TASK_VALUES, parse_tasks
from visual.drawing import save_image

pytestmark = pytest.mark.slow  # many short tests

SIZE = ["--height", "32", "--width", "64", "--num_workers", "0", "--dataset", "Synthetic", "--num_val", "1"]
SIZE += ["--backbone", "timm:test_efficientnet"]
ONE_STEP = ["--num_train", "2", "--batch_size", "2", "--num_epochs", "1", "--ico_level", "2", "--no_pretrained"]
SMALLEST = ["--fusion", "none", "--num_train", "4", "--log_frequency", "1"]
POTENTIAL = ["--potential", "depth=0.8", "normal=0.6", "segmentation=0.5"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> list[str]:
    """Renders rooms only once for all tests."""
    return ["--cache_dir", str(tmp_path_factory.mktemp("cache"))]


def train(log_dir: Path, *more: str) -> Path:
    options = train_parser().parse_args([*SIZE, *ONE_STEP, "--log_dir", str(log_dir), *more])
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
    path = tmp_path_factory.mktemp("images") / "room.png"
    save_image(path, SyntheticRooms("test", 1, 32, 64).read(0).rgb)
    return path


@pytest.mark.parametrize("task", TASK_VALUES)
def test_tasks(task, cache, panorama, tmp_path):
    """Training, evaluation and prediction."""
    run = train(tmp_path / "train", *cache, "--fusion", "none", "--task", task)
    assert set(evaluate(tmp_path / "train", tmp_path / "test", *cache, "--task", task)) == set(parse_tasks(task))
    arguments = ["--checkpoint", str(run), "--input", str(panorama), "--out", str(tmp_path / "out")]
    predict_elite360m.main(predict_parser().parse_args(arguments))
    assert list((tmp_path / "out").iterdir())


DEFAULT_BACKBONE = "Elite360M_Res18"
# SwinB is a larger SwinT, with 88 M weights.
LARGE_BACKBONES = [name for name in BACKBONES if name not in (DEFAULT_BACKBONE, "Elite360M_SwinB")]


@pytest.mark.parametrize("backbone", [DEFAULT_BACKBONE, *LARGE_BACKBONES])
def test_backbones(backbone, cache, tmp_path):
    """Training, and evaluation from --log_dir of the training."""
    run = train(tmp_path / "train", *cache, "--backbone", backbone)
    assert load_checkpoint(run / "models/weights_last/last_model.pth").settings.backbone == backbone
    assert evaluate(tmp_path / "train", tmp_path / "test", *cache, "--backbone", backbone)["depth"]["rms"] > 0


@pytest.mark.parametrize(
    "flags",
    [
        ["--fusion", "semantic"],
        ["--fusion", "distance"],
        ["--b2f", "corrected"],
        ["--cross_task", "none"],
        ["--no_intermediate_losses"],
        ["--ico_level", "3"],
        ["--fusion", "none", "--cross_task", "none", "--no_intermediate_losses", "--task", "depth_normal"],
    ],
    ids=" ".join,
)
def test_ablations(flags, cache, tmp_path):
    """The checkpoint contains the ablation; evaluation builds the same network from it."""
    run = train(tmp_path / "train", *cache, *flags)
    options = vars(train_parser().parse_args(flags))
    written = json.loads((run / "models/settings.json").read_text())["options"]
    assert all(written[name] == options[name] for name in ("fusion", "b2f", "cross_task", "no_intermediate_losses"))
    settings = load_checkpoint(run / "models/weights_last/last_model.pth").settings
    assert (settings.fusion, settings.b2f, settings.cross_task) == (
        *(options["fusion"], options["b2f"], options["cross_task"]),
    )
    assert evaluate(run, tmp_path / "test", *cache, "--task", options["task"])["depth"]["rms"] > 0
    assert ("loss/intermediate_depth" in lines_of(run)[0]) == settings.intermediate


# One of each kind: learned weights, a product, weights from accuracies and from gradient norms, combined gradients.
KINDS = ["uncertainty", "geometric", "achievement", "gradnorm", "nash-mtl"]


def potential_for(name: str) -> list[str]:
    return POTENTIAL if "potential" in BALANCINGS[name].options else []


@pytest.mark.parametrize("name", KINDS)
def test_balancing(name, cache, tmp_path):
    """Weights and accuracies are logged; the state of the method is in the checkpoint."""
    run = train(tmp_path, *cache, *SMALLEST, "--balancing", name, *potential_for(name))
    lines = lines_of(run)
    assert {"weight/depth", "weight/normal", "weight/segmentation", "loss/total"} <= lines[0].keys()
    assert {"accuracy/depth", "accuracy/normal", "accuracy/segmentation"} <= set().union(*lines)
    checkpoint = load_checkpoint(run / "models/weights_last/last_model.pth")
    assert checkpoint.balancing == name
    assert json.loads((run / "models/settings.json").read_text())["balancing"]["name"] == name
    if name == "achievement":
        assert checkpoint.weighting["_goals"].tolist() == pytest.approx([0.84, 0.63, 0.525])
        assert checkpoint.weighting["_accuracies"].isfinite().all()


def test_resuming_a_method(cache, tmp_path):
    """Stopped after the first step of the second of two epochs: the same weights as without stopping.

    For the other methods see tests/training.
    """
    flags = [*cache, *SMALLEST, "--balancing", "achievement", *POTENTIAL]
    whole = train(tmp_path / "whole", *flags, "--num_epochs", "2")
    train(tmp_path / "stopped", *flags)
    train(tmp_path / "stopped", *flags, "--num_epochs", "2", "--resume", "--max_minutes", "0")
    run = train(tmp_path / "stopped", *flags, "--num_epochs", "2", "--resume")
    ours, theirs = (load_checkpoint(x / "models/weights_last/last_model.pth") for x in (run, whole))
    assert_identical(ours.weighting, theirs.weighting)
    assert_identical(ours.network, theirs.network)
    assert [line["step"] for line in lines_of(run) if "loss/total" in line][-1] == 4


def test_resuming_with_another_method(cache, tmp_path):
    train(tmp_path, *cache, *SMALLEST, "--balancing", "fixed", "--max_minutes", "0")
    for flags in (["--balancing", "dwa"], ["--balancing", "fixed", "--loss_weights", "depth=7"]):
        with pytest.raises(UserError) as info:
            train(tmp_path, *cache, *SMALLEST, *flags, "--resume")
        assert flags[-2] in str(info.value)


def write_settings(run: Path, *flags: str) -> None:
    """The settings.json of a training with these flags."""
    options = vars(train_parser().parse_args([*SIZE, *ONE_STEP, *flags]))
    (run / "models").mkdir()
    (run / "models/settings.json").write_text(json.dumps({"options": options}))


def test_potentials_from_single_task_trainings(cache, tmp_path):
    """The highest accuracy of each run; --potential overrides it."""
    runs = []
    for task, accuracies in (("depth", (0.3, 0.7, 0.6)), ("normal", (0.4,)), ("segmentation", (0.1, 0.2))):
        runs.append(tmp_path / task)
        runs[-1].mkdir()
        lines = [{"step": 1, "loss/total": 2.0}, *({f"accuracy/{task}": a, "epoch": 1} for a in accuracies)]
        (runs[-1] / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        write_settings(runs[-1], *cache)
    flags = ["--balancing", "achievement", "--potential_from", *map(str, runs)]
    run = train(tmp_path / "out", *cache, *SMALLEST, *flags, "--potential", "normal=0.5", "--max_minutes", "0")
    written = json.loads((run / "models/settings.json").read_text())["balancing"]
    assert written["potential"] == {"depth": 0.7, "normal": 0.5, "segmentation": 0.2}
    assert (written["margin"], written["focusing_factor"]) == (0.05, 2)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--balancing", "achievement"], ["achievement", "depth", "normal", "segmentation", "--potential_from"]),
        (["--balancing", "achievement", "--potential", "depth=1.5", *POTENTIAL[2:]], ["--potential", "depth=1.5"]),
        (["--balancing", "achievement", "--potential", "depth=0.5", "depth=0.6"], ["--potential", "depth=0.6"]),
        (["--balancing", "achievement", "--potential_from", "/nowhere"], ["--potential_from", "/nowhere"]),
        (["--balancing", "fixed", *POTENTIAL], ["--potential", "achievement", "achievement-arithmetic", "fixed"]),
        (["--balancing", "fixed", "--margin", "0.1"], ["--margin", "achievement", "fixed"]),
        (["--balancing", "dwa", "--focusing_factor", "1"], ["--focusing_factor", "dtp", "dtp-geometric", "dwa"]),
        (["--balancing", "fixed", "--loss_weights", "depth=1", "depth=2"], ["--loss_weights", "depth"]),
        (["--balancing", "fixed", "--loss_weights", "depth=0", "normal=0", "segmentation=0"], ["--loss_weights", "0"]),
        (["--balancing", "dwa", "--loss_weights", "depth=1"], ["--loss_weights", "fixed", "dwa"]),
        (["--balancing", "fixed", "--loss_weights", "normal=1", "--task", "depth"], ["--loss_weights", "normal"]),
        (["--fusion", "none", "--b2f", "corrected"], ["--fusion", "--b2f"]),
        (["--backbone", "timm:vit_tiny_patch16_224"], ["timm:vit_tiny_patch16_224", "16, 16, 16", "4, 8, 32"]),
        (["--balancing", "upgrad", "--amp", "fp16"], ["--balancing upgrad", "--amp"]),
    ],
)
def test_incompatible_options(flags, words, cache, tmp_path):
    with pytest.raises(UserError) as info:
        train(tmp_path, *cache, *flags)
    assert [word for word in words if word not in str(info.value)] == []
    assert not list(tmp_path.iterdir()), "not even a folder is written"


def test_potentials_from_unsuitable_runs(cache, tmp_path):
    for name, text, words in (
        ("several", '{"accuracy/depth": 0.5}\n{"accuracy/normal": 0.5}\n', ["depth", "normal"]),
        ("none", '{"loss/total": 1}\n', []),
        ("damaged", '{"accuracy/depth": 0.5}\n{"accu\n', ["metrics.jsonl"]),
        ("foreign", "7\n", ["metrics.jsonl"]),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text)
        with pytest.raises(UserError) as info:
            train(tmp_path, *cache, "--balancing", "achievement", "--potential_from", str(tmp_path / name))
        expected = ["--potential_from", str(tmp_path / name), *words]
        assert [word for word in expected if word not in str(info.value)] == []


def single_task_run(folder: Path, task: str, *flags: str) -> str:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(json.dumps({f"accuracy/{task}": 0.5}) + "\n")
    write_settings(folder, *flags)
    return str(folder)


def test_two_potentials_for_a_task(cache, tmp_path):
    runs = [single_task_run(tmp_path / name, "depth", *cache) for name in ("first", "second")]
    with pytest.raises(UserError, match=r"--potential_from .*second.*depth"):
        train(tmp_path / "out", *cache, "--balancing", "achievement", "--potential_from", *runs)


def test_a_potential_for_another_task(cache, tmp_path):
    run = single_task_run(tmp_path / "run", "depth", *cache)
    with pytest.raises(UserError, match=r"--potential_from .*run.*depth.*normal"):
        train(tmp_path / "out", *cache, "--task", "normal", "--balancing", "achievement", "--potential_from", run)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--dataset", "S2D3D"], "--dataset"),
        (["--height", "64", "--width", "128"], "--height"),
        (["--val_split", "val"], "--val_split"),
        (["--num_val", "9"], "--num_val"),
        (["--metric_depth"], "--metric_depth"),
    ],
)
def test_potentials_from_another_validation(cache, tmp_path, flags, named):
    run = single_task_run(tmp_path / "run", "depth", *cache, *flags)
    with pytest.raises(UserError, match=f"--potential_from {run}.*{named}"):
        train(tmp_path / "out", *cache, "--balancing", "achievement", "--potential_from", run)


def test_a_potential_from_an_unknown_validation(cache, tmp_path):
    run = single_task_run(tmp_path / "run", "depth", *cache)
    (tmp_path / "run/models/settings.json").unlink()
    with pytest.raises(UserError, match=r"--potential_from .*settings\.json"):
        train(tmp_path / "out", *cache, "--balancing", "achievement", "--potential_from", run)

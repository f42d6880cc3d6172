"""The option files of cfg/ from end to end, on small images in the owners' layouts; joint training; teachers."""

import json
from functools import partial
from pathlib import Path

import pytest
import torchvision
from torch.nn import BatchNorm2d
from torchvision.models.efficientnet import EfficientNet, _efficientnet_conf
from torchvision.models.resnet import Bottleneck, ResNet

import eval_achievement
import train_achievement
from datasets.preparation.detection_layouts import write_detection_dataset
from datasets.preparation.nyu_layouts import write_nyu_dataset
from datasets.preparation.voc_lists import prepare
from losses.balancing import BALANCINGS
from networks.achievement_checkpoint import load_achievement_checkpoint
from options.achievement import parse_evaluation, parse_training
from options.perspective import run_folder_of
from tasks.perspective import PERSPECTIVE_FOLDERS
from tests.processes import Launch
from training.run_folder import RunFolder
from utils.errors import UserError

ROOT = Path(__file__).parents[1]
CFG_FILES = {str(path.relative_to(ROOT / "cfg")): path for path in sorted((ROOT / "cfg").glob("*/*/*.cfg"))}
ONE_STEP = ["--max_minutes", "0"]
JOINT = [
    *("--app", "detection", "segmentation", "depth", "--arch", "VMM", "--basenet", "mobilenet_v2"),
    *("--train_dataset", "VOC", "NYU", "--size", "32", "48", "--normal_size", "8", "--num_workers", "0"),
    *("--cls_head", "sigmoid", "--iou_aware_cls", "--warmup_epoch", "0", "--no_pretrained", "--lr", "0.05"),
]
POTENTIAL = ["--potential", "0.5", "0.7", "0.9"]


@pytest.fixture(scope="module")
def owners_files(tmp_path_factory):
    """Images in the layouts of all datasets on disk; NYU_MT's is in a separate folder."""
    root = tmp_path_factory.mktemp("data")
    write_nyu_dataset("NYUv2-M", 2, root / "NYUD_MT", 96)
    for layout, folder in (("VOC", "VOC"), ("COCO", "COCO"), ("NYU_BTS", "NYU")):
        write_detection_dataset(layout, 4, root / folder, 48)
    prepare(root / "VOC", root / "VOC" / "benchmark_RELEASE")
    return root


@pytest.fixture
def shallow_backbones(monkeypatch):
    """Backbones with one block per stage, but with all features: large checkpoints would take most of the time."""
    get_model = torchvision.models.get_model

    def shallow(name: str, **arguments):
        if name == "resnet50":
            return ResNet(
                Bottleneck,
                [1, 1, 1, 1],
                width_per_group=4,
                replace_stride_with_dilation=arguments["replace_stride_with_dilation"],
            )
        if name == "efficientnet_v2_s":
            stages, last_channel = _efficientnet_conf(name)
            for stage in stages:
                stage.num_layers = 1
            return EfficientNet(
                stages, dropout=0.0, last_channel=last_channel, norm_layer=partial(BatchNorm2d, eps=1e-3)
            )
        return get_model(name, **arguments)

    monkeypatch.setattr(torchvision.models, "get_model", shallow)


@pytest.mark.slow
@pytest.mark.parametrize("name", CFG_FILES)
def test_cfg_files(name, owners_files, shallow_backbones, tmp_path):
    """As in the documentation, but smaller: stopped after one step, resumed to two epochs, evaluated."""
    data = owners_files / "NYUD_MT" if parse_training([str(CFG_FILES[name])]).train_dataset == "NYUv2" else owners_files
    cfg = [str(CFG_FILES[name]), "--dataset_root", str(data), "--root_folder", str(tmp_path)]
    small = ["--size", "32", "48", "--normal_size", "8", "--batch_size", "2", "--num_workers", "0", "--amp", "off"]
    training = [*cfg, *small, "--no_pretrained", "--max_epoch", "2"]
    train_achievement.main(parse_training([*training, *ONE_STEP]))
    options = parse_training([*training, "--resume"])
    train_achievement.main(options)
    run = RunFolder(run_folder_of(options), PERSPECTIVE_FOLDERS)
    assert load_achievement_checkpoint(run.last_model).epoch == 2
    assert run.best_of_all.is_file()
    options = parse_evaluation([*cfg, *small, "--ckpt", str(run.best_of_all)])
    eval_achievement.main(options)
    results = json.loads((run.root / "evaluation_test" / "results.json").read_text())
    assert results["results"].keys() == set(options.app)
    assert results["source"]["classes"] in (0, 13, 21, 81)
    assert ("mAP_coco" in results["results"].get("detection", {})) == (
        "COCO" in options.test_dataset and "detection" in options.app
    )


def train_jointly(data: Path, root_folder: Path, *more: str) -> RunFolder:
    options = parse_training([*JOINT, "--dataset_root", str(data), "--root_folder", str(root_folder), *more])
    train_achievement.main(options)
    return RunFolder(run_folder_of(options), PERSPECTIVE_FOLDERS)


def train_in_process(data: Path, root_folder: Path, more: list[str], *_) -> None:
    train_jointly(data, root_folder, *more)


def assert_finite(run: RunFolder) -> None:
    network = load_achievement_checkpoint(run.last_model).network
    assert all(value.isfinite().all() for value in network.values())


@pytest.fixture(scope="module")
def more_images(owners_files, tmp_path_factory):
    """96 images of VOC, for long epochs with few validations, and the images of NYU."""
    root = tmp_path_factory.mktemp("more")
    write_detection_dataset("VOC", 96, root / "VOC", 48)
    prepare(root / "VOC")
    (root / "NYU").symlink_to(owners_files / "NYU")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2])
def test_joint_training_stays_finite(more_images, tmp_path, num_processes):
    """50 steps with a product of losses, on pairs of images many of which lack labels of a task."""
    # 100 images per epoch, half of them from NYU: 50 steps with one process, 25 with two.
    more = ["--batch_size", "2", "--max_epoch", str(num_processes), "--display_freq", "1", "--mix_ratio", "1", "1"]
    more += ["--loss_metric", "amtl", *POTENTIAL]
    Launch(partial(train_in_process, more_images, tmp_path, more), num_processes).wait()
    [metrics] = tmp_path.glob("*/test/metrics.jsonl")
    run = RunFolder(metrics.parent, PERSPECTIVE_FOLDERS)
    assert_finite(run)
    lines = [line for line in map(json.loads, metrics.open()) if "loss/total" in line]
    assert max(line["step"] for line in lines) >= 50
    assert all(line["loss/total"] is not None for line in lines), "NaN would be null"
    if num_processes == 1:
        missing = [line for line in lines if 0 in (line["loss/depth"], line["loss/detection"])]
        assert len(missing) >= 5, "there are batches without labels of a task"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uncertainty", "achievement", "gradnorm", "upgrad"])
def test_steps_without_labels_of_a_task(owners_files, tmp_path, name):
    """With single images, each step lacks labels of some task. For all methods see training/test_balancing_steps.py."""
    options = ["--batch_size", "1", "--max_epoch", "1", "--loss_metric", name]
    if "potential" in BALANCINGS[name].options:
        options += POTENTIAL
    run = train_jointly(owners_files, tmp_path, *options, "--max_bad_steps", "1")
    assert_finite(run)
    assert run.last_model.is_file(), "no step was skipped"


@pytest.mark.slow
def test_evaluation_on_several_datasets(owners_files, tmp_path):
    """The results equal those on each dataset."""
    run = train_jointly(owners_files, tmp_path, "--batch_size", "2", "--mix_ratio", "3", "1", "--max_epoch", "1")
    results = {}
    for data, tasks in (
        ("VOC NYU", "detection segmentation depth"),
        ("VOC", "detection segmentation"),
        ("NYU", "depth"),
    ):
        arguments = [*JOINT, "--dataset_root", str(owners_files), "--root_folder", str(tmp_path / data)]
        arguments += ["--test_dataset", *data.split(), "--app", *tasks.split(), "--ckpt", str(run.root)]
        options = parse_evaluation(arguments)
        eval_achievement.main(options)
        content = json.loads((run_folder_of(options) / "evaluation_test" / "results.json").read_text())
        results[data] = content["results"]
        assert content["num_images"] == {"VOC NYU": 7, "VOC": 3, "NYU": 4}[data]
    assert results["VOC NYU"] == results["VOC"] | results["NYU"]


@pytest.mark.slow
def test_teachers(owners_files, tmp_path):
    """With a teacher for depth, images of VOC have a depth loss. Other teachers are rejected."""
    small = ["--batch_size", "2", "--max_epoch", "1", "--display_freq", "1"]
    teacher = train_jointly(owners_files, tmp_path / "teacher", *small, "--app", "depth", "--train_dataset", "NYU")
    both = ["--app", "detection", "depth", "--train_dataset", "VOC", "NYU"]
    runs = {}
    for name, more in (("without", []), ("with", ["--teacher", str(teacher.root)])):
        runs[name] = train_jointly(owners_files, tmp_path / name, *small, *both, *more)
    losses = {
        name: [line["loss/depth"] for line in map(json.loads, run.metrics.open()) if "loss/depth" in line]
        for name, run in runs.items()
    }
    assert 0 in losses["without"], "there are batches with only VOC"
    assert all(value > 0 for value in losses["with"])
    with pytest.raises(UserError, match="--teacher"):
        train_jointly(owners_files, tmp_path / "x", *small, "--app", "detection", "--train_dataset", "VOC",
                      "--teacher", str(teacher.root))  # fmt: skip
    with pytest.raises(UserError, match="--teacher"):
        train_jointly(owners_files, tmp_path / "x", *small, *both, "--teacher", str(runs["with"].root))
    with pytest.raises(UserError, match="teachers"):
        train_jointly(owners_files, tmp_path / "with", *small, *both, "--teacher", str(teacher.best_model("depth")),
                      "--resume")  # fmt: skip
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--train_dataset", "NYU"], "--app"),
        (["--app", "depth"], "--train_dataset"),
        (["--mix_ratio", "1"], "--mix_ratio"),
        (["--dataset_root", "./nowhere"], "--dataset_root"),
        (["--test_dataset", "VOC"], "--app"),
        (["--test_dataset", "VOC", "COCO", "NYU"], "--test_dataset"),
        (["--partial_labels", "x"], "--partial_labels"),
    ],
)
def test_wrong_datasets(owners_files, tmp_path, more, named):
    with pytest.raises(UserError) as info:
        train_jointly(owners_files, tmp_path / "run", "--batch_size", "2", *more)
    message = str(info.value)
    assert named in message
    assert "\n" not in message
    assert len(message) < 500
    assert not (tmp_path / "run").exists()

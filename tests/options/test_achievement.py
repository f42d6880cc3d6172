"""The command lines of the second program, and its option files in cfg/."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from networks.deeplab import DeepLab
from networks.perspective_backbones import BACKBONES
from networks.vmm import VMM
from options.achievement import (
    BALANCING_RULES,
    FIXED_ON_RESUME,
    FREE_ON_RESUME,
    REJECTED,
    VALIDATION_OPTIONS,
    parse_evaluation,
    parse_training,
    train_parser,
)
from options.balancing import balancing_settings
from options.perspective import effective_rate, optimization_settings, tasks_of
from tasks.perspective import perspective_tasks

ROOT = Path(__file__).parents[2]
CFGS = sorted(ROOT.glob("cfg/**/*.cfg"))
DEEPLAB_CFGS, VMM_CFGS = ([path for path in CFGS if path.name.startswith(arch)] for arch in ("DeepLab", "VMM"))
DEEPLAB_FOLDERS = ["depth/NYU_MT", "normal/NYU_MT", "seg+depth+normal/NYU_MT", "seg+depth/NYU", "segmentation/NYU"]
# For VMM: tasks, data, and the learning rate as written and as effective for one process.
VMM_FILES = {
    "depth/NYU": (["depth"], "NYU_BTS", 8e-4, 8e-4),
    "detection/COCO": (["detection"], "COCO", 1e-3, 1e-3),
    "detection/VOC": (["detection"], "VOC", 1e-3, 1e-3),
    "seg+depth+normal/NYU_MT": (["segmentation", "depth", "normal"], "NYUv2", 2e-3, 5e-4),
    "seg+det+depth/VOC+NYU": (["detection", "segmentation", "depth"], "VOC+NYU_BTS", 1e-4, 1e-4),
    "seg+det/VOC": (["segmentation", "detection"], "VOC", 1e-4, 1e-4),
    "segmentation/COCO": (["segmentation"], "COCO", 1e-3, 5e-4),
    "segmentation/VOC": (["segmentation"], "VOC", 1e-4, 1e-4),
}


def user_error(capsys, *arguments: str) -> str:
    """The one-line message with which a training command is rejected."""
    with pytest.raises(SystemExit) as info:
        parse_training(arguments)
    assert info.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert len(message) < 500
    return message


def test_every_option_is_fixed_or_free_on_resume():
    names = {action.dest for action in train_parser()._actions} - {"help", argparse.SUPPRESS}
    assert sorted(FIXED_ON_RESUME + FREE_ON_RESUME) == sorted(names), "each exactly once"
    assert set(VALIDATION_OPTIONS) < set(FIXED_ON_RESUME)


def test_cfg_files_of_each_network():
    folders = {str(path.parent.relative_to(ROOT / "cfg")) for path in DEEPLAB_CFGS}
    assert sorted(folders) == DEEPLAB_FOLDERS
    assert len({path.name for path in DEEPLAB_CFGS}) == 4
    assert len(DEEPLAB_CFGS) == 20
    assert {str(path.parent.relative_to(ROOT / "cfg")) for path in VMM_CFGS} == VMM_FILES.keys()
    assert len(CFGS) == len(DEEPLAB_CFGS) + len(VMM_CFGS)


@pytest.mark.parametrize("path", VMM_CFGS, ids=lambda path: str(path.parent.relative_to(ROOT / "cfg")))
def test_vmm_cfg_file(path):
    """It has the values of the paper's experiments and the published number of parameters."""
    options = parse_training([str(path)])
    tasks, data, written, effective = VMM_FILES[str(path.parent.relative_to(ROOT / "cfg"))]
    assert (options.app, options.train_dataset, options.test_dataset) == (tasks, data, data)
    assert (options.lr, effective_rate(options)) == (written, pytest.approx(effective))
    balancing = balancing_settings(options, dict.fromkeys(tasks, 1.0), BALANCING_RULES)
    assert balancing["name"] == ("achievement" if len(tasks) > 1 else "fixed")
    if "detection" in tasks:
        detection = tasks_of(options)["detection"].loss.keywords
        assert detection == {"cls_loss_type": "focal", "loc_loss_type": "IoU", "iou_aware": True, "loc_weight": 10}
    num_classes = {"VOC": 21, "COCO": 81, "NYUv2": 40}.get(data, 21)
    with torch.device("meta"):
        network = VMM(
            tuple(tasks), num_classes, options.basenet, options.normal_size, options.head_type,
            options.activation, options.cls_head, pretrained=False,
        )  # fmt: skip
    published = {"detection/VOC": 20_038_272, "segmentation/VOC": 19_977_786, "depth/NYU": 19_975_186}
    published["seg+det+depth/VOC+NYU"] = 20_089_132
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == published.get(str(path.parent.relative_to(ROOT / "cfg")), count)


@pytest.mark.parametrize("path", DEEPLAB_CFGS, ids=lambda path: str(path.relative_to(ROOT / "cfg")))
def test_deeplab_cfg_file(path):
    """It has the values of the paper's experiments; its network can be built, its losses can be balanced."""
    options = parse_training([str(path)])
    folder = path.parent.relative_to(ROOT / "cfg").parts[0]
    short = {"segmentation": "seg"}
    assert "+".join(short.get(task, task) for task in options.app) == folder or options.app == [folder]
    assert options.output_stride == BACKBONES[options.basenet].deep.stride
    assert ("Plus" in path.stem) == (options.skip_connection == 48)
    with torch.device("meta"):
        network = DeepLab(
            tuple(options.app), 40, options.basenet, options.normal_size, options.output_stride,
            options.skip_connection, options.shared_head, pretrained=False,
        )  # fmt: skip
    assert network.tasks == tuple(options.app)
    tasks = perspective_tasks(tuple(options.app), options.label_smoothing)
    balancing = balancing_settings(options, dict.fromkeys(tasks, 1.0), BALANCING_RULES)
    assert balancing["name"] == ("achievement" if len(options.app) > 1 else "fixed")
    mobile = len(options.app) == 3 and options.basenet == "mobilenet_v2"
    assert effective_rate(options) == pytest.approx(1e-3 if mobile else 1e-4)
    assert (options.optim, options.scheduler, options.num_epochs, options.amp) == ("adam", "poly", 100, "fp16")
    assert optimization_settings(options, 99).num_steps == 9900


def test_cfg_files_have_different_run_folders():
    assert len({parse_training([str(path)]).subfolder for path in CFGS}) == len(CFGS)


def test_derived_options():
    options = parse_training(["--app", "depth", "normal", "--size", "64", "--basenet", "mobilenet_v2"])
    assert (options.size, options.output_stride, options.test_dataset) == ([64, 64], 32, "NYUv2")
    options = parse_training(["--arch", "VMM", "--train_dataset", "VOC", "NYU", "--batch_size", "1"])
    assert (options.basenet, options.normal_size, options.cls_head, options.cls_loss_type) == (
        *("efficientnet_v2_s", 64),
        *("softmax", "CE"),
    )
    assert (options.train_dataset, options.test_dataset) == ("VOC+NYU_BTS", "VOC+NYU_BTS")
    options = parse_training(["--app", "depth", "normal", "--potential", "0.8", "0.4", "--loss_weight", "1", "2"])
    assert options.potential == [("depth", 0.8), ("normal", 0.4)]
    assert options.loss_weights == [("depth", 1.0), ("normal", 2.0)]


@pytest.mark.parametrize(
    ("paper", "ours"),
    [
        *(("weighted-sum", "fixed"), ("amtl", "achievement"), ("amtl-a", "achievement-arithmetic")),
        *(("geometric", "geometric"), ("dwa", "dwa"), ("dwa-g", "dwa-geometric"), ("rlw-g", "rlw-geometric")),
        *(("dtp-g", "dtp-geometric"), ("grad-norm", "gradnorm"), ("imtl-g", "imtl-g"), ("mgda", "mgda")),
        *(("pcgrad", "pcgrad"), ("cagrad", "cagrad")),
    ],
)
def test_method_names(paper, ours):
    assert parse_training(["--loss_metric", paper]).balancing == ours


@pytest.mark.parametrize(
    "name", ["fmtl", "imtl", "kd-mtl", "kd-amtl", "pcgrad-amtl", "cagrad-amtl", "weighted_sum", "x"]
)
def test_unsupported_methods(name, capsys):
    message = user_error(capsys, "--loss_metric", name)
    assert "--loss_metric" in message
    assert name in message


@pytest.mark.parametrize("flag", REJECTED)
@pytest.mark.parametrize("values", [[], ["1"]])
def test_released_options_without_effect(flag, values, capsys):
    message = user_error(capsys, "--lr", "0.1", flag, *values)
    assert flag in message
    assert REJECTED[flag] in message


def test_errors_name_file_and_line(tmp_path, capsys):
    path = tmp_path / "old.cfg"
    path.write_text("--lr 0.1\n--frozen_stages 4\n")
    message = user_error(capsys, str(path))
    assert f"{path}, line 2" in message
    assert "--frozen_stages" in message


def test_the_last_source_of_potentials_wins(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text("--app depth\n--potential 0.5\n")
    options = parse_training([str(path), "--potential_from", "run"])
    assert (options.potential, options.potential_from) == (None, ["run"])
    path.write_text("--app depth\n--potential_from run\n")
    options = parse_training([str(path), "--potential", "0.5"])
    assert (options.potential, options.potential_from) == ([("depth", 0.5)], None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--app", "depth", "depth"],
        ["--app", "detection"],
        ["--head_type", "mbconv"],
        ["--cls_loss_type", "focal"],
        ["--skip_connection", "48", "--arch", "VMM"],
        ["--cls_loss_type", "CE", "--arch", "VMM", "--cls_head", "sigmoid"],
        ["--train_dataset", "VOC", "NYU", "VOC"],
        ["--potential", "0.5"],
        ["--loss_weight", "1", "1"],
        ["--size", "1", "2", "3"],
        ["--min_scale", "2"],
        ["--batch_size", "1"],
        ["--train_dataset", "HME"],
        ["--skip_connection", "True"],
        ["--shared_head", "maybe"],
        ["--output_stride", "4"],
        ["--resume", "--overwrite"],
    ],
    ids=" ".join,
)
def test_wrong_options(arguments, capsys):
    assert arguments[0] in user_error(capsys, *arguments)


def test_evaluation_accepts_the_file_of_a_training(capsys):
    options = parse_evaluation([str(CFGS[0]), "--ckpt", "x.pth", "--batch_size", "1"])
    assert (options.ckpt, options.split) == ("x.pth", "test")
    with pytest.raises(SystemExit):
        parse_evaluation([str(CFGS[0])])
    assert "--ckpt" in capsys.readouterr().err


def test_another_method_than_in_a_file(tmp_path, capsys):
    """The file's settings for its own method are dropped; those of the command line are checked."""
    path = tmp_path / "a.cfg"
    path.write_text("--app depth normal\n--loss_metric amtl\n--potential 0.5 0.5\n--margin 0.1\n--focusing_factor 3\n")
    options = parse_training([str(path), "--loss_metric", "dtp"])
    assert (options.potential, options.margin, options.focusing_factor) == (None, None, 3)
    assert parse_training([str(path), "--loss_metric", "amtl-a"]).margin == 0.1
    assert parse_training([str(path), "--loss_metric", "dwa", "--margin", "0.2"]).margin == 0.2, "rejected later"
    assert "--potential" in user_error(capsys, str(path), "--app", "depth")
    assert parse_evaluation([str(path), "--app", "depth", "--ckpt", "x"]).app == ["depth"]


def test_option_values_may_end_like_files(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text("--app depth\n")
    options = parse_training([str(path), "--root_folder", "runs.cfg"])
    assert (options.app, options.log_dir) == (["depth"], "runs.cfg")


def test_rate_scales_with_images_per_step(monkeypatch):
    options = parse_training(["--batch_size", "8", "--lr", "4e-4"])
    assert effective_rate(options) == pytest.approx(1e-4)
    monkeypatch.setattr("options.perspective.world_size", lambda: 3)
    assert effective_rate(options) == pytest.approx(3e-4)


def test_optimization_settings():
    line = "--optim rms_prop --scheduler step --cold_epoch 3 --freeze_epoch 2 --model-ema --amp"
    settings = optimization_settings(parse_training(line.split()), steps_per_epoch=10)
    assert (settings.optimizer, settings.milestones, settings.num_warmup_steps) == ("rmsprop", (30, 50), 20)
    assert (settings.ema_decay, settings.fp16, settings.decays_all) == (0.9999, True, True)
    assert not optimization_settings(parse_training(["--tencent_trick"]), 10).decays_all
    assert optimization_settings(parse_training([]), 10).ema_decay == 0


@pytest.mark.parametrize("script", ["train_achievement.py", "eval_achievement.py"])
def test_help_does_not_import_torch(script):
    """That takes seconds."""
    command = f"import sys; sys.modules['torch'] = None; sys.argv = ['{script}', '--help']\n"
    command += f"import runpy; runpy.run_path('{ROOT / script}', run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    assert "--focusing_factor" in result.stdout
    assert "--frozen_stages" not in result.stdout

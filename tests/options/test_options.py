"""The command lines of the first program. Those of the released code must keep working word for word."""

import subprocess
import sys
from pathlib import Path

import pytest

from datasets import DATASETS, build_dataset
from options.elite360m import FIXED_ON_RESUME, FREE_ON_RESUME, VALIDATION_OPTIONS, check_size, eval_parser, train_parser
from options.groups import check_backbone_weights, pretrained_of
from options.panorama_prediction import demo_parser, predict_parser
from utils.errors import UserError

ROOT = Path(__file__).parents[2]
TRAIN_OPTIONS = {
    *("dataset", "dataset_rootdir", "height", "width", "num_workers", "num_val", "cache_dir", "num_train"),
    *("val_split", "train_list", "val_list", "normal_frame", "metric_depth", "fold", "skip_bad_samples"),
    *("disable_color_augmentation", "disable_LR_flip_augmentation", "disable_yaw_rotation_augmentation"),
    *("photo_augmentation", "rooms"),
    *("backbone", "task", "ico_level", "no_pretrained", "backbone_weights", "load_weights_dir"),
    *("num_epochs", "batch_size", "learning_rate", "lr_schedule", "seed"),
    *("weight_decay", "warmup_epochs", "grad_accum", "grad_clip", "ema_decay", "max_bad_steps"),
    *("amp", "no_tf32", "compile", "channels_last", "deterministic", "recompute"),
    *("resume", "overwrite", "save_steps", "max_minutes", "log_grad_norms"),
    *("fusion", "b2f", "cross_task", "no_intermediate_losses"),
    *("balancing", "loss_weights", "potential", "potential_from", "margin", "focusing_factor", "keep_exponents"),
    *("log_dir", "log_frequency", "save_frequency", "device", "gpu_devices", "local_rank"),
}
EVAL_OPTIONS = {
    *("dataset", "dataset_rootdir", "height", "width", "num_workers", "num_val", "cache_dir", "split", "batch_size"),
    *("val_list", "normal_frame", "metric_depth", "fold", "skip_bad_samples", "rooms"),
    *("backbone", "task", "load_weights_dir", "log_dir", "log_frequency", "device", "gpu_devices", "local_rank"),
    *("amp", "no_tf32", "compile", "channels_last"),
    *("trivial", "report", "tta", "overwrite", "allow_mismatch"),
    *("predictions", "classes", "align", "align_weights", "min_depth", "max_depth", "clamp_depth", "pool"),
    *("pole_crop", "mask_black", "mask", "at_truth_size", "protocol", "more_metrics", "turn", "zoom", "cost"),
}
PREDICT_OPTIONS = {
    *("checkpoint", "input", "out", "save", "overwrite", "force", "tta", "batch_size", "device", "gpu_devices"),
    *("amp", "no_tf32", "compile", "channels_last"),
    *("height", "up", "vfov", "crop", "upright", "mask", "black_bars", "cubemap", "every", "video"),
}
DEMO_OPTIONS = {"checkpoint", "port", "device", "gpu_devices"}


def test_every_option_is_fixed_or_free_on_resume():
    """Otherwise a resumed run would silently ignore a new option."""
    names = {action.dest for action in train_parser()._actions} - {"help"}
    assert sorted(FIXED_ON_RESUME + FREE_ON_RESUME) == sorted(names), "each exactly once"
    assert set(VALIDATION_OPTIONS) < names


def test_resume_excludes_overwrite(capsys):
    with pytest.raises(SystemExit) as info:
        train_parser().parse_args(["--resume", "--overwrite"])
    assert info.value.code == 2
    assert "--overwrite" in capsys.readouterr().err


def test_released_training_command():
    """Word for word as in the README of the released code."""
    line = (
        "--log_dir ./workdirs_uni/MP3D --gpu_devices 1 2 --backbone Elite360M_Res18 --batch_size 2 --dataset MP3D "
        "--dataset_rootdir /data --num_epochs 150 --task depth_normal_segmentation --num_workers 8 --local_rank 1"
    )
    options = train_parser().parse_args(line.split())
    assert options.gpu_devices == [1, 2]
    assert options.local_rank == 1
    assert options.num_epochs == 150


def test_released_evaluation_command():
    line = (
        "--load_weights_dir ./workdirs_uni/MP3D/ --log_dir ./test_uni/MP3D --backbone Elite360M_Res18 "
        "--dataset MP3D --dataset_rootdir /data --task depth_normal_segmentation"
    )
    options = eval_parser().parse_args(line.split())
    assert (options.batch_size, options.num_workers, options.log_frequency) == (1, 8, 300)


def test_defaults():
    """Those of the released code, except for the task, whose released default cannot run."""
    options = vars(train_parser().parse_args([]))
    expected = {
        **{"num_workers": 4, "gpu_devices": [0], "backbone": "Elite360M_Res18", "task": "depth_normal_segmentation"},
        **{"learning_rate": 1e-4, "batch_size": 1, "num_epochs": 200, "log_frequency": 200, "save_frequency": 10},
        **{"weight_decay": 0, "warmup_epochs": 0, "grad_accum": 1, "grad_clip": 0, "ema_decay": 0, "amp": "off"},
        **{"compile": False, "channels_last": False, "deterministic": False, "resume": False, "max_minutes": None},
        **{"dataset": "S2D3D", "val_split": "test", "normal_frame": "camera", "metric_depth": False},
        **{"height": 512, "width": 1024, "lr_schedule": "none", "ico_level": 4, "no_pretrained": False, "seed": 100},
        **{"fusion": "b2f", "b2f": "released", "cross_task": "coco", "no_intermediate_losses": False},
        **{"balancing": "uncertainty", "loss_weights": None, "margin": None, "focusing_factor": None},
        **{f"disable_{name}_augmentation": False for name in ("color", "LR_flip", "yaw_rotation")},
    }
    assert {key: options[key] for key in expected} == expected


@pytest.mark.parametrize("flag", ["--disable_LR_filp_augmentation", "--disable_LR_flip_augmentation"])
def test_both_spellings(flag):
    assert train_parser().parse_args([flag]).disable_LR_flip_augmentation


@pytest.mark.parametrize("flag", ["--local_rank", "--local-rank"])
def test_flags_of_old_launchers(flag):
    assert train_parser().parse_args([flag, "3"]).local_rank == 3


def test_sets_of_options():
    """To be changed deliberately."""
    assert set(vars(train_parser().parse_args([]))) == TRAIN_OPTIONS
    assert set(vars(eval_parser().parse_args(["--load_weights_dir", "x"]))) == EVAL_OPTIONS
    options = predict_parser().parse_args(["--checkpoint", "c", "--input", "i", "--out", "o"])
    assert set(vars(options)) == PREDICT_OPTIONS
    assert set(vars(demo_parser().parse_args(["--checkpoint", "c"]))) == DEMO_OPTIONS


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch_size", "0"],
        ["--num_workers", "-1"],
        ["--learning_rate", "nan"],
        ["--seed", "-1"],
        ["--task", "flow"],
        ["--backbone", "VGG"],
        ["--backbone", "timm:"],
        ["--balancing", "magic"],
        ["--loss_weights", "depth"],
        ["--loss_weights", "flow=1"],
        ["--potential", "depth=high"],
        ["--potential", "depth=-0.1"],
        ["--nonsense"],
        ["--log_d", "x"],
    ],
)
def test_wrong_command_lines(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        train_parser().parse_args(arguments)
    assert exit_info.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "script", ["train_elite360m.py", "eval_elite360m.py", "predict_elite360m.py", "demo_elite360m.py"]
)
def test_help_does_not_import_torch(script):
    """That takes seconds."""
    program = (
        "import runpy, sys; sys.modules['torch'] = None; "
        f"sys.argv = ['{script}', '--help']; runpy.run_path('{script}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "options:" in done.stdout


@pytest.mark.parametrize("size", [(100, 200), (64, 64), (64, None), (0, 0), (-64, -128)])
def test_wrong_sizes(size):
    with pytest.raises(UserError, match=r"--height .*--width"):
        check_size(*size)


def test_sizes():
    check_size(512, 1024)
    check_size(None, None)


def test_package_datasets_is_ours():
    """There is a well-known library of the same name."""
    import datasets

    assert Path(datasets.__file__).is_relative_to(ROOT)


def test_unknown_dataset_and_split():
    with pytest.raises(UserError, match=", ".join(DATASETS)):
        build_dataset("NYU", None, "train")
    with pytest.raises(UserError, match="train, val, test"):
        build_dataset("Synthetic", None, "training")


@pytest.mark.parametrize("other", ["no_pretrained", "load_weights_dir"])
def test_sources_of_initial_weights(other):
    options = train_parser().parse_args(["--backbone_weights", "lite0.pth"])
    check_backbone_weights(options, "load_weights_dir")
    assert pretrained_of(options) == Path("lite0.pth")
    setattr(options, other, "run")
    with pytest.raises(UserError, match=f"--backbone_weights .*--{other}"):
        check_backbone_weights(options, "load_weights_dir")

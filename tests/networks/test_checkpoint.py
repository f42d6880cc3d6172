"""Checkpoints: written whole, read safely, found and compared, refused with one clear line."""

import hashlib
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datasets.classes import STANFORD2D3D
from networks.checkpoint import ModelSettings, load_checkpoint
from networks.released_weights import LOG_VARIANCES_KEY, released_key
from networks.saved_network import find_checkpoint, find_mismatches, save_checkpoint
from tasks.build import build_objective
from utils.checkpoint_files import LAST_MODEL, save_content
from utils.errors import LONGEST_LINE, UserError
from utils.tasks import METERS, RELATIVE, TASK_NAMES
from visual.displays import DisplaySettings

BACKBONE = "timm:test_efficientnet"  # small; weights of the released code are of Elite360M_Res18
SETTINGS = ModelSettings(
    backbone=BACKBONE,
    tasks=("depth", "normal", "segmentation"),
    ico_level=2,
    height=64,
    width=128,
    dataset="Synthetic",
    class_names=STANFORD2D3D.names,
    class_colours=STANFORD2D3D.colors,
)


@pytest.fixture(scope="module")
def objective():
    return build_objective(SETTINGS.build_network())


@pytest.fixture(scope="module")
def saved(objective, tmp_path_factory):
    """Written once for all tests, none of which changes it."""
    path = tmp_path_factory.mktemp("saved") / "last_model.pth"
    save_checkpoint(path, SETTINGS, objective.network, objective.balancing, epoch=3)
    return path


@pytest.fixture
def path(saved, tmp_path):
    path = tmp_path / "models" / "weights_last" / "last_model.pth"
    path.parent.mkdir(parents=True)
    return shutil.copy(saved, path)


@pytest.fixture(scope="module")
def res18():
    return replace(SETTINGS, backbone="Elite360M_Res18").build_network().state_dict()


@pytest.fixture(scope="module")
def released(res18):
    """A state dict of the released code."""
    return {released_key(key): value for key, value in res18.items()} | {
        LOG_VARIANCES_KEY: torch.tensor([0.1, 0.2, 0.3])
    }


def test_round_trip(path, objective):
    checkpoint = load_checkpoint(path)
    assert checkpoint.settings == SETTINGS
    assert checkpoint.epoch == 3
    network = checkpoint.build_network().eval()
    rgb = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        expected = objective.network.eval()(rgb)["depth"]
        assert torch.equal(network(rgb)["depth"], expected)
    assert checkpoint.weighting.keys() == {"log_variances"}


@pytest.fixture
def log_dir(path, tmp_path):
    """A --log_dir with one run."""
    run = tmp_path / "workdirs" / "depth" / "Elite360M_Res18"
    (run / LAST_MODEL).parent.mkdir(parents=True)
    shutil.copy(path, run / LAST_MODEL)
    return tmp_path / "workdirs"


def test_found_by_file_run_folder_or_log_dir(log_dir):
    run = log_dir / "depth" / "Elite360M_Res18"
    file = run / LAST_MODEL
    for given in (file, file.parent, file.parents[1], run, run.parent, log_dir, log_dir.parent / "workdirs" / "."):
        assert find_checkpoint(given) == file, given
    other = LAST_MODEL.parent.parent / "weights_2" / "model.pth"
    (run / other).parent.mkdir()
    shutil.copy(file, run / other)
    assert find_checkpoint(run / other) == run / other


def test_a_log_dir_of_several_runs(log_dir):
    """The one that --task and --backbone name, or none; the message names three."""
    for task in ("normal", "segmentation", "depth_normal"):
        shutil.copytree(log_dir / "depth", log_dir / task)
    run = find_checkpoint(log_dir, Path("normal/Elite360M_Res18"))
    assert run == log_dir / "normal" / "Elite360M_Res18" / LAST_MODEL
    with pytest.raises(
        UserError, match=r"holds 4 runs \(depth/Elite360M_Res18, .*, \.\.\.\).*--task and --backbone"
    ) as error:
        find_checkpoint(log_dir, Path("depth/Elite360M_Res50"))
    assert str(error.value).count("Elite360M_Res18") == 3
    with pytest.raises(UserError, match=r"pass one of them$"):
        find_checkpoint(log_dir)


def test_other_checkpoint_files_are_named(log_dir):
    run = log_dir / "depth" / "Elite360M_Res18"
    (run / "models" / "state").mkdir()
    (run / LAST_MODEL).rename(run / "models" / "state" / "last.pth")
    with pytest.raises(UserError, match=r"no checkpoint: .*last_model\.pth in "):
        find_checkpoint(run)
    (run / "depth_models").mkdir()
    (run / "depth_models" / "best_depth_model.pth").touch()
    with pytest.raises(UserError, match=r"but depth_models/best_depth_model\.pth: pass"):
        find_checkpoint(run)


def test_missing(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        find_checkpoint(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"last_model.pth"):
        find_checkpoint(tmp_path)


def test_code_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    for name, write in (
        ("torch.pth", torch.save),
        ("plain.pth", lambda x, p: p.write_bytes(pickle.dumps(x, protocol=2))),
    ):
        file = tmp_path / name
        # Pickled by torch, and by pickle alone.
        write({"format": "elite360m", "network": Bomb()}, file)
        with pytest.raises(UserError, match=rf"{name}.*could run code"):
            load_checkpoint(file)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kept", [0, 10, 1000, -1000])
def test_truncated(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"last_model.pth.*damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [[1, 2], {"weights": torch.zeros(2)}, torch.zeros(3), {1: 2}])
def test_foreign(tmp_path, content):
    file = tmp_path / "foreign.pth"
    torch.save(content, file)
    with pytest.raises(UserError, match=r"foreign.pth is neither"):
        load_checkpoint(file)


def test_incomplete(path):
    content = torch.load(path, weights_only=True)
    for key in ("settings", "network", "epoch"):
        torch.save({k: v for k, v in content.items() if k != key}, path)
        with pytest.raises(UserError, match=rf"incomplete checkpoint.*{key}"):
            load_checkpoint(path)
    torch.save({**content, "version": 99}, path)
    with pytest.raises(UserError, match="version 99"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("backbone", "Elite360M_Res19"), ("tasks", []), ("tasks", ["colors"]), ("tasks", [["depth"]])),
        *(("ico_level", 9), ("ico_level", "2"), ("height", 33), ("height", "64"), ("width", 64), ("dataset", None)),
        *(("class_names", []), ("class_colours", [[0, 0, 0]]), ("class_colours", [[0, 0]] * 13)),
        *(("depth_unit", None), ("normal_frame", "moon"), ("fusion", "magic"), ("b2f", 1), ("cross_task", "")),
    ],
)
def test_settings_that_no_training_has(path, name, value):
    """They are refused before a network is built of them, which could take any amount of memory."""
    content = torch.load(path, weights_only=True)
    content["network"] = dict(list(content["network"].items())[:1])
    torch.save(content, path)
    load_checkpoint(path)
    torch.save({**content, "settings": content["settings"] | {name: value}}, path)
    with pytest.raises(UserError, match=r"last_model\.pth") as error:
        load_checkpoint(path)
    assert len(str(error.value)) < LONGEST_LINE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1j])
def test_weights_that_are_no_numbers(path, value):
    checkpoint = load_checkpoint(path)
    key = "shared_decoder.out.bias"
    checkpoint.network[key] = checkpoint.network[key] * value
    with pytest.raises(UserError, match=rf"last_model\.pth.*\({key}\)"):
        checkpoint.build_network()


def test_weights_that_do_not_fit(path):
    """Hundreds of keys: their numbers, and the first three of each sort."""
    checkpoint = load_checkpoint(path)
    wrong = replace(checkpoint, settings=replace(SETTINGS, tasks=("depth", "normal"), class_names=("a", "b")))
    with pytest.raises(UserError, match=r"last_model\.pth.*\d+ unknown \(.*\.\.\.\)") as error:
        wrong.build_network()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < LONGEST_LINE


@pytest.mark.parametrize("kind", ["missing", "unknown", "other shape"])
def test_every_sort_of_key_is_named(path, kind):
    checkpoint = load_checkpoint(path)
    key = "shared_decoder.out.bias"
    value = checkpoint.network.pop(key)
    others = {"missing": {}, "unknown": {key: value, "surprise" * 100: value}, "other shape": {key: value[:3]}}
    with pytest.raises(
        UserError, match={"unknown": r"1 unknown \(\.\.\..*surprise\)"}.get(kind, re.escape(f"({key})"))
    ) as error:
        replace(checkpoint, network=checkpoint.network | others[kind]).build_network()
    assert len(str(error.value)) < LONGEST_LINE


def test_the_longest_messages_are_short(path, released, tmp_path):
    """All keys unknown and missing, names of any length; a long path is still named in full."""
    folder = tmp_path / ("long" * 50)
    folder.mkdir()
    checkpoint = load_checkpoint(path)
    content = torch.load(path, weights_only=True)
    network = {f"{'strange' * 30}.{key}": value for key, value in content["network"].items()}
    torch.save(content | {"network": network}, folder / "a.pth")
    with pytest.raises(UserError, match=re.escape(str(folder))) as error:
        load_checkpoint(folder / "a.pth").build_network()
    assert len(str(error.value)) < LONGEST_LINE + len(str(folder))
    renamed = {f"{key}x": value for key, value in released.items() if key != LOG_VARIANCES_KEY}
    torch.save(renamed | {"intermediate_seg_head.weight": torch.zeros(13, 2)}, tmp_path / "released.pth")
    with pytest.raises(UserError, match=r"released\.pth.* missing .* unknown ") as error:
        load_checkpoint(tmp_path / "released.pth")
    assert len(str(error.value)) < LONGEST_LINE
    torch.save(content | {"version": list(range(1000))}, tmp_path / "version.pth")
    with pytest.raises(UserError, match=r"version\.pth") as error:
        load_checkpoint(tmp_path / "version.pth")
    assert len(str(error.value)) < LONGEST_LINE
    names = tuple("class" * 50 + str(i) for i in range(13))
    mismatches = find_mismatches(replace(checkpoint.settings, class_names=names), look(), ("segmentation",))
    assert len(str(mismatches["segmentation"])) < 200


PREFIX = "module._orig_mod."  # as saved by other scripts: by DistributedDataParallel of a compiled network


def test_prefixes_do_not_matter(path, objective):
    content = torch.load(path, weights_only=True)
    content["network"] = {PREFIX + key: value for key, value in content["network"].items()}
    torch.save(content, path)
    loaded = load_checkpoint(path).build_network().state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in objective.network.state_dict().items())


def test_prefixes_of_released_weights_do_not_matter(released, res18, tmp_path):
    torch.save({PREFIX + key: value for key, value in released.items()}, tmp_path / "prefixed.pth")
    loaded = load_checkpoint(tmp_path / "prefixed.pth").build_network().state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in res18.items())


def test_a_compiled_part_and_an_average(path, objective):
    """`torch.compile` of a submodule, and what AveragedModel counts."""
    content = torch.load(path, weights_only=True)
    network = {key.replace("encoder.", "encoder._orig_mod.", 1): value for key, value in content["network"].items()}
    torch.save(content | {"network": {"n_averaged": torch.tensor(3), **network}}, path)
    loaded = load_checkpoint(path).build_network().state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in objective.network.state_dict().items())


def test_wrappers_do_not_matter(path, released, tmp_path):
    ours = torch.load(path, weights_only=True)
    for content, backbone in ((ours, BACKBONE), (released, "Elite360M_Res18")):
        torch.save({"epoch": 7, "state_dict": {"model": content}, "optimizer": {}}, tmp_path / "wrapped.pth")
        assert load_checkpoint(tmp_path / "wrapped.pth").settings.backbone == backbone


def test_weights_without_settings(path, tmp_path):
    torch.save(torch.load(path, weights_only=True)["network"], tmp_path / "bare.pth")
    with pytest.raises(UserError, match=r"bare\.pth holds weights .* without their settings.*last_model\.pth"):
        load_checkpoint(tmp_path / "bare.pth")


def test_a_training_state_is_called_one(tmp_path):
    state = tmp_path / "last.pth"
    torch.save({"format": "elite360m training state, 2", "stepper": {"network": {}}}, state)
    with pytest.raises(UserError, match=r"last\.pth is a training state.*weights_last/last_model\.pth"):
        load_checkpoint(state)


def test_hash_and_weights_are_of_the_same_bytes(path, monkeypatch):
    """A training replaces the file as soon as it was read."""
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    load = torch.load

    def replacing(file, **options):
        path.write_bytes(b"the next epoch")
        return load(file, **options)

    monkeypatch.setattr(torch, "load", replacing)
    checkpoint = load_checkpoint(path)
    assert checkpoint.sha256 == expected
    assert checkpoint.epoch == 3


def test_require(path):
    checkpoint = load_checkpoint(path)
    checkpoint.require(BACKBONE, ("depth",), num_classes=41)  # depth knows no classes
    with pytest.raises(UserError, match=f"--backbone {BACKBONE}"):
        checkpoint.require("Elite360M_Res50", ("depth",), 13)
    with pytest.raises(UserError, match=r"13 classes.*but the dataset has 41.*--task depth_normal$"):
        checkpoint.require(BACKBONE, ("segmentation",), 41)
    labels_only = replace(checkpoint, settings=replace(SETTINGS, tasks=("segmentation",)))
    with pytest.raises(UserError, match=r"use a checkpoint of the same classes$"):
        labels_only.require(BACKBONE, ("segmentation",), 41)
    depth_only = replace(checkpoint, settings=replace(SETTINGS, tasks=("depth",)))
    with pytest.raises(UserError, match=r"not for normal: pass --task depth$"):
        depth_only.require(BACKBONE, ("depth", "normal"), 13)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fusion": "none"}, ["--fusion b2f (not none)"]),
        ({"fusion": "none", "cross_task": "none"}, ["--fusion b2f (not none)", "--cross_task coco (not none)"]),
        ({"intermediate": False}, ["without --no_intermediate_losses"]),
        ({"backbone": "Elite360M_Res34"}, [f"--backbone {BACKBONE} (not Elite360M_Res34)"]),
        ({"fusion": "semantic", "b2f": "corrected"}, ["--fusion b2f (not semantic)", "--b2f released (not corrected)"]),
        ({"intermediate": False, "ico_level": 3}, ["--ico_level 2 (not 3)"]),
    ],
)
def test_other_architectures_are_named_by_their_options(path, changes, named):
    with pytest.raises(UserError, match=re.escape(named[0])) as error:
        load_checkpoint(path).require_same_architecture(replace(SETTINGS, **changes))
    assert all(text in str(error.value) for text in named)
    assert "(not )" not in str(error.value)
    assert len(str(error.value)) < LONGEST_LINE


def test_options_that_have_no_effect_are_not_compared(path):
    checkpoint = load_checkpoint(path)
    single = replace(checkpoint, settings=replace(SETTINGS, tasks=("depth",), fusion="none"))
    single.require_same_architecture(
        replace(SETTINGS, tasks=("depth",), fusion="none", cross_task="none", ico_level=4, b2f="corrected")
    )
    assert not single.differences(single.settings)


def test_differences_that_do_not_change_the_weights_are_listed(path):
    checkpoint = load_checkpoint(path)
    other = replace(SETTINGS, b2f="corrected", ico_level=3, depth_unit=RELATIVE, normal_frame="world")
    checkpoint.require_same_architecture(other)
    lines = checkpoint.differences(other)
    assert len(lines) == 4
    for text in ("--b2f released", "--ico_level 2", RELATIVE, "world"):
        assert any(text in line for line in lines), text


OTHER_CLASSES = {"class_names": ("a", "b"), "class_colours": ((0, 0, 0),) * 2}
SEMANTIC_HEADS = ("heads.segmentation.", "intermediate_heads.segmentation.")
JOINING = re.compile(r"cross_task\.collaborations\.\w+\.(others|join)\.")


@pytest.mark.parametrize(
    ("changes", "is_new", "words"),
    [
        ({}, lambda key: False, []),
        (OTHER_CLASSES, lambda key: key.startswith(SEMANTIC_HEADS), ["new", "heads of segmentation"]),
        (
            {"class_names": ("a", *SETTINGS.class_names[1:])},
            lambda key: key.startswith(SEMANTIC_HEADS),
            ["new", "heads of segmentation"],
        ),
        ({"tasks": ("depth",)}, lambda key: False, ["not used", "all of normal", "cross-task attention"]),
        (
            {"tasks": ("depth", "normal")},
            JOINING.match,
            ["new", "joining layers", "not used", "all of segmentation"],
        ),
        ({"tasks": ("normal", "segmentation"), **OTHER_CLASSES}, None, ["heads of segmentation", "all of depth"]),
    ],
)
def test_weights_of_other_tasks_and_classes(path, changes, is_new, words):
    """What fits is loaded, the rest keeps its values and is named."""
    checkpoint, settings = load_checkpoint(path), replace(SETTINGS, **changes)
    checkpoint.require_same_architecture(settings)
    network = settings.build_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    lines = checkpoint.load_into(network, settings)
    assert [word for word in words if word not in " ".join(lines)] == []
    assert bool(lines) == bool(words)
    is_new = is_new or (lambda key: key.startswith(SEMANTIC_HEADS) or JOINING.match(key))
    for key, value in network.state_dict().items():
        expected = before[key] if is_new(key) else checkpoint.network[key]
        assert torch.equal(value, expected), key


def test_weights_with_a_task_more(path):
    """From one task, without cross-task attention, to three."""
    checkpoint = load_checkpoint(path)
    single = replace(SETTINGS, tasks=("normal",))
    weights = single.build_network().state_dict()
    network = SETTINGS.build_network()
    lines = replace(checkpoint, settings=single, network=weights).load_into(network, SETTINGS)
    assert len(lines) == 1
    assert all(words in lines[0] for words in ("all of depth", "all of segmentation", "cross-task attention"))
    assert all(torch.equal(network.state_dict()[key], value) for key, value in weights.items())


def test_other_shapes_are_still_refused(path):
    checkpoint = load_checkpoint(path)
    with_nan_input = checkpoint.network | {"shared_decoder.out.bias": torch.zeros(3)}
    network = replace(SETTINGS, **OTHER_CLASSES).build_network()
    with pytest.raises(UserError, match=r"of another shape \(shared_decoder\.out\.bias\)"):
        replace(checkpoint, network=with_nan_input).load_into(network, replace(SETTINGS, **OTHER_CLASSES))


def test_a_checkpoint_without_classes(objective, tmp_path):
    """Of a dataset without labels."""
    settings = replace(SETTINGS, tasks=("depth",), class_names=(), class_colours=())
    network = settings.build_network()
    save_checkpoint(tmp_path / "depth.pth", settings, network, objective.balancing, epoch=1)
    assert load_checkpoint(tmp_path / "depth.pth").settings == settings
    save_checkpoint(tmp_path / "depth.pth", replace(settings, tasks=TASK_NAMES), network, objective.balancing, epoch=1)
    with pytest.raises(UserError, match="class_names"):
        load_checkpoint(tmp_path / "depth.pth")


def look(**changes) -> DisplaySettings:
    return DisplaySettings(STANFORD2D3D.names, STANFORD2D3D.colors, METERS, "camera")._replace(**changes)


RENAMED = ("beam", "blackboard", *STANFORD2D3D.names[2:])


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("depth", {"depth_unit": RELATIVE}),
        ("normal", {"normal_frame": "world"}),
        ("segmentation", {"class_names": RENAMED}),
        ("segmentation", {"class_names": STANFORD2D3D.names[::-1]}),
    ],
)
def test_what_predictions_mean_is_compared(task, changes):
    """For the tasks that are evaluated, and no others; colors do not matter."""
    everything = ("depth", "normal", "segmentation")
    assert find_mismatches(SETTINGS, look(class_colours=((0, 0, 0),) * 13), everything) == {}
    assert find_mismatches(SETTINGS, look(**changes), everything).keys() == {task}
    assert find_mismatches(SETTINGS, look(**changes), tuple(set(everything) - {task})) == {}


def test_weights_of_the_released_program(released, res18, tmp_path):
    torch.save(released, tmp_path / "released.pth")
    checkpoint = load_checkpoint(tmp_path / "released.pth")
    assert checkpoint.settings.backbone == "Elite360M_Res18"
    assert (checkpoint.settings.height, checkpoint.settings.width, checkpoint.settings.ico_level) == (512, 1024, 4)
    assert len(checkpoint.settings.class_names) == len(set(checkpoint.settings.class_colours)) == 13
    assert checkpoint.weighting["log_variances"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    loaded = checkpoint.build_network().state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in res18.items())


@pytest.mark.parametrize("size", [1, 10_000_000])
def test_a_full_disk_is_an_error_of_the_file(size):
    """Also when torch could write a part of it."""
    with pytest.raises(OSError, match="No space left"):
        save_content({"weight": torch.zeros(size)}, Path("/dev/full"))

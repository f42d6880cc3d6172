"""From options to batches: augmentation, order, distribution to processes, bad samples."""

import argparse
import multiprocessing
import shutil
import signal
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
import torch

from datasets import loading
from datasets.augment import Augmentation
from datasets.loading import evaluation_batches, training_batches
from datasets.panorama import Panorama, PanoramaDataset
from datasets.preparation.synthetic_layouts import write_dataset
from datasets.sampling import SeededIndex
from options import data
from options.data import describe, evaluation_set, loading_settings, training_set, validation_set
from options.elite360m import eval_parser, train_parser
from utils.errors import UserError
from utils.extras import import_extra

CPU = torch.device("cpu")
WIDTH = 64


def train_batches(dataset: PanoramaDataset, options: argparse.Namespace):
    return training_batches(dataset, loading_settings(options), options.seed, CPU)


def eval_batches(dataset: PanoramaDataset, options: argparse.Namespace):
    return evaluation_batches(dataset, loading_settings(options), CPU)


def train_options(*more: str) -> argparse.Namespace:
    """Options of training, on Synthetic unless --dataset is passed."""
    defaults = ["--num_workers", "0", "--height", "32", "--width", "64"]
    if "--dataset" not in more:
        defaults += ["--dataset", "Synthetic", "--num_train", "7", "--num_val", "5"]
    return train_parser().parse_args([*defaults, *more])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], Augmentation()),
        (["--disable_color_augmentation"], Augmentation(color=False)),
        (["--disable_LR_filp_augmentation"], Augmentation(flip=False)),
        (["--disable_yaw_rotation_augmentation"], Augmentation(yaw=False)),
    ],
)
def test_augmentation_flags(flags, expected):
    dataset = training_set(train_options(*flags))
    assert dataset.augment == expected
    assert len(dataset) == 7


def test_validation_and_evaluation_are_not_augmented():
    validation = validation_set(train_options("--val_split", "val"))
    assert validation.augment is None
    assert (len(validation), validation.split) == (5, "val")
    options = eval_parser().parse_args(["--load_weights_dir", "x", "--dataset", "Synthetic", "--num_val", "3"])
    for split in ("train", "test"):
        dataset = evaluation_set(options, split, 32, 64)
        assert (len(dataset), dataset.split, dataset.augment) == (3, split, None)


@pytest.fixture(scope="module")
def structured(tmp_path_factory):
    root = tmp_path_factory.mktemp("Struc3D")
    write_dataset("Struc3D", num=4, out=root, height=32)
    return str(root)


@pytest.fixture(scope="module")
def matterport(tmp_path_factory):
    root = tmp_path_factory.mktemp("MP3D")
    write_dataset("MP3D", num=4, out=root, height=32)
    return str(root)


def test_datasets_on_disk(matterport):
    options = train_options("--dataset", "MP3D", "--dataset_rootdir", matterport, "--normal_frame", "world")
    train = training_set(options)
    assert (len(train), train.augment, train.normal_frame) == (4, Augmentation(), "world")
    expected = "split train and val: 4 panoramas of the 8786 of the complete dataset; depth in metres"
    assert expected in describe(train, options)
    assert "normals in the world frame" in describe(train, options)
    options.val_split = "val"
    assert "split train: 3 panoramas of the 7829" in describe(training_set(options), options)
    assert "split val: 1 panoramas of the 957" in describe(validation_set(options), options)


def test_lists(matterport, tmp_path):
    options = train_options("--dataset", "MP3D", "--dataset_rootdir", matterport)
    files = evaluation_set(options, "test", 32, 64).files
    for name, entries in (("train", files[:3]), ("val", files[3:])):
        lines = [f"{x.rgb} {x.depth} {x.semantic.replace('_gt', '')} {x.normal}" for x in entries]
        (tmp_path / name).write_text("\n".join(lines))
    options.train_list, options.val_list = str(tmp_path / "train"), str(tmp_path / "val")
    assert training_set(options).files == files[:3]
    assert evaluation_set(options, "test", 32, 64).files == files[3:]
    assert training_set(options)[0]["id"] == files[0].rgb


def test_folds(tmp_path):
    """The tree has areas 1 (train) and 3 (val) for training, and 5a for testing."""
    write_dataset("S2D3D", num=2, out=tmp_path, height=32)
    options = train_options("--dataset", "S2D3D", "--dataset_rootdir", str(tmp_path))
    assert {file.rgb[:6] for file in validation_set(options).files} == {"area_5"}
    options.fold = 3
    assert {file.rgb[:6] for file in training_set(options).files} == {"area_5"}
    assert {file.rgb[:6] for file in validation_set(options).files} == {"area_1", "area_3"}
    assert "fold 3, split test" in describe(validation_set(options), options)
    evaluation = eval_parser().parse_args(["--load_weights_dir", "x", "--fold", "2", "--val_list", "list.txt"])
    with pytest.raises(UserError, match=r"--fold .*--val_list"):
        evaluation_set(evaluation, "test", 32, 64)


def test_folds_and_lists(tmp_path):
    """In training, a fold has an effect unless lists replace both splits."""
    write_dataset("S2D3D", num=2, out=tmp_path, height=32)
    flags = ["--dataset", "S2D3D", "--dataset_rootdir", str(tmp_path), "--task", "depth", "--fold", "3"]
    tested = evaluation_set(train_options(*flags), "test", 32, 64).files
    (tmp_path / "list.txt").write_text("\n".join(f"{file.rgb} {file.depth} - -" for file in tested))
    flags += ["--val_list", str(tmp_path / "list.txt")]
    assert {file.rgb[:6] for file in training_set(train_options(*flags)).files} == {"area_5"}
    with pytest.raises(UserError, match=r"--fold .*--train_list and --val_list"):
        training_set(train_options(*flags, "--train_list", "list.txt"))


@pytest.mark.parametrize(
    ("split", "scene"), [("train", "scene_00000"), ("test", "scene_03250"), ("val", "scene_03000")]
)
def test_missing_files_are_reported_before_training(structured, tmp_path, split, scene):
    root = shutil.copytree(structured, tmp_path / "tree")
    normals = sorted(root.glob(f"{scene}/2D_rendering/*/panorama/full/normal.png"))
    options = train_options("--dataset", "Struc3D", "--dataset_rootdir", str(root))
    normals[0].unlink()
    with pytest.raises(UserError, match=rf"1 file .*split {split}.*--skip_bad_samples.*{normals[0]}"):
        evaluation_set(options, split, 32, 64)
    for path in normals[1:]:
        path.unlink()
    options.task = "normal_segmentation"
    if len(normals) > 1:
        with pytest.raises(UserError, match=rf"{len(normals)} files .*split {split}.*{normals[0]}"):
            evaluation_set(options, split, 32, 64)
    options.task = "depth_segmentation"
    assert len(evaluation_set(options, split, 32, 64)) == len(normals)


def test_skipping_missing_files(structured, tmp_path):
    root = shutil.copytree(structured, tmp_path / "tree")
    normals = sorted(root.glob("scene_00000/2D_rendering/*/panorama/full/normal.png"))
    options = train_options("--dataset", "Struc3D", "--dataset_rootdir", str(root), "--skip_bad_samples")
    for path in normals[1:]:
        path.unlink()
    batches = train_batches(training_set(options), options)
    assert len(indices_of(batches)) == 4
    assert batches.bad == {f"{path} is missing" for path in normals[1:]}
    normals[0].unlink()
    with pytest.raises(UserError, match=r"--skip_bad_samples .*normal\.png"):
        training_set(options)


def test_tasks_of_the_dataset(matterport):
    options = train_options("--dataset", "MP3D", "--dataset_rootdir", matterport, "--task", "depth_normal")
    dataset = training_set(options)
    assert dataset.tasks == ("depth", "normal")
    assert {files.semantic for files in dataset.files} == {None}
    options.dataset, options.dataset_rootdir = "Synthetic", None
    assert training_set(options).tasks == ("depth", "normal")


def test_metric_depth(structured):
    options = train_options("--dataset", "Struc3D", "--dataset_rootdir", structured)
    relative = evaluation_set(options, "test", 32, 64)
    assert "depth in relative" in describe(relative, options)
    options.metric_depth = True
    metric = evaluation_set(options, "test", 32, 64)
    assert "depth in metres" in describe(metric, options)
    assert metric[0]["depth"].max() != pytest.approx(10, abs=1e-3)
    options.dataset = "MP3D"
    with pytest.raises(UserError, match=r"--metric_depth .*Struc3D"):
        evaluation_set(options, "test", 32, 64)


class Numbers(PanoramaDataset):
    """Seven panoramas. The depth of panorama i is i + 1 in column 0, and 9 elsewhere."""

    def __init__(self, augment=None, bad: tuple[int, ...] = ()):
        super().__init__(32, WIDTH, augment)
        self.bad = bad

    def __len__(self):
        return 7

    def sample_names(self) -> list[str]:
        return [str(index) for index in range(len(self))]

    def read(self, index):
        if index in self.bad:
            raise UserError(f"{index}.png is missing")
        depth = np.full((32, WIDTH), 9, np.float32)
        depth[:, 0] = index + 1
        blank = np.zeros((32, WIDTH, 3))
        return Panorama(blank.astype(np.uint8), depth, blank.astype(np.float32), depth.astype(np.int8), id=str(index))


def indices_of(batches) -> list[int]:
    return [int(i) for batch in batches for i in batch["index"]]


def pretend_process(monkeypatch, rank: int, processes: int) -> None:
    monkeypatch.setattr(loading, "rank", lambda: rank)
    monkeypatch.setattr(loading, "world_size", lambda: processes)


def test_batch_contract():
    batch = next(iter(eval_batches(Numbers(), train_options("--batch_size", "2"))))
    assert batch["rgb"].shape == (2, 3, 32, WIDTH)
    assert (batch["depth"].shape, batch["depth"].dtype) == ((2, 1, 32, WIDTH), torch.float32)
    assert batch["depth"][:, 0, 0, 0].tolist() == [1, 2]
    assert batch["id"] == ["0", "1"]


def test_order_depends_on_epoch():
    batches = train_batches(Numbers(), train_options("--batch_size", "2"))
    orders = []
    for epoch in (1, 2, 1):
        batches.set_epoch(epoch)
        orders.append(indices_of(batches))
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(7))
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]
    assert orders[0] != list(range(7))


def test_processes_train_on_different_samples(monkeypatch):
    parts = []
    for rank in (0, 1):
        pretend_process(monkeypatch, rank, 2)
        parts.append(indices_of(train_batches(Numbers(), train_options())))
    assert len(parts[0]) == len(parts[1]) == 4, "as many steps, with one sample repeated"
    assert set(parts[0]) | set(parts[1]) == set(range(7))


@pytest.mark.parametrize("processes", [1, 3, 9])
def test_samples_are_evaluated_once(monkeypatch, processes):
    parts = []
    for rank in range(processes):
        pretend_process(monkeypatch, rank, processes)
        parts.append(indices_of(eval_batches(Numbers(), train_options("--batch_size", "2"))))
    assert sorted(index for part in parts for index in part) == list(range(7))
    assert all(part == sorted(part) for part in parts)


def rolled_columns(options, epoch: int = 1) -> dict[int, int]:
    """By how many columns each panorama was rolled: the position of its marked column."""
    batches = train_batches(Numbers(Augmentation(flip=False, color=False)), options)
    batches.set_epoch(epoch)
    return {
        int(index): int((depth[0, 0] != 9).nonzero())
        for batch in batches
        for index, depth in zip(batch["index"], batch["depth"], strict=True)
    }


def test_augmentation_depends_only_on_seed_epoch_and_sample(monkeypatch):
    """Not on the worker, the process or the batch."""
    single = rolled_columns(train_options())
    assert len(set(single.values())) > 3, "samples are rolled differently"
    assert rolled_columns(train_options()) == single
    assert rolled_columns(train_options("--num_workers", "2", "--batch_size", "2")) == single
    assert rolled_columns(train_options(), epoch=2) != single
    assert rolled_columns(train_options("--seed", "1")) != single
    distributed = {}
    for rank in (0, 1):
        pretend_process(monkeypatch, rank, 2)
        distributed |= rolled_columns(train_options())
    assert distributed == single


def test_augmentation_does_not_change_global_generators(monkeypatch):
    """Including those of GPUs, which `torch.manual_seed` would seed."""
    for module in (torch.cuda, torch.mps, torch.xpu):
        for name in ("manual_seed", "manual_seed_all"):
            monkeypatch.setattr(module, name, lambda _: pytest.fail("a GPU is seeded"), raising=False)
    state = torch.get_rng_state()
    sample = loading._Reader(Numbers(Augmentation()), skip_bad=False, remedy="")[SeededIndex(1, seed=3)]
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.undo()
    torch.manual_seed(3)
    assert np.array_equal(sample["depth"], Numbers(Augmentation()).packed(1)["depth"])


@pytest.mark.parametrize("workers", ["0", "1"])
def test_bad_samples_raise(workers):
    """With what to do about them: only trainings, and their validations, can be resumed."""
    options = train_options("--num_workers", workers)
    dataset, settings = Numbers(bad=(3,)), loading_settings(options)
    for make, is_resumable in (
        (lambda: train_batches(dataset, options), True),
        (lambda: evaluation_batches(dataset, settings, CPU, in_training=True), True),
        (lambda: eval_batches(dataset, options), False),
    ):
        with pytest.raises(UserError, match=r"3\.png is missing; .*--skip_bad_samples") as info:
            indices_of(make())
        assert ("--resume" in str(info.value)) == is_resumable
        info.value.__traceback__ = None  # frees the workers; in a garbage collection they block for 5 s
        del info


@pytest.mark.parametrize("flags", [(), ("--skip_bad_samples",)])
def test_missing_packages_are_no_bad_samples(monkeypatch, flags):
    """Neither replacing files nor skipping samples would help."""
    options = train_options(*flags)
    monkeypatch.setattr(Numbers, "read", lambda *_: import_extra("no_such_package", "this test"))
    for batches in (train_batches(Numbers(), options), eval_batches(Numbers(), options)):
        with pytest.raises(UserError, match=r"pip install no_such_package$"):
            indices_of(batches)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_skipping_bad_samples(workers, capsys):
    options = train_options("--skip_bad_samples", "--num_workers", workers, "--batch_size", "2")
    dataset = Numbers(bad=(2, 3, 6))
    training = train_batches(dataset, options)
    assert len(training) == 4
    assert Counter(indices_of(training)) == Counter([0, 0, 1, 4, 4, 4, 5]), "replaced by the next good one"
    evaluation = evaluation_batches(dataset, loading_settings(options), CPU)
    assert indices_of(evaluation) == [0, 1, 4, 5], "omitted, even as a whole batch"
    loading.report_bad_samples(training, evaluation)
    error = capsys.readouterr().err
    assert error == "3 bad samples were skipped:\n  2.png is missing\n  3.png is missing\n  6.png is missing\n"


def test_evaluation_workers_exit():
    """Training workers stay for the next epoch."""
    options = train_options("--num_workers", "2")
    training, evaluation = (make(Numbers(), options) for make in (train_batches, eval_batches))
    before = set(multiprocessing.active_children())
    workers = []
    for batches in (training, evaluation, training, evaluation):
        indices_of(batches)
        workers.append(set(multiprocessing.active_children()) - before)
    assert len(workers[0]) == 2
    assert all(alive == workers[0] for alive in workers)


def test_only_bad_samples():
    options = train_options("--skip_bad_samples")
    with pytest.raises(UserError, match=r"all 7 samples are bad.*\.png is missing"):
        indices_of(train_batches(Numbers(bad=tuple(range(7))), options))


def test_interrupt_while_workers_start():
    class Loader:
        """Loses exceptions while it forks, as Python does."""

        def __iter__(self):
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            return iter([])

    with pytest.raises(KeyboardInterrupt):
        list(loading.Batches(Loader(), torch.device("cpu"), lambda packed, device: packed))


@pytest.mark.parametrize(
    "flags",
    [
        ("--train_list", "a.txt"),
        ("--val_list", "a.txt"),
        ("--normal_frame", "world"),
        ("--dataset_rootdir", "/data"),
        ("--metric_depth",),
    ],
)
def test_flags_without_effect_on_synthetic(flags):
    for open_set in (training_set, validation_set):
        with pytest.raises(UserError, match=f"{flags[0]} .*Synthetic"):
            open_set(train_options(*flags))


@pytest.mark.parametrize(
    "flags", [("--num_train", "7"), ("--num_val", "5"), ("--cache_dir", "cache"), ("--metric_depth",), ("--fold", "2")]
)
def test_flags_without_effect_on_disk_datasets(matterport, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    for open_set in (training_set, validation_set):
        with pytest.raises(UserError, match=f"{flags[0]} .*MP3D"):
            open_set(train_options("--dataset", "MP3D", "--dataset_rootdir", matterport, *flags))
    assert not list(tmp_path.iterdir())


def test_flags_whose_value_is_the_default_of_another(matterport):
    with pytest.raises(UserError, match=r"--cache_dir .*MP3D"):
        validation_set(train_options("--dataset", "MP3D", "--dataset_rootdir", matterport, "--cache_dir", "camera"))
    with pytest.raises(UserError, match=r"--val_list .*Synthetic"):
        validation_set(train_options("--val_list", "furnished"))


def test_flags_with_a_default_do_not_concern_other_datasets(monkeypatch):
    """--val_split stands for any flag whose default is not None."""
    monkeypatch.setitem(data._DATASETS_OF_FLAG, "val_split", ("S2D3D",))
    assert len(validation_set(train_options())) > 0
    with pytest.raises(UserError, match=r"--val_split .*Synthetic"):
        validation_set(train_options("--val_split", "val"))


def test_default_size_of_synthetic():
    options = train_parser().parse_args(["--dataset", "Synthetic"])
    assert (len(training_set(options)), len(validation_set(options))) == (1000, 100)

"""Only the files that the tasks need are found and read; other ground truth is missing in the samples."""

import shutil

import numpy as np
import pytest
import torch

from datasets import build_dataset
from datasets.augment import Augmentation
from datasets.panorama import pack, unpack
from datasets.preparation.synthetic_layouts import write_dataset
from utils.errors import UserError
from utils.tasks import TASK_VALUES, parse_tasks

HEIGHT, WIDTH = 32, 64
LAYOUTS = ("MP3D", "S2D3D", "Struc3D", "Folder")
MAPS = {"depth": "depth", "normal": "normal", "segmentation": "semantic"}  # of the tasks


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    for layout in LAYOUTS:
        write_dataset(layout, num=3, out=root / layout, height=HEIGHT)
    return root


@pytest.fixture
def reduced(complete, tmp_path):
    """A function that copies a tree without the files of some kinds, of all panoramas or of one."""

    def reduce(layout, *kinds, only=None):
        root = shutil.copytree(complete / layout, tmp_path / layout)
        for split in ("train", "test") if only is None else ("test",):
            for files in build_dataset(layout, complete / layout, split).files[only or slice(None)]:
                for kind in kinds:
                    (root / getattr(files, kind)).unlink()
        return root

    return reduce


def known(sample) -> dict[str, bool]:
    """For each task, whether a sample has ground truth."""
    return {
        "depth": bool(sample["depth_mask"].any()),
        "normal": bool(sample["normal_mask"].any()),
        "segmentation": bool((sample["semantic"] >= 0).any()),
    }


def assert_missing(sample, task):
    if task == "segmentation":
        assert (sample["semantic"] == -1).all()
    else:
        assert not sample[task].any()
        assert not sample[f"{task}_mask"].any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", TASK_VALUES)
def test_other_maps_are_not_needed(complete, reduced, layout, value):
    tasks = parse_tasks(value)
    root = reduced(layout, *(MAPS[task] for task in MAPS if task not in tasks))
    for split in ("train", "test"):
        everything = build_dataset(layout, complete / layout, split, HEIGHT, WIDTH)
        dataset = build_dataset(layout, root, split, HEIGHT, WIDTH, tasks=tasks)
        assert dataset.tasks == tasks
        assert dataset.missing_files() == []
        assert [files.rgb for files in dataset.files] == [files.rgb for files in everything.files]
        sample, whole = dataset[1], everything[1]
        assert torch.equal(sample["rgb"], whole["rgb"])
        for task, key in MAPS.items():
            if task in tasks:
                assert torch.equal(sample[key], whole[key])
                assert known(sample)[task]
            else:
                assert_missing(sample, task)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_maps_are_not_read(complete, tmp_path, layout):
    root = shutil.copytree(complete / layout, tmp_path / layout)
    dataset = build_dataset(layout, root, "test", HEIGHT, WIDTH)
    expected, files = dataset[0], dataset.files[0]
    (root / files.semantic).write_bytes(b"no image")
    (root / files.normal).unlink()
    sample = build_dataset(layout, root, "test", HEIGHT, WIDTH, tasks=("depth",))[0]
    assert torch.equal(sample["depth"], expected["depth"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["rgb", *MAPS.values()])
def test_missing_files(reduced, layout, kind):
    """A panorama with a missing file of any kind is not omitted: the file is reported."""
    root = reduced(layout, kind, only=slice(1, 2))
    dataset = build_dataset(layout, root, "test", HEIGHT, WIDTH)
    assert len(dataset) == 3
    assert dataset.missing_files() == [getattr(dataset.files[1], kind)]
    with pytest.raises(UserError, match="is missing"):
        dataset[1]
    others = tuple(task for task, other in MAPS.items() if other != kind)
    expected = [dataset.files[1].rgb] if kind == "rgb" else []
    assert build_dataset(layout, root, "test", HEIGHT, WIDTH, tasks=others).missing_files() == expected


def test_views_are_not_panoramas(complete, tmp_path):
    """The published files, in the same folder as the panoramas."""
    root = shutil.copytree(complete / "MP3D", tmp_path / "MP3D")
    files = build_dataset("MP3D", root, "test").files[0]
    for name in ("_d0_1.png", "_d0_1_nx.png", "_skybox2_sami.jpg"):
        for kind in ("rgb", "depth", "normal"):
            path = root / getattr(files, kind)
            shutil.copy(path, path.with_name(path.stem + name))
    dataset = build_dataset("MP3D", root, "test")
    assert len(dataset) == 3
    assert not dataset.missing_files()


@pytest.mark.parametrize("task", ["normal", "segmentation"])
def test_panorama_without_depth_is_excluded(complete, tmp_path, task):
    root = shutil.copytree(complete / "MP3D", tmp_path / "MP3D")
    folder = root / "8WUmhLawc2A" / "matterport_skybox_images"
    folder.mkdir(parents=True)
    (folder / "01fa989e503048b7979ab2ce51cecf78.png").touch()
    assert len(build_dataset("MP3D", root, "train", tasks=(task,))) == 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_absent_maps_are_augmented(complete, layout):
    for task in MAPS:
        dataset = build_dataset(layout, complete / layout, "train", 16, 32, augment=Augmentation(), tasks=(task,))
        for seed in range(6):
            torch.manual_seed(seed)
            sample = dataset[0]
            assert sample["normal"].shape == (3, 16, 32)
            assert known(sample) == {other: other == task for other in MAPS}
    panorama = build_dataset(layout, complete / layout, "train", HEIGHT, WIDTH, tasks=()).read(0)
    assert not any(known(unpack(pack(Augmentation()(panorama.resized(64, 128)), 0))).values())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_absent_and_stored_maps_in_a_batch(complete, tmp_path, layout):
    dataset = build_dataset(layout, complete / layout, "test", HEIGHT, WIDTH)
    first, second, third = dataset.files
    lines = [
        f"{first.rgb} - {first.semantic} {first.normal}",
        f"{second.rgb} {second.depth} - {second.normal}",
        f"{third.rgb} {third.depth} {third.semantic} -",
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    mixed = build_dataset(layout, complete / layout, "test", HEIGHT, WIDTH, list_file=tmp_path / "list.txt")
    assert mixed.missing_files() == []
    samples = [mixed.packed(index) for index in range(3)]
    keys = set(samples[0]) - {"id", "index"}
    batch = unpack({key: np.stack([sample[key] for sample in samples]) for key in keys} | {"id": "", "index": 0})
    absent = ("depth", "segmentation", "normal")
    for index in range(3):
        for task, key in MAPS.items():
            if task == absent[index]:
                mask = batch["semantic"] >= 0 if task == "segmentation" else batch[f"{task}_mask"]
                assert not mask[index].any()
            else:
                assert torch.equal(batch[key][index], dataset[index][key])


def test_tasks_of_synthetic_rooms():
    dataset = build_dataset("Synthetic", None, "train", HEIGHT, WIDTH, tasks=("normal",), num_rooms=1)
    assert dataset.tasks == ("normal",)
    assert known(dataset[0])["normal"]

"""Joint training: concatenation, missing ground truth, mixing ratio and order of samples."""

from collections import Counter

import numpy as np
import pytest
import torch

from datasets.boxes import no_boxes
from datasets.classes import SemanticClasses
from datasets.joint import JointDataset
from datasets.loading import LoadingSettings, training_batches
from datasets.perspective import PerspectiveDataset, without_maps
from datasets.perspective_augment import PerspectiveAugmentation
from datasets.sampling import MixingSampler, SeededSampler
from utils.errors import UserError

CPU = torch.device("cpu")
CLASSES = SemanticClasses(("background", "thing"), ((0, 0, 0), (255, 0, 0)))
OTHER = SemanticClasses(("wall", "floor", "thing"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
TASKS = ("detection", "segmentation", "depth")


class Uniform(PerspectiveDataset):
    """Uniform images whose brightness is their index, with ground truth for some tasks."""

    def __init__(self, name, num, labeled_tasks, classes=CLASSES, augment=None, tasks=TASKS):
        super().__init__(16, 16, augment, tasks)
        self.name, self.num, self.labeled_tasks, self.classes, self.split = name, num, labeled_tasks, classes, "train"

    def __len__(self):
        return self.num

    def sample_names(self):
        return [f"{index}" for index in range(self.num)]

    def read(self, index):
        image = without_maps(np.full((16, 16, 3), index, np.uint8), f"{self.name}/{index}")
        image.boxes = np.array([[2, 2, 9, 9, 1]], np.float32) if "detection" in self.labeled_tasks else no_boxes()
        if "depth" in self.labeled_tasks:
            image.depth += 1 + np.arange(16, dtype=np.float32)
        return image


def objects(num=5, **more):
    return Uniform("Objects", num, ("detection", "segmentation"), **more)


def depths(num=3, **more):
    return Uniform("Depths", num, ("depth",), **more)


def test_concatenation():
    joint = JointDataset([objects(), depths()])
    assert (len(joint), joint.sizes, joint.name, joint.classes) == (8, (5, 3), "Objects+Depths", CLASSES)
    assert joint.labeled_tasks == ("detection", "segmentation", "depth")
    for index in range(8):
        sample = joint[index]
        assert sample["dataset"] == (index >= 5)
        assert sample["index"] == index
        assert sample["id"] == (f"Objects/{index}" if index < 5 else f"Depths/{index - 5}")
        assert sample["depth_mask"].any() == (index >= 5)
        assert len(sample["boxes"]) == (index < 5)
    for wrong in (-1, 8):
        with pytest.raises(IndexError):
            joint.locate(wrong)
    assert joint.fingerprint() != JointDataset([depths(), objects()]).fingerprint()
    assert "Depths classes" in joint.describe_source()


def test_classes_of_the_first_dataset_with_labels():
    assert JointDataset([depths(classes=OTHER), objects()]).classes is CLASSES
    assert JointDataset([objects(), objects(), depths()]).classes is CLASSES
    other = Uniform("Rooms", 2, ("segmentation", "depth"), classes=OTHER)
    with pytest.raises(UserError, match=r"--train_dataset: Objects and Rooms .*2 and 3"):
        JointDataset([objects(), other])
    renamed = objects(classes=SemanticClasses(("background", "object"), CLASSES.colors))
    with pytest.raises(UserError, match="--train_dataset: Objects and Objects "):
        JointDataset([objects(), renamed])
    unused = [Uniform("Rooms", 2, ("segmentation", "depth"), OTHER, tasks=("depth",)), depths(tasks=("depth",))]
    assert JointDataset(unused).classes is OTHER


def test_task_without_ground_truth():
    with pytest.raises(UserError, match="--app depth"):
        JointDataset([objects(), objects()])


def batches_of(joint, ratio=None, size=4, seed=3, epoch=0, first=0):
    batches = training_batches(joint, LoadingSettings(size, mix_ratio=ratio), seed, CPU)
    batches.set_epoch(epoch, first)
    return list(batches)


def test_batches_keep_labels_with_their_dataset():
    joint = JointDataset([objects(9), depths(7)])
    seen = Counter()
    for batch in batches_of(joint):
        for row, number in enumerate(batch["dataset"]):
            assert batch["depth_mask"][row].any() == (number == 1)
            assert (batch["boxes"][row, :, 4] > 0).any() == (number == 0)
            assert (batch["index"][row] >= 9) == (number == 1)
            seen[batch["id"][row]] += 1
    assert set(seen.values()) == {1}
    assert len(seen) == 16


def epoch_of(sizes, ratio, number=0, processes=1, seed=3, first=0):
    """Indices and seeds of an epoch, with the processes in turn."""
    dataset = range(sum(sizes))
    samplers = [MixingSampler(dataset, sizes, ratio, processes, rank, seed) for rank in range(processes)]
    for sampler in samplers:
        sampler.set_epoch(number)
        sampler.first = first
    return [item for step in zip(*samplers, strict=True) for item in step]


@pytest.mark.parametrize(
    ("ratio", "expected"), [((1, 1), (60, 60)), ((3, 1), (90, 30)), ((1, 3), (30, 90)), ((0.5, 1.0), (40, 80))]
)
@pytest.mark.parametrize("order", [1, -1])
def test_datasets_contribute_by_ratio(ratio, expected, order):
    sizes = (100, 20)[::order]
    epoch = epoch_of(sizes, ratio[::order])
    assert len(epoch) == 120
    counts = Counter(item.index for item in epoch)
    first = [counts[index] for index in range(sizes[0])]
    second = [counts[index] for index in range(sizes[0], 120)]
    assert (sum(first), sum(second)) == expected[::order]
    assert max(first) - min(first) <= 1
    assert max(second) - min(second) <= 1


def test_the_order_is_mixed():
    """Both datasets contribute about equally to every quarter of an epoch."""
    epoch = epoch_of((1000, 200), (1, 1))
    for begin in range(0, 1200, 300):
        assert 110 < sum(item.index < 1000 for item in epoch[begin : begin + 300]) < 190


def test_repeated_samples_are_augmented_differently():
    epoch = epoch_of((90, 3), (1, 1))
    assert len(set(epoch)) == len(epoch)
    assert len({item.seed for item in epoch}) == len(epoch)


def test_epochs_and_seeds_differ():
    assert epoch_of((50, 20), (1, 2)) == epoch_of((50, 20), (1, 2))
    chosen = {index for index in (item.index for item in epoch_of((50, 20), (1, 2))) if index < 50}
    assert chosen != {item.index for item in epoch_of((50, 20), (1, 2), number=1) if item.index < 50}
    assert chosen != {item.index for item in epoch_of((50, 20), (1, 2), seed=4) if item.index < 50}


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_processes_share_the_same_samples(processes):
    assert epoch_of((20, 4), (1, 1), processes=processes) == epoch_of((20, 4), (1, 1))


def test_samplers_resume_within_an_epoch():
    assert epoch_of((20, 4), (1, 1), first=9) == epoch_of((20, 4), (1, 1))[9:]


def test_first_draws_are_seeded_as_without_a_ratio():
    plain = SeededSampler(range(24), 1, 0, shuffle=True, seed=3)
    seeds = {item.index: item.seed for item in plain}
    assert all(item.seed == seeds[item.index] for item in epoch_of((20, 4), (20, 4)))


@pytest.mark.parametrize("ratio", [(1,), (1, 1, 1), (1, 0), (1, -1), (1, float("nan")), (1, float("inf"))])
def test_wrong_ratios(ratio):
    with pytest.raises(UserError, match="--mix_ratio"):
        epoch_of((20, 4), ratio)


def test_mixed_loading_resumes():
    augment = PerspectiveAugmentation()
    joint = JointDataset([objects(9, augment=augment), depths(3, augment=augment)])
    whole = batches_of(joint, (1, 2))
    rest = batches_of(joint, (1, 2), first=1)
    assert sum((batch["dataset"] == 1).sum() for batch in whole) == 8
    assert len(rest) == len(whole) - 1 == 2
    for a, b in zip(whole[1:], rest, strict=True):
        assert torch.equal(a["rgb"], b["rgb"])
        assert torch.equal(a["boxes"], b["boxes"])
        assert a["id"] == b["id"]

"""The printed line about a dataset of perspective images."""

import pytest

from datasets.classes import SemanticClasses
from datasets.perspective import PerspectiveDataset
from options.perspective import describe


class Images(PerspectiveDataset):
    """Three images with the ground truth of some tasks."""

    name, split = "Images", "test"

    def __init__(self, labeled_tasks, classes):
        super().__init__(16, 16, None, labeled_tasks)
        self.labeled_tasks = labeled_tasks
        self.classes = SemanticClasses(classes, ((0, 0, 0),) * len(classes))

    def sample_names(self):
        return ["0", "1", "2"]

    def read(self, index):
        raise NotImplementedError

    def __len__(self):
        return 3


@pytest.mark.parametrize(
    ("tasks", "classes", "named"),
    [(("depth",), (), "depth"), (("segmentation",), ("wall", "floor"), "classes 2"), (("depth",), ("wall",), "depth")],
)
def test_only_facts_about_its_ground_truth(tasks, classes, named):
    line = describe(Images(tasks, classes))
    assert line.startswith("Images, split test: 3 images; ")
    assert named in line
    assert ("depth" in line) == ("depth" in tasks)
    assert ("classes" in line) == bool(classes)

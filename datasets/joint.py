"""Joint training on several datasets, each with ground truth for some of the tasks: --train_dataset VOC NYU_BTS.

The datasets are concatenated. Ground truth that a dataset lacks is missing in its samples, as described in
`datasets.perspective`, and excluded from the losses. Each evaluation uses a single dataset.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch

from datasets.perspective import PerspectiveDataset, PerspectiveImage
from utils.errors import UserError
from utils.tasks import CLASS_TASKS


def join(datasets: Sequence[PerspectiveDataset]) -> PerspectiveDataset:
    """The `JointDataset` of several datasets, or the dataset itself if there is only one."""
    return datasets[0] if len(datasets) == 1 else JointDataset(datasets)


class JointDataset(PerspectiveDataset):
    """The concatenation of datasets. A sample has an additional entry ``dataset``: int, the index of its dataset.

    Args:
        datasets: datasets of the same split, size and tasks.

    Attributes:
        sizes: number of samples of each dataset.
        classes: the classes of the first dataset with class labels; if there is none, of the first dataset.
        labeled_tasks: tasks for which at least one of the datasets has ground truth.

    Raises:
        UserError: when two datasets label different classes, or no dataset has ground truth for a task.
    """

    def __init__(self, datasets: Sequence[PerspectiveDataset]):
        first = datasets[0]
        super().__init__(first.height, first.width, tasks=first.tasks)
        self.datasets = tuple(datasets)
        self.name = "+".join(dataset.name for dataset in datasets)
        self.split = first.split
        self.sizes = tuple(map(len, datasets))
        self._ends = list(accumulate(self.sizes))
        self.labeled_tasks = tuple(dict.fromkeys(task for dataset in datasets for task in dataset.labeled_tasks))
        with_classes = [dataset for dataset in datasets if {*CLASS_TASKS} & {*dataset.labeled_tasks} & {*dataset.tasks}]
        self.classes = (with_classes or datasets)[0].classes
        for other in with_classes[1:]:
            if other.classes.names != self.classes.names:
                raise UserError(
                    f"--train_dataset: {with_classes[0].name} and {other.name} label different classes "
                    f"({len(self.classes)} and {len(other.classes)}): use one of them for --app {' '.join(self.tasks)}"
                )
        for task in self.tasks:
            if task not in self.labeled_tasks:
                raise UserError(
                    f"--app {task}: {' and '.join(dataset.name for dataset in datasets)} have no ground truth for it"
                )

    def __len__(self) -> int:
        return self._ends[-1]

    def locate(self, index: int) -> tuple[int, int]:
        """Index of a sample's dataset, and the index of the sample in it.

        Raises:
            IndexError: when there is no such sample.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"no sample {index} in a dataset of {len(self)}")
        number = next(number for number, end in enumerate(self._ends) if index < end)
        return number, index - self._ends[number] + self.sizes[number]

    def read(self, index: int) -> PerspectiveImage:
        number, own_index = self.locate(index)
        return self.datasets[number].read(own_index)

    def packed(self, index: int) -> dict:
        """The sample as packed by its dataset, with its index in the concatenation and ``dataset``."""
        number, own_index = self.locate(index)
        return self.datasets[number].packed(own_index) | {"index": index, "dataset": number}

    @staticmethod
    def unpack(packed: dict, device: torch.device | str = "cpu") -> dict:
        """See `datasets.perspective.unpack`."""
        return PerspectiveDataset.unpack(packed, device) | {"dataset": packed["dataset"]}

    def sample_names(self) -> list[str]:
        return [f"{number}/{name}" for number, dataset in enumerate(self.datasets) for name in dataset.sample_names()]

    def describe_source(self) -> dict[str, str | int | float | None]:
        """The facts of each dataset, prefixed with its name."""
        facts = {
            f"{dataset.name} {fact}": value
            for dataset in self.datasets
            for fact, value in dataset.describe_source().items()
        }
        return {"classes": len(self.classes)} | facts

    def missing_files(self) -> list[str]:
        """Paths of all needed files that do not exist."""
        return [path for dataset in self.datasets for path in dataset.missing_files()]

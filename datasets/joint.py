"""Joint training on several datasets, each with ground truth of some of the tasks: --train_dataset VOC NYU_BTS.

The datasets are concatenated. Ground truth that the dataset of a sample lacks is missing in it, as described in
`datasets.perspective`; the losses leave it out. Evaluations are of one dataset at a time.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch

from datasets.perspective import PerspectiveDataset, PerspectiveImage
from utils.errors import UserError
from utils.tasks import CLASS_TASKS


def join(datasets: Sequence[PerspectiveDataset]) -> PerspectiveDataset:
    """The concatenation of several datasets, or the only one; raises as `JointDataset`."""
    return datasets[0] if len(datasets) == 1 else JointDataset(datasets)


class JointDataset(PerspectiveDataset):
    """The concatenation of datasets. A sample has one more entry: ``dataset``, int, its place in `datasets`.

    Args:
        datasets: of one split, of one size and for the same tasks.

    Attributes:
        sizes: of the datasets.
        classes: those of the first dataset with class labels; without such a dataset, of the first one.
        labeled_tasks: those for which any of the datasets has ground truth.

    Raises:
        UserError: when two datasets label different classes, or no dataset has ground truth of a task.
    """

    def __init__(self, datasets: Sequence[PerspectiveDataset]):
        first = datasets[0]
        super().__init__(first.height, first.width, tasks=first.tasks)
        self.datasets = tuple(datasets)
        self.name = "+".join(one.name for one in datasets)
        self.split = first.split
        self.sizes = tuple(map(len, datasets))
        self._ends = list(accumulate(self.sizes))
        self.labeled_tasks = tuple(dict.fromkeys(task for one in datasets for task in one.labeled_tasks))
        with_classes = [one for one in datasets if {*CLASS_TASKS} & {*one.labeled_tasks} & {*one.tasks}]
        self.classes = (with_classes or datasets)[0].classes
        for other in with_classes[1:]:
            if other.classes.names != self.classes.names:
                raise UserError(
                    f"--train_dataset: {with_classes[0].name} has {len(self.classes)} classes and {other.name} "
                    f"{len(other.classes)} others: only one of them can be used for --app {' '.join(self.tasks)}"
                )
        for task in self.tasks:
            if task not in self.labeled_tasks:
                raise UserError(
                    f"--app {task}: {' and '.join(one.name for one in datasets)} have no ground truth of it"
                )

    def __len__(self) -> int:
        return self._ends[-1]

    def place(self, index: int) -> tuple[int, int]:
        """The dataset of a sample, and its index there.

        Raises:
            IndexError: when there is no such sample.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there is no sample {index} among {len(self)}")
        number = next(number for number, end in enumerate(self._ends) if index < end)
        return number, index - self._ends[number] + self.sizes[number]

    def read(self, index: int) -> PerspectiveImage:
        number, own = self.place(index)
        return self.datasets[number].read(own)

    def packed(self, index: int) -> dict:
        """The sample as its dataset prepares it, with its index here and the place of its dataset."""
        number, own = self.place(index)
        return self.datasets[number].packed(own) | {"index": index, "dataset": number}

    @staticmethod
    def unpack(packed: dict, device: torch.device | str = "cpu") -> dict:
        """See `datasets.perspective.unpack`."""
        return PerspectiveDataset.unpack(packed, device) | {"dataset": packed["dataset"]}

    def sample_names(self) -> list[str]:
        return [f"{number}/{name}" for number, one in enumerate(self.datasets) for name in one.sample_names()]

    def describe_source(self) -> dict[str, str | int | float | None]:
        """The facts of each dataset, prefixed with its name."""
        facts = {f"{one.name} {fact}": value for one in self.datasets for fact, value in one.describe_source().items()}
        return {"classes": len(self.classes)} | facts

    def missing_files(self) -> list[str]:
        """Paths of all files that should be read and are not there."""
        return [path for one in self.datasets for path in one.missing_files()]

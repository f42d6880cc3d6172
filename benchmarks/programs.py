"""Command lines and files of both programs, for the comparison of balancing methods."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.steps import StepperAndBatch, perspective_stepper_and_batch, stepper_and_batch
from losses.balancing import BALANCINGS
from metrics.summary import SUMMARIZED, summary_score
from networks.backbones import folder_of
from options.achievement import parse_evaluation, parse_training
from options.elite360m import train_parser
from options.perspective import run_folder_of
from tasks import TASKS
from utils.checkpoint_files import LAST_MODEL
from utils.tasks import TASK_NAMES, join_tasks

CORRECTED = "b2f-corrected"  # not a balancing method, but `uncertainty` with --b2f corrected
NO_IMAGES = str(10**6)  # batches between images
_ANY_ACCURACY = "0.5"  # a potential where only time matters


class ComparedMetric(NamedTuple):
    """A column of the comparison.

    Attributes:
        task, name: task and metric, as in results.json.
        unit: unit of the values; may be empty.
        digits: number of decimals.
        higher_is_better: whether higher values are better.
    """

    task: str
    name: str
    unit: str
    digits: int
    higher_is_better: bool

    @property
    def label(self) -> str:
        """Column title."""
        return f"{self.task} {self.name} ({self.unit})" if self.unit else f"{self.task} {self.name}"


class Program(ABC):
    """A program to compare methods with. In all methods, `shared` are the options of all trainings.

    Attributes:
        train_script, eval_script: script names.
        tasks: tasks of the multi-task network.
        methods: methods that can be compared.
        reserved: options that the comparison sets, or that would stop a training early.
        metrics: metrics to compare.
        score: maps the metrics of all tasks to one number; None if there is no score.
        stepper_and_batch: builds the `Stepper` of a training, and a batch, from its options and the device.
        any_potential: options that give each task some potential.
    """

    train_script: str
    eval_script: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    reserved: tuple[str, ...]
    metrics: tuple[ComparedMetric, ...]
    score: Callable[[Mapping[str, Mapping[str, float]]], float] | None
    stepper_and_batch: StepperAndBatch
    any_potential: tuple[str, ...]

    @abstractmethod
    def check(self, shared: list[str]) -> None:
        """Exit with one line if the shared options are wrong."""

    @abstractmethod
    def training(self, tasks: tuple[str, ...], method: str, seed: int, shared: list[str]) -> list[str]:
        """Options of a training, except for potentials and folder."""

    @abstractmethod
    def train_folder(self, folder: Path) -> list[str]:
        """Options that make a training write below `folder`."""

    @abstractmethod
    def run(self, folder: Path, tasks: tuple[str, ...], shared: list[str]) -> Path:
        """Run folder of a training with `train_folder(folder)`."""

    @abstractmethod
    def evaluation(
        self, run: Path, folder: Path, tasks: tuple[str, ...], shared: list[str], num_test: int
    ) -> list[str]:
        """Options that evaluate the last model of a run on the test split, and write below `folder`."""

    @abstractmethod
    def results(self, folder: Path, tasks: tuple[str, ...], shared: list[str]) -> Path:
        """The results.json of such an `evaluation`."""


class Panoramas(Program):
    """train_elite360m.py on synthetic rooms."""

    train_script, eval_script = "train_elite360m.py", "eval_elite360m.py"
    tasks = TASK_NAMES
    methods = (*BALANCINGS, CORRECTED)
    reserved = (
        *("dataset", "val_split", "task", "seed", "balancing", "loss_weights", "potential", "potential_from"),
        *("b2f", "log_dir", "resume", "overwrite", "max_minutes"),
    )
    metrics = tuple(
        ComparedMetric(task, TASKS[task].best_metric, TASKS[task].unit, digits, TASKS[task].higher_is_better)
        for task, digits in (("depth", 3), ("normal", 2), ("segmentation", 3))
    )
    score = None
    stepper_and_batch = staticmethod(stepper_and_batch)
    any_potential = ("--potential", *(f"{task}={_ANY_ACCURACY}" for task in TASK_NAMES))

    def check(self, shared: list[str]) -> None:
        train_parser().parse_args(shared)

    def training(self, tasks: tuple[str, ...], method: str, seed: int, shared: list[str]) -> list[str]:
        balancing = ["--b2f", "corrected"] if method == CORRECTED else ["--balancing", method]
        task = [] if tasks == self.tasks else ["--task", join_tasks(tasks)]
        return [*("--dataset", "Synthetic", "--val_split", "val", "--seed", str(seed)), *shared, *task, *balancing]

    def train_folder(self, folder: Path) -> list[str]:
        return ["--log_dir", str(folder)]

    def run(self, folder: Path, tasks: tuple[str, ...], shared: list[str]) -> Path:
        return folder / join_tasks(tasks) / folder_of(train_parser().parse_args(shared).backbone)

    def evaluation(
        self, run: Path, folder: Path, tasks: tuple[str, ...], shared: list[str], num_test: int
    ) -> list[str]:
        options = train_parser().parse_args(shared)
        data = ["--dataset", "Synthetic", "--num_val", str(num_test), "--num_workers", str(options.num_workers)]
        network = ["--task", join_tasks(tasks), "--backbone", options.backbone]
        places = ["--load_weights_dir", str(run), "--log_dir", str(folder)]
        return [*data, *network, *places, "--log_frequency", NO_IMAGES]

    def results(self, folder: Path, tasks: tuple[str, ...], shared: list[str]) -> Path:
        return folder / folder_of(train_parser().parse_args(shared).backbone) / join_tasks(tasks) / "results.json"


class Perspective(Program):
    """train_achievement.py, on the dataset of its options."""

    train_script, eval_script = "train_achievement.py", "eval_achievement.py"
    tasks = ("segmentation", "depth", "normal")
    methods = tuple(BALANCINGS)
    reserved = (
        *("app", "val_split", "seed", "random_seed", "balancing", "loss_metric", "loss_weights", "loss_weight"),
        *("potential", "potential_from", "root_folder", "log_dir", "subfolder", "resume", "overwrite", "max_minutes"),
        "ckpt",
    )
    metrics = tuple(
        ComparedMetric(task, name, {"rms": "m", "mean": "°", "median": "°"}.get(name, ""), digits, sign > 0)
        for task, decimals in (("segmentation", (3,)), ("depth", (3, 3)), ("normal", (3, 2, 2)))
        for (name, sign), digits in zip(SUMMARIZED[task], decimals, strict=True)
    )
    score = staticmethod(summary_score)
    stepper_and_batch = staticmethod(perspective_stepper_and_batch)
    any_potential = ("--potential", *(_ANY_ACCURACY for _ in tasks))

    def check(self, shared: list[str]) -> None:
        parse_training(shared)

    def training(self, tasks: tuple[str, ...], method: str, seed: int, shared: list[str]) -> list[str]:
        return [*shared, *("--app", *tasks, "--loss_metric", method, "--val_split", "val", "--seed", str(seed))]

    def train_folder(self, folder: Path) -> list[str]:
        return ["--root_folder", str(folder), "--subfolder", "run"]

    def run(self, folder: Path, tasks: tuple[str, ...], shared: list[str]) -> Path:
        return run_folder_of(parse_training([*self.training(tasks, "fixed", 0, shared), *self.train_folder(folder)]))

    def evaluation(
        self, run: Path, folder: Path, tasks: tuple[str, ...], shared: list[str], num_test: int
    ) -> list[str]:
        arguments = [*shared, "--app", *tasks, *self.train_folder(folder), "--ckpt", str(run / LAST_MODEL)]
        if parse_evaluation(arguments).test_dataset == "SyntheticNYU":
            arguments += ["--num_val", str(num_test)]
        return [*arguments, "--split", "test", "--display_freq", NO_IMAGES]

    def results(self, folder: Path, tasks: tuple[str, ...], shared: list[str]) -> Path:
        return self.run(folder, tasks, shared) / "evaluation_test" / "results.json"


PROGRAMS = {"elite360m": Panoramas(), "achievement": Perspective()}

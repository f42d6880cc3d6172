"""Compare balancing methods with single-task training, and with each other, on synthetic rooms.

    python -m benchmarks.balancing --out ./comparison --methods fixed uncertainty achievement --seeds 100 101 102 \
        -- --height 64 --width 128 --ico_level 2 --no_pretrained --num_train 200 --num_epochs 5 --batch_size 4

Options after the two dashes are passed to every training. For each seed, a single-task network is trained per task,
then one network with each method; the `achievement` methods use the former's accuracies as potentials, and
`b2f-corrected` is `uncertainty` with --b2f corrected. Validation is on rooms of the val split; the metrics are those of
the last model on rooms of the test split. Writes to --out:

    comparison.md       a table: metrics, mean relative gain over single-task training (Delta_MTL), time per step
    comparison.json     the same, and all values
    comparison.png      weights and accuracies over the epochs

Existing trainings are reused, and interrupted ones resumed. Needs requirements-extra.txt.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev

from benchmarks.steps import relative_time, step_of
from losses.balancing import BALANCINGS, build_balancing
from networks.backbones import folder_of
from options.elite360m import train_parser
from options.parser import Parser, positive, seed
from tasks import FOLDERS, TASKS
from training.run_folder import RunFolder
from training.state import has_state
from utils.errors import UserError, exit_on_user_error
from utils.files import atomic_path, write_json, write_text
from utils.provenance import provenance
from utils.tasks import TASK_NAMES, join_tasks

CORRECTED = "b2f-corrected"  # not a method: `uncertainty` with --b2f corrected
METHODS = (*BALANCINGS, CORRECTED)
REFERENCE = "fixed"  # of the time per step
NO_IMAGES = 10**6  # batches between images
# Options that the comparison sets, or that would stop a training early.
RESERVED = (
    *("dataset", "val_split", "task", "seed", "balancing", "loss_weights", "potential", "potential_from"),
    *("b2f", "log_dir", "resume", "overwrite", "max_minutes"),
)
ROOT = Path(__file__).resolve().parents[1]
ALL_KNOWN = ["--potential", *(f"{task}=0.5" for task in TASK_NAMES)]  # potentials where only time matters


def parse(arguments: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The options of the comparison, and those of every training."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of runs and results")
    parser.add_argument(
        "--methods", nargs="+", default=METHODS, choices=METHODS, metavar="NAME", help="methods to compare"
    )
    parser.add_argument(
        "--seeds", type=seed, nargs="+", default=[100], metavar="N", help="seeds of weights and shuffling"
    )
    parser.add_argument("--num_test", type=positive, default=100, metavar="N", help="number of test rooms")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="number of parallel trainings")
    parser.add_argument("--timed_steps", type=positive, default=10, metavar="N", help="timed steps per method")
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    own, shared = arguments[:cut], arguments[cut + 1 :]
    options = parser.parse_args(own)
    train_parser().parse_args(shared)  # reports wrong options before training
    if reserved := [word for word in shared if word.partition("=")[0].removeprefix("--") in RESERVED]:
        parser.error(f"{reserved[0]} is set by the comparison: drop it after the dashes")
    return options, shared


def check_settings(options: argparse.Namespace, shared: list[str]) -> None:
    """Write the common options of all trainings, or make sure that those in the folder are the same.

    Raises:
        UserError: when they differ, or a required package is missing.
    """
    path = Path(options.out) / "settings.json"
    settings = {"shared": shared, "num_test": options.num_test}
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != settings:
        raise UserError(f"{path} was written with other options: choose another --out")
    if not find_spec("matplotlib"):
        raise UserError("the plot needs matplotlib: pip install -r requirements-extra.txt")
    for name in set(options.methods) - {CORRECTED}:
        arguments = {
            "loss_weights": dict.fromkeys(TASK_NAMES, 1.0),
            "potential": dict.fromkeys(TASK_NAMES, 1.0),
            "margin": 0.0,
        }
        build_balancing(name, TASK_NAMES, seed=0, focusing_factor=1.0, **arguments)
    write_json(path, settings)


class Training:
    """One training and its evaluation on the test split.

    Args:
        out: folder of the comparison.
        name: a method, or a task for single-task training.
        seed: of weights and shuffling.
        shared: options of all trainings.
    """

    def __init__(self, out: Path, name: str, seed: int, shared: list[str]):
        self.name, self.seed = name, seed
        self.tasks = (name,) if name in TASK_NAMES else TASK_NAMES
        self._shared = shared
        self._options = train_parser().parse_args(shared)
        self._folder = out / name / f"seed_{seed}"
        task, backbone = join_tasks(self.tasks), folder_of(self._options.backbone)
        self.run = RunFolder(self._folder / "train" / task / backbone, FOLDERS)
        self._results = self._folder / "test" / backbone / task / "results.json"

    def arguments(self, potential: list[str]) -> list[str]:
        """Options of this training, given those for the potentials of the tasks."""
        if self.name in TASK_NAMES:
            special = ["--task", self.name, "--balancing", "fixed"]
        elif self.name == CORRECTED:
            special = ["--b2f", "corrected"]
        else:
            special = ["--balancing", self.name]
            if "potential" in BALANCINGS[self.name].options:
                special += potential
        return [*("--dataset", "Synthetic", "--val_split", "val", "--seed", str(self.seed)), *self._shared, *special]

    def do(self, num_test: int, threads: int, potential: list[str]) -> None:
        """Train and evaluate, unless done before.

        Raises:
            UserError: when a training or evaluation fails.
        """
        if self._results.exists():
            return
        resume = ["--resume"] if has_state(self.run) else []
        places = ["--log_dir", str(self._folder / "train")]
        self._launch("train_elite360m.py", [*self.arguments(potential), *places, *resume], threads)
        options = self._options
        places = ["--load_weights_dir", str(self.run.root), "--log_dir", str(self._folder / "test")]
        data = ["--dataset", "Synthetic", "--num_val", str(num_test), "--num_workers", str(options.num_workers)]
        network = ["--task", join_tasks(self.tasks), "--backbone", options.backbone]
        self._launch("eval_elite360m.py", [*data, *network, *places, "--log_frequency", str(NO_IMAGES)], threads)

    def _launch(self, script: str, arguments: list[str], threads: int) -> None:
        done = subprocess.run(
            [sys.executable, script, *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"{script} for {self.name}, seed {self.seed}: {reason}")

    def metrics(self) -> dict[str, float]:
        """Each task's `best_metric` on the test split."""
        results = json.loads(self._results.read_text())["results"]
        return {task: results[task][TASKS[task].best_metric] for task in self.tasks}

    def history(self) -> dict[str, list[tuple[float, float]]]:
        """``weight/task`` and ``accuracy/task`` over the epochs, as (epoch, value)."""
        lines = [json.loads(line) for line in self.run.metrics.read_text().splitlines()]
        epochs = max(line["epoch"] for line in lines if "epoch" in line)
        steps = max(line["step"] for line in lines if "step" in line)
        curves: dict[str, list[tuple[float, float]]] = {}
        for line in lines:
            at = line["epoch"] if "epoch" in line else line["step"] / steps * epochs
            for key, value in line.items():
                if key.startswith(("weight/", "accuracy/")):
                    curves.setdefault(key, []).append((at, value))
        return curves


def train_all(options: argparse.Namespace, shared: list[str]) -> dict[str, list[Training]]:
    """All trainings, single-task ones first; by name, one per seed."""
    out = Path(options.out).resolve()
    trainings = {
        name: [Training(out, name, seed, shared) for seed in options.seeds] for name in (*TASK_NAMES, *options.methods)
    }
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    potential = {
        seed: ["--potential_from", *(str(trainings[task][i].run.root) for task in TASK_NAMES)]
        for i, seed in enumerate(options.seeds)
    }
    done = 0
    for names in (TASK_NAMES, options.methods):
        waiting = [trainings[name][i] for i in range(len(options.seeds)) for name in names]
        with ThreadPoolExecutor(options.jobs) as pool:
            results = [pool.submit(some.do, options.num_test, threads, potential[some.seed]) for some in waiting]
            try:
                for training, result in zip(waiting, results, strict=True):
                    result.result()
                    done += 1
                    print(f"{done} of {sum(map(len, trainings.values()))}: {training.name}, seed {training.seed}")
            except BaseException:
                pool.shutdown(cancel_futures=True)  # do not start the others
                raise
    return trainings


def gain(metrics: dict[str, float], single: dict[str, float]) -> float:
    """Delta_MTL in percent: mean over tasks of the relative gain of the metric over single-task training.

    Maninis et al., CVPR 2019; with the opposite sign for metrics where lower is better.

    Raises:
        UserError: when a single-task metric is 0.
    """
    if nothing := [task for task in single if not single[task]]:
        raise UserError(f"single-task training for {nothing[0]} reached a metric of 0: train longer")
    gains = [
        (metrics[task] - single[task]) / single[task] * (1 if TASKS[task].higher_is_better else -1) for task in single
    ]
    return 100 * mean(gains)


def step_times(names: list[str], shared: list[str], num_steps: int) -> dict[str, float]:
    """Time of an optimizer step with each method, relative to REFERENCE, alternating; medians."""

    def step(name: str) -> Callable[[], object]:
        return step_of(Training(Path(), name, 0, shared).arguments(ALL_KNOWN))

    reference = step(REFERENCE)
    return {name: relative_time(step(name), reference, num_steps) for name in names}


def summarize(
    options: argparse.Namespace, trainings: dict[str, list[Training]], times: dict[str, float]
) -> dict[str, dict]:
    """For each method and ``single-task``: metrics and gains of each seed, and the time."""
    singles = [{task: trainings[task][i].metrics()[task] for task in TASK_NAMES} for i in range(len(options.seeds))]
    summary = {"single-task": {"metrics": singles}}
    for name in options.methods:
        metrics = [training.metrics() for training in trainings[name]]
        gains = [gain(some, single) for some, single in zip(metrics, singles, strict=True)]
        summary[name] = {"metrics": metrics, "gain": gains, "time": times[name]}
    return summary


def spread(values: list[float], digits: int) -> str:
    """Mean over seeds, and standard deviation if there are several."""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{digits}f}"


def table(summary: dict[str, dict]) -> str:
    """The summary as Markdown."""
    rows = [
        "| | depth rms (m) | normal mean (°) | mIoU | Delta_MTL (%) | time per step |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in summary.items():
        digits = {"depth": 3, "normal": 2, "segmentation": 3}
        cells = [spread([some[task] for some in entry["metrics"]], digits[task]) for task in TASK_NAMES]
        cells.append(spread(entry["gain"], 1) if "gain" in entry else "0")
        cells.append(f"{entry['time']:.2f}" if "time" in entry else "")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def draw(path: Path, trainings: dict[str, list[Training]], methods: list[str]) -> None:
    """Weights (above) and accuracies (below) of the first seed over the epochs, a column per method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(methods), figsize=(2.6 * len(methods), 5), squeeze=False, sharex="col")
    colors = dict(zip(TASK_NAMES, ("tab:blue", "tab:orange", "tab:green"), strict=True))
    for column, name in enumerate(methods):
        curves = trainings[name][0].history()
        for row, kind in enumerate(("weight", "accuracy")):
            axis = axes[row][column]
            for task, color in colors.items():
                points = curves.get(f"{kind}/{task}", [(0, float("nan"))])
                axis.plot(*zip(*points, strict=True), color=color, label=task)
            axis.margins(y=0.1)
            axis.set_ylim(bottom=0, top=1 if kind == "accuracy" else None)
        axes[0][column].set_title(name, fontsize=10)
        axes[1][column].set_xlabel("epoch")
    axes[0][0].set_ylabel("weight")
    axes[1][0].set_ylabel("accuracy")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate, and write the comparison."""
    options, shared = parse(arguments)
    check_settings(options, shared)
    trainings = train_all(options, shared)
    summary = summarize(options, trainings, step_times(options.methods, shared, options.timed_steps))
    out = Path(options.out)
    write_text(out / "comparison.md", table(summary))
    write_json(out / "comparison.json", {"seeds": options.seeds, "shared": shared, **summary, **provenance()})
    draw(out / "comparison.png", trainings, options.methods)
    print(table(summary), end="")


if __name__ == "__main__":
    with exit_on_user_error():
        main()

"""Compare balancing methods with single-task training, and with each other, in either program.

    python -m benchmarks.balancing --out ./comparison --methods fixed uncertainty achievement --seeds 100 101 102 \
        -- --height 64 --width 128 --ico_level 2 --no_pretrained --num_train 200 --num_epochs 5 --batch_size 4
    python -m benchmarks.balancing --program achievement --out ./comparison --methods fixed geometric achievement \
        -- cfg/seg+depth+normal/NYU_MT/DeepLabV3_ResNet50.cfg --dataset_root ./data/NYUD_MT

Options after the two dashes are passed to every training: of train_elite360m.py, on synthetic rooms, or of
train_achievement.py, on the dataset they name. For each seed, one single-task network is trained per task, then one
multi-task network per method. The `achievement` methods use the single-task accuracies as potentials; `b2f-corrected`
is `uncertainty` with --b2f corrected. Trainings are validated on the val split; the last models are evaluated on the
test split. Writes to --out:

    comparison.md       table: metrics, mean relative gain over single-task training (Delta_MTL), time per step
    comparison.json     the same, with the values of all seeds
    comparison.png      weights and accuracies over the epochs

Existing trainings are reused, interrupted ones resumed. Needs requirements-extra.txt.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev

from benchmarks.processes import ROOT
from benchmarks.programs import CORRECTED, PROGRAMS, Program
from benchmarks.steps import relative_time, step_of
from losses.balancing import BALANCINGS, build_balancing
from options.parser import Parser, positive, seed
from tasks import FOLDERS
from training.run_folder import RunFolder
from training.state import has_state
from utils.errors import UserError, exit_on_user_error
from utils.files import atomic_path, write_json, write_text
from utils.provenance import provenance
from utils.tasks import TASK_NAMES

Metrics = dict[str, dict[str, float]]  # by task and name
REFERENCE = "fixed"  # method to which times per step are relative


def parse(arguments: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line: the options of the comparison, and those of all trainings."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of runs and results")
    parser.add_argument("--program", default="elite360m", choices=tuple(PROGRAMS), help="program to train with")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="methods to compare (default: all)")
    parser.add_argument(
        "--seeds", type=seed, nargs="+", default=[100], metavar="N", help="seeds of weights and shuffling"
    )
    parser.add_argument("--num_test", type=positive, default=100, metavar="N", help="number of synthetic test rooms")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="number of parallel trainings")
    parser.add_argument("--timed_steps", type=positive, default=10, metavar="N", help="timed steps per method")
    dashes = arguments.index("--") if "--" in arguments else len(arguments)
    own, shared = arguments[:dashes], arguments[dashes + 1 :]
    options = parser.parse_args(own)
    program = PROGRAMS[options.program]
    options.methods = options.methods or list(program.methods)
    if unknown := [name for name in options.methods if name not in program.methods]:
        parser.error(f"--methods {unknown[0]}: choose some of {', '.join(program.methods)}")
    program.check(shared)  # reports wrong options before training
    if reserved := [word for word in shared if word.partition("=")[0].removeprefix("--") in program.reserved]:
        parser.error(f"{reserved[0]} is set by the comparison: drop it")
    return options, shared


def check_settings(options: argparse.Namespace, shared: list[str]) -> None:
    """Write the shared options of all trainings to the folder, or make sure that its options are the same.

    Raises:
        UserError: when they differ, or a required package is missing.
    """
    path = Path(options.out) / "settings.json"
    settings = {"program": options.program, "shared": shared, "num_test": options.num_test}
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
    """A training and its evaluation on the test split.

    Args:
        program: program to train with.
        out: folder of the comparison.
        name: a method, or a task for single-task training.
        seed: seed of weights and shuffling.
        shared: options of all trainings.
    """

    def __init__(self, program: Program, out: Path, name: str, seed: int, shared: list[str]):
        self.name, self.seed = name, seed
        self.tasks = (name,) if name in program.tasks else program.tasks
        self._method = REFERENCE if name in program.tasks else name
        self._program, self._shared = program, shared
        self._folder = out / name / f"seed_{seed}"
        self.run = RunFolder(program.run(self._folder / "train", self.tasks, shared), FOLDERS)
        self._results = program.results(self._folder / "test", self.tasks, shared)

    def arguments(self, potential: Sequence[str]) -> list[str]:
        """Options of this training; `potential` are those that set the potentials of the tasks."""
        options = self._program.training(self.tasks, self._method, self.seed, self._shared)
        takes_potential = self._method != CORRECTED and "potential" in BALANCINGS[self._method].options
        return [*options, *potential] if takes_potential else options

    def run_once(self, num_test: int, threads: int, potential: Sequence[str]) -> None:
        """Train and evaluate, unless the results exist.

        Raises:
            UserError: when a training or evaluation fails.
        """
        if self._results.exists():
            return
        program, train, test = self._program, self._folder / "train", self._folder / "test"
        resume = ["--resume"] if has_state(self.run) else []
        self._launch(program.train_script, [*self.arguments(potential), *program.train_folder(train), *resume], threads)
        evaluation = program.evaluation(self.run.root, test, self.tasks, self._shared, num_test)
        self._launch(program.eval_script, evaluation, threads)

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

    def metrics(self) -> Metrics:
        """The compared metrics of each task on the test split."""
        results = json.loads(self._results.read_text())["results"]
        metrics: Metrics = {task: {} for task in self.tasks}
        for task, name, *_ in self._program.metrics:
            if task in metrics:
                metrics[task][name] = results[task][name]
        return metrics

    def history(self) -> dict[str, list[tuple[float, float]]]:
        """Curves (epoch, value) of ``weight/TASK`` and ``accuracy/TASK``."""
        lines = [json.loads(line) for line in self.run.metrics.read_text().splitlines()]
        epochs = max(line["epoch"] for line in lines if "epoch" in line)
        steps = max(line["step"] for line in lines if "step" in line)
        curves: dict[str, list[tuple[float, float]]] = {}
        for line in lines:
            epoch = line["epoch"] if "epoch" in line else line["step"] / steps * epochs
            for key, value in line.items():
                if key.startswith(("weight/", "accuracy/")):
                    curves.setdefault(key, []).append((epoch, value))
        return curves


def train_all(options: argparse.Namespace, shared: list[str]) -> dict[str, list[Training]]:
    """Run all trainings, single-task ones first; returns them by name, one per seed."""
    program, out = PROGRAMS[options.program], Path(options.out).resolve()
    trainings = {
        name: [Training(program, out, name, seed, shared) for seed in options.seeds]
        for name in (*program.tasks, *options.methods)
    }
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    potential = {
        seed: ["--potential_from", *(str(trainings[task][i].run.root) for task in program.tasks)]
        for i, seed in enumerate(options.seeds)
    }
    done = 0
    for names in (program.tasks, options.methods):
        waiting = [trainings[name][i] for i in range(len(options.seeds)) for name in names]
        with ThreadPoolExecutor(options.jobs) as pool:
            futures = [pool.submit(each.run_once, options.num_test, threads, potential[each.seed]) for each in waiting]
            try:
                for training, future in zip(waiting, futures, strict=True):
                    future.result()
                    done += 1
                    print(f"{done} of {sum(map(len, trainings.values()))}: {training.name}, seed {training.seed}")
            except BaseException:
                pool.shutdown(cancel_futures=True)  # do not start the others
                raise
    return trainings


def gain(program: Program, metrics: Metrics, single: Metrics) -> float:
    """Delta_MTL in percent: the mean over tasks of the relative gain over single-task training.

    As in Maninis et al., CVPR 2019: the sign is reversed for metrics where lower is better, and several metrics of a
    task are averaged first.

    Raises:
        UserError: when a single-task metric is 0.
    """
    gains: dict[str, list[float]] = {}
    for metric in program.metrics:
        value, reference = (each[metric.task][metric.name] for each in (metrics, single))
        if not reference:
            raise UserError(
                f"single-task training for {metric.task} reached a metric of 0 ({metric.name}): train longer"
            )
        relative = (value - reference) / reference
        gains.setdefault(metric.task, []).append(relative if metric.higher_is_better else -relative)
    return 100 * mean(mean(values) for values in gains.values())


def step_times(program: Program, names: list[str], shared: list[str], num_steps: int) -> dict[str, float]:
    """Median time of an optimizer step with each method, relative to REFERENCE, measured alternately."""

    def step(name: str) -> Callable[[], object]:
        arguments = Training(program, Path(), name, 0, shared).arguments(program.any_potential)
        return step_of(arguments, program.stepper_and_batch)

    reference = step(REFERENCE)
    return {name: relative_time(step(name), reference, num_steps) for name in names}


def summarize(
    options: argparse.Namespace, trainings: dict[str, list[Training]], times: dict[str, float]
) -> dict[str, dict]:
    """Metrics, scores and gains of each seed, and the time per step, for ``single-task`` and each method."""
    program = PROGRAMS[options.program]
    singles = [{task: trainings[task][i].metrics()[task] for task in program.tasks} for i in range(len(options.seeds))]
    summary = {"single-task": {"metrics": singles}}
    for name in options.methods:
        metrics = [training.metrics() for training in trainings[name]]
        gains = [gain(program, multi, single) for multi, single in zip(metrics, singles, strict=True)]
        summary[name] = {"metrics": metrics, "gain": gains, "time": times[name]}
    if program.score:
        for entry in summary.values():
            entry["score"] = [program.score(metrics) for metrics in entry["metrics"]]
    return summary


def spread(values: list[float], digits: int) -> str:
    """Mean over seeds, and standard deviation if there are several."""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{digits}f}"


def table(program: Program, summary: dict[str, dict]) -> str:
    """The summary as Markdown."""
    heads = [*(metric.label for metric in program.metrics), *(["score"] if program.score else [])]
    heads += ["Delta_MTL (%)", "time per step"]
    rows = [f"| | {' | '.join(heads)} |", f"|{'---|' * (len(heads) + 1)}"]
    for name, entry in summary.items():
        cells = [
            spread([metrics[metric.task][metric.name] for metrics in entry["metrics"]], metric.digits)
            for metric in program.metrics
        ]
        if program.score:
            cells.append(spread(entry["score"], 4))
        cells.append(spread(entry["gain"], 1) if "gain" in entry else "0")
        cells.append(f"{entry['time']:.2f}" if "time" in entry else "")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def draw(path: Path, trainings: dict[str, list[Training]], methods: list[str]) -> None:
    """Plot weights (top) and accuracies (bottom) of the first seed over the epochs, one column per method."""
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
    program = PROGRAMS[options.program]
    trainings = train_all(options, shared)
    times = step_times(program, options.methods, shared, options.timed_steps)
    summary = summarize(options, trainings, times)
    out = Path(options.out)
    facts = {"program": options.program, "seeds": options.seeds, "shared": shared}
    write_text(out / "comparison.md", table(program, summary))
    write_json(out / "comparison.json", {**facts, **summary, **provenance()})
    draw(out / "comparison.png", trainings, options.methods)
    print(table(program, summary), end="")


if __name__ == "__main__":
    with exit_on_user_error():
        main()

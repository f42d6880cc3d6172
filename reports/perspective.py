"""The result files of an evaluation on perspective images."""

from datasets.perspective import PerspectiveDataset
from metrics.detection import PROTOCOL as DETECTION_PROTOCOL
from metrics.perspective import PER_IMAGE, PER_PIXEL, PROTOCOL
from metrics.summary import ACCURACY, summary_score
from networks.achievement_checkpoint import AchievementCheckpoint
from reports.results import origin_of, write_tables
from training.run_folder import RunFolder
from utils.files import write_text
from utils.text import metrics_line

PROTOCOLS = PROTOCOL | DETECTION_PROTOCOL


def describe_evaluation(
    results: dict[str, dict[str, float]],
    checkpoint: AchievementCheckpoint,
    dataset: PerspectiveDataset,
    rows: list[dict],
) -> dict:
    """The content of results.json."""
    names = [name for metrics in results.values() for name in metrics]
    suffixes = {suffix for suffix in PROTOCOLS if any(name.endswith(suffix) for name in names)}
    return {
        "results": results,
        "accuracy": {task: metrics.get(ACCURACY[task]) for task, metrics in results.items()},
        "summary_score": summary_score(results),
        "protocol": {name: text for name, text in PROTOCOLS.items() if name in results or name in suffixes},
        "source": dataset.describe_source(),
        "class_names": dataset.classes.names,
        "basenet": checkpoint.settings.backbone,
        "trained_on": checkpoint.settings.source,
        "dataset": dataset.name,
        "split": dataset.split,
        **origin_of(checkpoint, dataset, len(rows)),
    }


def write_results(run: RunFolder, summary: dict, rows: list[dict]) -> None:
    """Write result.txt per task, results.json and per_image.csv; print the metrics and the summary score."""
    facts = ", ".join(f"{name} {value}" for name, value in summary["source"].items() if value is not None)
    comments = [f"# *{suffix}: {PROTOCOL[suffix]}" for suffix in (PER_IMAGE, PER_PIXEL)]
    comments.append(f"# {summary['dataset']}, split {summary['split']}: {facts}")
    comments += [f"# {note}" for note in summary["notes"]]
    for task, metrics in summary["results"].items():
        lines = [f"# {PROTOCOLS[task]}", *comments]
        if metrics:
            print(f"{task}: {metrics_line({key: x for key, x in metrics.items() if PER_IMAGE not in key})}")
        else:
            lines.append("# no image has ground truth")
            print(f"{task}: no image has ground truth")
        lines += [f"{key}: {x:.6f}" for key, x in metrics.items()]
        write_text(run.result(task), "\n".join(lines) + "\n")
    print(f"score of all tasks: {summary['summary_score']:.4f}")
    write_tables(run, summary, rows)

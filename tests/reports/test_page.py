"""The page stands alone, says what the results say, and is nobody's to write into."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import torch

from datasets.classes import SemanticClasses
from metrics.evaluator import PROTOCOL, Evaluator
from reports.class_charts import confusion_chart, iou_chart
from reports.drawing import Scale, compact
from reports.elements import element, render
from reports.gallery import Gallery
from reports.page import Report, number, write_report
from reports.profile_charts import distance_chart, latitude_chart
from tasks import TASKS
from visual.displays import Look
from utils.tasks import METRES, RELATIVE

HEIGHT, WIDTH, COUNT = 16, 32, 4
NASTY = '<img src="http://evil.example/x.png" onerror=alert(1)>"\'&</script><script>alert(2)</script>'
CLASSES = SemanticClasses(
    names=("wall", NASTY, "sofa", "never seen"), colours=((1, 2, 3), (40, 50, 60), (200, 0, 0), (0, 0, 200))
)


class Page(HTMLParser):
    """What a page holds: elements in order with their attributes and texts, all of it closed in order."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, str]] = []  # (element around, text)
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self._open[-1], data))

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def values(self) -> dict[str, float]:
        return {a["data-figure"]: float(a["data-value"]) for _, a in self.elements if "data-figure" in a}


def make_report(tasks=tuple(TASKS), depth_unit=METRES, trivial=True, tta=1, notes=()) -> Report:
    """An evaluation of random predictions, which get better from image to image."""
    batch = {
        "index": torch.arange(COUNT),
        "id": [f"{NASTY}/{i}" for i in range(COUNT)],
        "rgb": torch.rand(COUNT, 3, HEIGHT, WIDTH),
        "depth": 1 + 8 * torch.rand(COUNT, 1, HEIGHT, WIDTH),
        "depth_mask": torch.rand(COUNT, 1, HEIGHT, WIDTH) > 0.1,
        "normal": torch.nn.functional.normalize(torch.randn(COUNT, 3, HEIGHT, WIDTH), dim=1),
        "normal_mask": torch.rand(COUNT, 1, HEIGHT, WIDTH) > 0.1,
        "semantic": torch.randint(-1, 3, (COUNT, HEIGHT, WIDTH)),
    }
    noise = torch.arange(COUNT, 0, -1)[:, None, None, None] / COUNT
    logits = torch.nn.functional.one_hot(batch["semantic"].clamp_min(0), len(CLASSES)).movedim(-1, 1).float()
    predictions = {
        "depth": batch["depth"] + noise,
        "normal": torch.nn.functional.normalize(batch["normal"] + noise * torch.randn(COUNT, 3, HEIGHT, WIDTH), dim=1),
        "segmentation": logits + 3 * noise * torch.rand(COUNT, len(CLASSES), HEIGHT, WIDTH),
    }
    look = Look(CLASSES.names, CLASSES.colours, depth_unit, "camera")
    evaluator, gallery = Evaluator(tasks, len(CLASSES), with_breakdown=True), Gallery(tasks, look)
    evaluator.update(predictions, batch)
    gallery.add(batch, predictions, evaluator.rows)
    results, rows = evaluator.compute()
    summary = {
        "results": results,
        **({"plain": results} if tta > 1 else {}),
        **(
            {
                "constant": {task: {k: v + 1 for k, v in figures.items()} for task, figures in results.items()},
                "fixed_map": {task: {k: v + 2 for k, v in figures.items()} for task, figures in results.items()},
                "baselines": {
                    "constant": {task: f"constants for {task}" for task in tasks},
                    "fixed_map": {task: f"the same {task} everywhere" for task in tasks},
                },
            }
            if trivial
            else {}
        ),
        "notes": list(notes),
        "protocol": PROTOCOL,
        "backbone": "Elite360M_Res18",
        "dataset": "Synthetic",
        "split": "test",
        "tta": tta,
        "list": None,
        "depth_unit": depth_unit,
        "normal_frame": "camera",
        "num_skipped": 1,
        "num_images": len(rows),
        "height": HEIGHT,
        "width": WIDTH,
        "checkpoint": {"path": f"/models/{NASTY}.pth", "sha256": "0123abcd" * 8, "epoch": 7},
        "command": ["eval_elite360m.py", "--load_weights_dir", NASTY],
        "python": "3.12.1",
        "versions": {"torch": "2.4.0"},
        "device": "cpu",
        "git_commit": None,
    }
    breakdowns = evaluator.breakdowns()
    return Report(summary, rows, breakdowns, breakdowns if trivial else {}, gallery.join(), look)


@pytest.fixture
def page_of(tmp_path):
    def write(report: Report) -> tuple[Page, str]:
        write_report(tmp_path / "report.html", report)
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        return Page(text), text

    return write


def test_the_page_stands_alone(page_of):
    """Nothing is fetched: no addresses but those of embedded pictures, which all can be decoded."""
    page, text = page_of(make_report())
    assert not {"link", "iframe", "object", "embed", "base", "form", "a"} & {tag for tag, _ in page.elements}
    for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
        for address in page.attributes(name):
            assert re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", address)
    pictures = page.attributes("src")
    assert len(pictures) == 3 * COUNT * 4 + 3, "four tiles per image and task, and three colour scales"
    for address in pictures:
        data = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
    for styled in re.findall(r"<style>.*?</style>|<script>.*?</script>", text, flags=re.DOTALL):
        assert "http" not in styled
        assert "url(" not in styled
        assert "@import" not in styled


def test_names_from_strangers_are_text(page_of):
    """Class names, ids, paths and commands: nothing of theirs runs or loads, and they are still told."""
    page, text = page_of(make_report())
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not page.attributes("onerror")
    assert '<img src="http' not in text
    assert f"{NASTY}/0" in [content for tag, content in page.texts if tag == "code"]
    assert NASTY in [content for tag, content in page.texts if tag == "text"], "a row of the confusion matrix"
    assert f"/models/{NASTY}.pth" in [content for tag, content in page.texts if tag == "td"]


def test_figures_are_those_of_the_results(page_of):
    report = make_report()
    page, _ = page_of(report)
    expected = {}
    for kind in ("results", "constant", "fixed_map"):
        for task, figures in report.summary[kind].items():
            expected |= {f"{kind}/{task}/{name}": value for name, value in figures.items()}
    assert page.values() == expected
    texts = {content for _, content in page.texts}
    assert number(report.summary["results"]["depth"]["rms"]) in texts
    for task in TASKS:
        assert PROTOCOL[task] in texts
    assert {"0123abcd" * 8, "7", METRES, "in the camera frame", "torch 2.4.0", "unknown"} <= texts
    assert "4 of 32x16 pixels (width x height), 1 bad ones skipped" in texts


def test_the_worst_image_is_first(page_of):
    """The fixture's predictions get better from image to image."""
    page, _ = page_of(make_report())
    assert [int(index) for index in page.attributes("data-index")] == [0, 1, 2, 3] * 3
    scores = [float(score) for score in page.attributes("data-score")]
    depth, normal, segmentation = (scores[i : i + COUNT] for i in range(0, 3 * COUNT, COUNT))
    assert depth == sorted(depth, reverse=True)
    assert normal == sorted(normal, reverse=True)
    assert segmentation == sorted(segmentation)
    assert page.attributes("data-show") == list(TASKS)
    assert page.attributes("data-task") == list(TASKS)


@pytest.mark.parametrize("tasks", [("depth",), ("normal", "segmentation"), ("segmentation",)])
def test_some_tasks_of_three(page_of, tasks):
    page, _ = page_of(make_report(tasks))
    assert page.attributes("data-task") == list(tasks)
    assert {key.split("/")[-2] for key in page.values()} == set(tasks)
    assert ("confusion matrix" in page.attributes("aria-label")) == ("segmentation" in tasks)


def test_without_baselines(page_of):
    page, text = page_of(make_report(trivial=False))
    assert {key.split("/")[0] for key in page.values()} == {"results"}
    assert "constant" not in text
    assert "reference" not in page.attributes("class")


def test_views_stand_beside_the_plain_network(page_of):
    page, _ = page_of(make_report(tta=4))
    assert {key.split("/")[0] for key in page.values()} == {"results", "plain", "constant", "fixed_map"}
    assert "average over 4 of each image" in [content for _, content in page.texts]


def test_relative_depth_has_no_metres(page_of):
    page, _ = page_of(make_report(("depth",), depth_unit=RELATIVE))
    texts = [content for _, content in page.texts]
    assert RELATIVE in texts
    assert "depth: absolute error by distance (relative)" in texts
    assert not [content for content in texts if content.endswith(" m") or "(m)" in content]


def test_baselines_are_called_what_they_are(page_of):
    page, text = page_of(make_report())
    texts = {content for _, content in page.texts}
    for task in TASKS:
        assert f"Best constant: constants for {task}." in texts
        assert f"{TASKS[task].fixed_map.title.capitalize()}: the same {task} everywhere." in texts
    assert "best predictor" not in text


def test_notes_are_shown(page_of):
    page, _ = page_of(make_report(notes=["mismatch: metres and feet", "something else"]))
    assert "mismatch: metres and feet; something else" in [content for _, content in page.texts]


def without_truth(report: Report, *tasks: str) -> Report:
    """The report if no image had ground truth for some tasks."""
    evaluator = Evaluator(tasks, len(CLASSES), with_breakdown=True)
    nothing = {task: dict.fromkeys(report.summary["results"][task]) | {"seam": 3.1} for task in tasks}
    summary = {**report.summary, "results": {**report.summary["results"], **nothing}}
    shown = {**report.shown, **{task: [] for task in tasks}}
    return replace(report, summary=summary, breakdowns={**report.breakdowns, **evaluator.breakdowns()}, shown=shown)


@pytest.mark.parametrize("task", TASKS)
def test_no_ground_truth_for_a_task(page_of, task):
    """It is said, and no empty chart is drawn."""
    whole, _ = page_of(make_report(trivial=False))
    page, _ = page_of(without_truth(make_report(trivial=False), task))
    assert [content for _, content in page.texts].count("no panorama has ground truth for it") == 2
    assert {key for key in page.values() if f"/{task}/" in key} == {f"results/{task}/seam"}
    lost = [label for label in whole.attributes("aria-label") if label not in page.attributes("aria-label")]
    assert len(page.attributes("aria-label")) < len(whole.attributes("aria-label"))
    assert ("confusion matrix" in lost) == (task == "segmentation")
    assert not any(content.startswith(f"{task}: ") for tag, content in page.texts if tag == "figcaption")


def test_no_ground_truth_at_all(page_of):
    page, text = page_of(without_truth(make_report(trivial=False), *TASKS))
    assert "no pixel has a label" in text
    assert "no image has ground truth" in text
    assert "Where the errors lie" not in text
    assert "svg" not in [tag for tag, _ in page.elements]


def test_what_is_not_shown_is_counted(page_of):
    report = make_report(("depth",))
    shown = {"depth": [image for image in report.shown["depth"] if image.index != 1]}
    page, _ = page_of(Report(**{**vars(report), "shown": shown}))
    texts = [content for _, content in page.texts]
    assert "1 not shown" in texts
    assert any(content.startswith("3 of 4 images, sorted by rms: the ") for content in texts)
    assert [content for content in texts if re.fullmatch(r"\d of 4", content)] == ["1 of 4", "3 of 4", "4 of 4"]


def bars(chart, kind: str) -> list:
    return [bar for bar in chart.iter("rect") if bar.get("class") == kind]


def test_columns_are_as_high_as_their_means():
    profile = make_report().breakdowns["depth"].by_distance
    (kind, means), *_ = profile.means.items()
    chart = distance_chart(profile, None, kind, kind.unit)
    known = np.isfinite(means)
    heights = np.array([float(bar.get("height")) for bar in bars(chart, "bar")])
    assert heights / heights.max() == pytest.approx(means[known] / means[known].max(), abs=1e-3)
    counts = np.array([float(bar.get("height")) for bar in bars(chart, "count")])
    assert counts / counts.max() == pytest.approx(profile.counts / profile.counts.max(), abs=1e-2)
    told = [bar.find("title").text for bar in bars(chart, "count")]
    assert told[9] == "9 to 10: no pixels"
    assert told[1] == f"1 to 2: absolute error {means[1]:.4g} m, {profile.counts[1]:,} pixels"


def test_the_zenith_is_above():
    profile = make_report().breakdowns["normal"].by_latitude
    ((kind, means),) = profile.means.items()
    chart = latitude_chart(profile, profile, kind, kind.unit)
    drawn = bars(chart, "bar")
    positions = [float(bar.get("y")) for bar in drawn]
    assert positions == sorted(positions)
    assert drawn[0].find("title").text.startswith(f"zenith to 80° up: angular error {means[0]:.4g}°, ")
    assert drawn[-1].find("title").text.startswith("80° down to nadir: ")


def test_cells_are_shares_of_the_true_class():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    chart = confusion_chart(confusion, ("a", "b", "c"))
    right = [float(cell.get("data-share")) for cell in bars(chart, "right")]
    wrong = [float(cell.get("data-share")) for cell in bars(chart, "wrong")]
    assert right == [0.75, 0.5]
    assert wrong == [0.25, 0, 0.25, 0.25]
    assert bars(chart, "wrong")[0].find("title").text == "a is taken for b: 25.00% (1 of 4 pixels)"
    assert bars(chart, "empty")[0].find("title").text == "b does not occur in the truth"


def test_classes_that_do_not_occur_have_no_iou():
    """Sorted; b is predicted but never true: 0. d is in neither: it has no bar."""
    confusion = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 0]])
    chart = iou_chart(confusion, ("a", "b", "c", "d"), CLASSES.colours)
    assert [(bar.get("data-class"), float(bar.get("data-value"))) for bar in bars(chart, "bar")] == [
        ("c", 1.0),
        ("a", 0.75),
        ("b", 0.0),
    ]
    assert "no true pixels" in [text.text for text in chart.iter("text")]


def test_absent_classes_are_named(page_of):
    page, _ = page_of(make_report())
    assert "Absent from the truth of these images: never seen." in [content for _, content in page.texts]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (30720, "30.7k"), (999_600, "1M"), (9_999_999, "10M"), (2 * 10**9, "2G")],
)
def test_compact_counts(count, text):
    assert compact(count) == text


@pytest.mark.parametrize("largest", [0.013, 0.5, 1, 7.3, 90, 180])
def test_scales_hold_everything(largest):
    scale = Scale(np.array([largest, np.nan, 0]), 100)
    assert 50 < scale.length(largest) <= 100
    assert 2 <= len(scale.ticks) <= 7
    assert scale.ticks[0] == 0


def test_a_scale_of_nothing():
    assert Scale(np.array([np.nan]), 100).ticks[0] == 0
    assert Scale(np.array([0, np.inf]), 100).length(0) == 0


def test_text_after_elements():
    assert render(element("p", "a < b", element("b", "c"), " & ", "d", None)) == (
        "<!DOCTYPE html>\n<p>a &lt; b<b>c</b> &amp; d</p>\n"
    )

"""The HTML report: self-contained, shows the values of the results, escapes names."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch

from datasets.classes import SemanticClasses
from metrics.evaluator import PROTOCOL
from reports.gallery import Gallery, GalleryImage, Thumbnail, encode_smallest
from reports.page import Report, number, quantity, write_report
from tasks import TASKS, build_evaluator
from utils.tasks import METERS, RELATIVE
from visual.color_scale import depth_scale
from visual.displays import DisplaySettings

HEIGHT, WIDTH, COUNT = 16, 32, 4
NASTY = '<img src="http://evil.example/x.png" onerror=alert(1)>"\'&</script><script>alert(2)</script>'
CLASSES = SemanticClasses(
    names=("wall", NASTY, "sofa", "never seen"), colors=((1, 2, 3), (40, 50, 60), (200, 0, 0), (0, 0, 200))
)


class Page(HTMLParser):
    """Elements, attributes and texts of a page; checks that tags are closed in order."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, str]] = []  # (parent element, text)
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), "duplicate attribute"
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

    def having(self, *names: str) -> list[dict]:
        """The attributes of all elements that have these attributes."""
        return [attributes for _, attributes in self.elements if {*names} <= attributes.keys()]

    def metrics(self) -> dict[str, float]:
        return {a["data-metric"]: float(a["data-value"]) for a in self.having("data-metric")}


def random_batch(labeled: bool) -> dict:
    """Random images and ground truth; unless `labeled`, without class labels."""
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
    if not labeled:
        batch["semantic"].fill_(-1)
    return batch


def make_report(tasks=tuple(TASKS), depth_unit=METERS, baselines=True, tta=1, notes=(), labeled=True) -> Report:
    """An evaluation of random predictions that improve from image to image."""
    batch = random_batch(labeled)
    noise = torch.arange(COUNT, 0, -1)[:, None, None, None] / COUNT
    logits = torch.nn.functional.one_hot(batch["semantic"].clamp_min(0), len(CLASSES)).movedim(-1, 1).float()
    predictions = {
        "depth": batch["depth"] + noise,
        "normal": torch.nn.functional.normalize(batch["normal"] + noise * torch.randn(COUNT, 3, HEIGHT, WIDTH), dim=1),
        "segmentation": logits + 3 * noise * torch.rand(COUNT, len(CLASSES), HEIGHT, WIDTH),
    }
    settings = DisplaySettings(CLASSES.names, CLASSES.colors, depth_unit, "camera")
    evaluator, gallery = build_evaluator(tasks, len(CLASSES), with_breakdown=True), Gallery(tasks)
    evaluator.update(predictions, batch)
    gallery.add(batch, predictions, evaluator.rows)
    results, rows = evaluator.compute()
    summary = {
        "results": results,
        **({"plain": results} if tta > 1 else {}),
        **(
            {
                "constant": {task: {k: v + 1 for k, v in metrics.items()} for task, metrics in results.items()},
                "fixed_map": {task: {k: v + 2 for k, v in metrics.items()} for task, metrics in results.items()},
                "baselines": {
                    "constant": {task: f"constants for {task}" for task in tasks},
                    "fixed_map": {task: f"the same {task} everywhere" for task in tasks},
                },
            }
            if baselines
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
    return Report(summary, rows, breakdowns, breakdowns if baselines else {}, gallery.join(), settings)


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"

    def write(report: Report) -> tuple[Page, str]:
        write_report(path, report)
        text = path.read_text(encoding="utf-8")
        return Page(text), text

    return write


@pytest.fixture(scope="module")
def complete(page_of) -> SimpleNamespace:
    """A report with all parts, and its page, which takes a second to draw."""
    torch.manual_seed(0)
    report = make_report(tta=4, notes=[NASTY, "mismatch: meters and feet"])
    page, text = page_of(report)
    return SimpleNamespace(report=report, page=page, text=text)


@pytest.fixture(scope="module")
def without_baselines(page_of) -> SimpleNamespace:
    """A report without baselines, and its page."""
    torch.manual_seed(0)
    report = make_report(baselines=False)
    page, text = page_of(report)
    return SimpleNamespace(report=report, page=page, text=text)


def test_page_is_self_contained(complete):
    """All URLs are data of decodable images, or references within a chart."""
    page, text = complete.page, complete.text
    assert not {"link", "iframe", "object", "embed", "base", "form", "a"} & {tag for tag, _ in page.elements}
    for url in page.attributes("xlink:href"):
        assert re.fullmatch(r"#\w+", url)
    for name in ("src", "href", "srcset", "action", "data", "poster"):
        for url in page.attributes(name):
            assert re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", url)
    images = page.attributes("src")
    assert len(images) == 3 * COUNT * 4 + 3, "four tiles per image and task, and three color scales"
    for url in images:
        data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
    for styled in re.findall(r"<style>.*?</style>|<script>.*?</script>", text, flags=re.DOTALL):
        assert "http" not in styled
        assert "url(" not in styled
        assert "@import" not in styled


def test_ids_of_charts_are_unique(complete):
    """Each chart is valid XML and only refers to its own ids."""
    page, text = complete.page, complete.text
    charts = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(charts) == 1 + 2 * 4, "IoU, and two charts for each of two depth errors, normals and labels"
    ids = [re.findall(r'\bid="([^"]*)"', chart) for chart in charts]
    for chart, chart_ids in zip(charts, ids, strict=True):
        ElementTree.fromstring(chart)
        assert {*re.findall(r'href="#([^"]*)"', chart), *re.findall(r"url\(#([^)]*)\)", chart)} == {*chart_ids}
    all_ids = [name for chart_ids in ids for name in chart_ids]
    assert len({*all_ids}) == len(all_ids) > 0
    labels = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert len({*labels}) == len(charts)


def test_page_is_reproducible(page_of, complete):
    assert page_of(complete.report)[1] == complete.text


def test_names_are_escaped(complete):
    """Class names, ids, paths and commands are shown as text."""
    page, text = complete.page, complete.text
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not page.attributes("onerror")
    assert '<img src="http' not in text
    assert f"{NASTY}/0" in [content for tag, content in page.texts if tag == "code"]
    assert [content for tag, content in page.texts if tag in ("th", "span", "p")].count(NASTY) >= 3
    assert NASTY in page.attributes("data-class"), "a bar of the IoU chart"
    assert any(content.startswith(NASTY[:10]) for tag, content in page.texts if tag == "text")
    assert f"/models/{NASTY}.pth" in [content for tag, content in page.texts if tag == "td"]


def test_metrics_of_all_predictors(complete):
    report, page = complete.report, complete.page
    expected = {}
    for predictor in ("results", "plain", "constant", "fixed_map"):
        for task, metrics in report.summary[predictor].items():
            expected |= {f"{predictor}/{task}/{name}": value for name, value in metrics.items()}
    assert page.metrics() == expected
    texts = {content for _, content in page.texts}
    assert number(report.summary["results"]["depth"]["rms"]) in texts
    for task in TASKS:
        assert PROTOCOL[task] in texts
    assert {"0123abcd" * 8, "7", METERS, "torch 2.4.0", "unknown"} <= texts
    assert {"dataset", "images", "checkpoint", "depth", "normals", "views"} == {*page.attributes("data-fact")}
    assert any("32x16" in content and "1 bad" in content for content in texts)


def test_nonfinite_metrics(page_of):
    report = make_report(("depth",), baselines=False)
    results = {"depth": report.summary["results"]["depth"] | {"rms": float("nan"), "log10": float("inf")}}
    page, _ = page_of(replace(report, summary={**report.summary, "results": results}))
    assert np.isnan(page.metrics()["results/depth/rms"])
    assert np.isinf(page.metrics()["results/depth/log10"])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.5, "m", "0.5000 m"), (12.345, "°", "12.35°"), (123.45, "", "123.5"), (-0.00004, "", "-0.0000")],
)
def test_quantities(value, unit, text):
    assert quantity(value, unit) == text


def test_worst_image_is_first(complete):
    """The predictions of the fixture improve from image to image."""
    page = complete.page
    assert [int(index) for index in page.attributes("data-index")] == [0, 1, 2, 3] * 3
    assert [int(rank) for rank in page.attributes("data-rank")] == [1, 2, 3, 4] * 3
    scores = [float(score) for score in page.attributes("data-score")]
    depth, normal, segmentation = (scores[i : i + COUNT] for i in range(0, 3 * COUNT, COUNT))
    assert depth == sorted(depth, reverse=True)
    assert normal == sorted(normal, reverse=True)
    assert segmentation == sorted(segmentation)
    assert page.attributes("data-show") == list(TASKS)
    assert page.attributes("data-task") == list(TASKS)


@pytest.mark.parametrize("tasks", [("depth",), ("normal", "segmentation"), ("segmentation",)])
def test_subsets_of_tasks(page_of, tasks):
    page, _ = page_of(make_report(tasks))
    assert page.attributes("data-task") == list(tasks)
    assert {key.split("/")[-2] for key in page.metrics()} == set(tasks)
    assert ("confusion matrix" in page.attributes("aria-label")) == ("segmentation" in tasks)


def test_without_baselines(complete, without_baselines):
    page, text = without_baselines.page, without_baselines.text
    assert {key.split("/")[0] for key in page.metrics()} == {"results"}
    assert "constant" not in text
    assert not page.attributes("data-series")
    assert not page.attributes("data-note")
    assert {"dataset", "images", "checkpoint", "depth", "normals"} == {*page.attributes("data-fact")}, "no views"
    assert len(complete.page.attributes("data-series")) == 2 * 4


def test_relative_depth_has_no_unit(page_of):
    page, _ = page_of(make_report(("depth",), depth_unit=RELATIVE))
    texts = [content for _, content in page.texts]
    assert RELATIVE in texts
    assert any("by distance (relative)" in content for content in texts)
    assert not [content for content in texts if content.endswith(" m") or "(m)" in content]
    assert not [content for tag, content in page.texts if tag == "title" and re.search(r"\d m\b", content)]


def test_baselines_are_described(complete):
    texts = {content for _, content in complete.page.texts}
    for task in TASKS:
        assert f"Best constant: constants for {task}." in texts
        assert f"{TASKS[task].fixed_map.title.capitalize()}: the same {task} everywhere." in texts


def test_notes_are_shown(complete):
    page = complete.page
    assert len(page.attributes("data-note")) == 2
    assert {NASTY, "mismatch: meters and feet"} <= {content for _, content in page.texts}


def without_ground_truth(report: Report, *tasks: str) -> Report:
    """The report as if no image had ground truth for these tasks."""
    evaluator = build_evaluator(tasks, len(CLASSES), with_breakdown=True)
    empty = {task: dict.fromkeys(report.summary["results"][task]) | {"seam": 3.1} for task in tasks}
    summary = {**report.summary, "results": {**report.summary["results"], **empty}}
    shown = {**report.shown, **{task: [] for task in tasks}}
    return replace(report, summary=summary, breakdowns={**report.breakdowns, **evaluator.breakdowns()}, shown=shown)


@pytest.mark.parametrize("task", TASKS)
def test_no_ground_truth_for_a_task(page_of, without_baselines, task):
    """A note replaces the metrics, and the task has no charts."""
    whole = without_baselines.page
    page, _ = page_of(without_ground_truth(without_baselines.report, task))
    assert page.attributes("data-no-ground-truth") == [task] * 2
    assert not whole.attributes("data-no-ground-truth")
    assert {key for key in page.metrics() if f"/{task}/" in key} == {f"results/{task}/seam"}
    missing = [label for label in whole.attributes("aria-label") if label not in page.attributes("aria-label")]
    assert ("confusion matrix" in missing) == ("IoU per class" in missing) == (task == "segmentation")
    charts = [label for label in page.attributes("aria-label") if " by " in label]
    assert charts
    assert not any(label.startswith(f"{task}: ") for label in charts)
    assert task not in page.attributes("data-task")


def test_no_ground_truth_at_all(page_of, without_baselines):
    page, _ = page_of(without_ground_truth(without_baselines.report, *TASKS))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"svg", "article", "img", "figure"}
    assert len(page.attributes("data-no-ground-truth")) == 2 * len(TASKS)
    assert {key.split("/")[-1] for key in page.metrics()} == {"seam"}


def test_predicted_labels_without_ground_truth(page_of, without_baselines):
    """The legend lists the predicted classes."""
    report = without_ground_truth(without_baselines.report, "segmentation")
    predicted = np.zeros((8, 16), np.int16)
    predicted[:, 5:] = 2
    rgb = encode_smallest(np.zeros((8, 16, 3), np.uint8))
    image = GalleryImage(7, "room", None, Thumbnail(rgb, predicted))
    page, text = page_of(replace(report, shown={"segmentation": [image]}))
    assert page.attributes("data-task") == ["segmentation"]
    assert page.attributes("data-index") == ["7"]
    assert not page.attributes("data-rank")
    assert [attributes["alt"] for attributes in page.having("alt", "decoding")] == ["RGB", "prediction"]
    legend = text[text.index('<p class="legend">') : text.index('<div class="cards">')]
    assert re.findall(r"</i>([^<]*)</span>", legend) == ["sofa", "wall"], "most frequent first"


def test_evaluation_without_labels(page_of):
    page, text = page_of(make_report(("depth", "segmentation"), baselines=False, labeled=False))
    assert page.attributes("data-task") == ["depth", "segmentation"]
    assert page.attributes("data-index") == ["0", "1", "2", "3"] * 2
    assert len(page.attributes("data-score")) == COUNT, "only depth has scores"
    labels = text[text.index('data-task="segmentation"') :]
    assert labels.count("<figcaption>prediction<") == COUNT
    assert "ground truth<" not in labels
    assert not [label for label in page.attributes("aria-label") if not label.startswith("depth: ")]


def test_no_distance_chart_without_depth(page_of):
    """Without ground truth depth, errors of normals are only shown by latitude."""
    report = make_report(("normal",), baselines=False)
    breakdown = report.breakdowns["normal"]
    empty = replace(breakdown.by_distance, counts=np.zeros_like(breakdown.by_distance.counts))
    page, _ = page_of(replace(report, breakdowns={"normal": replace(breakdown, by_distance=empty)}))
    charts = [label for label in page.attributes("aria-label") if " by " in label]
    assert len(charts) == 1
    assert charts[0].endswith("by latitude")


def test_depth_scale_covers_all_images(complete):
    maps = tuple(values for image in complete.report.shown["depth"] for values in image.thumbnail.maps())
    low, high, _ = depth_scale(maps, "m")
    depth = complete.text[complete.text.index('data-task="depth"') :]
    assert re.search(rf'class="scale"> {low:g} <img [^>]*> {high:g} m<', depth)


def test_displayed_name_of_abs(complete):
    """Its key does not change."""
    texts = [content for _, content in complete.page.texts]
    assert "mean absolute error" in texts
    assert "abs_" not in texts
    assert "results/depth/abs_" in complete.page.metrics()


def test_skipped_images_are_counted(page_of):
    report = make_report(("depth",))
    shown = {"depth": [image for image in report.shown["depth"] if image.index != 1]}
    page, _ = page_of(replace(report, shown=shown))
    assert page.attributes("data-skipped") == ["1"]
    assert page.attributes("data-rank") == ["1", "3", "4"]
    assert any(re.search(r"\b3\s+of\s+4\b", content) for tag, content in page.texts if tag == "p")


def test_confusion_matrix(page_of):
    """Cells are fractions of the ground truth pixels of a class; classes without any are listed."""
    report = make_report(("segmentation",))
    confusion = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [2, 2, 4, 0], [0, 0, 0, 0]])
    breakdown = replace(report.breakdowns["segmentation"], confusion=confusion)
    page, _ = page_of(replace(report, breakdowns={"segmentation": breakdown}))
    cells = page.having("data-fraction")
    assert [float(cell["data-fraction"]) for cell in cells] == [0.75, 0.25, 0, 0, 0.25, 0.25, 0.5, 0]
    kinds = [cell["class"].split()[0] for cell in cells]
    assert kinds == ["right", "wrong", "wrong", "wrong", "wrong", "wrong", "right", "wrong"]
    assert cells[0]["title"].startswith("wall predicted as wall: 75.00% (3 of 4 ")
    assert len([cell for cell in page.having("class") if cell["class"] == "absent"]) == 2
    assert any(NASTY in content and "never seen" in content for tag, content in page.texts if tag == "span")


def test_confusion_matrix_of_many_classes(page_of):
    """Every cell has its fraction."""
    count = 41
    names, colors = tuple(f"class {i}" for i in range(count)), tuple((i, i, i) for i in range(count))
    report = make_report(("segmentation",))
    confusion = np.random.default_rng(0).integers(0, 1000, (count, count))
    breakdown = replace(report.breakdowns["segmentation"], confusion=confusion)
    settings = report.display_settings._replace(class_names=names, class_colours=colors)
    page, _ = page_of(replace(report, breakdowns={"segmentation": breakdown}, display_settings=settings))
    fractions = np.array([float(cell["data-fraction"]) for cell in page.having("data-fraction")]).reshape(count, count)
    assert fractions == pytest.approx(confusion / confusion.sum(axis=1, keepdims=True))
    assert len(page.attributes("data-iou")) == count

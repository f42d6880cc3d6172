"""The page in a browser, served by the script as users start it. Needs Debian's chromium."""

import base64
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import trimesh
from playwright.sync_api import Browser, Page, expect, sync_playwright

import demo_elite360m
from datasets.classes import STANFORD2D3D
from datasets.panorama import resize_rgb
from datasets.synthetic import SyntheticRooms
from demo.downloads import Downloads
from demo.layers import layers
from losses.balancing.uncertainty import UncertaintyWeighting
from networks.checkpoint import ModelSettings
from networks.saved_network import save_checkpoint
from options.panorama_prediction import demo_parser
from prediction import PanoramaModel, PanoramaPrediction, load_elite360m
from tasks import TASKS
from utils.errors import UserError
from utils.sphere import depth_to_points
from visual.color_scale import depth_scale
from visual.displays import DisplaySettings
from visual.drawing import save_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WEB = ROOT / "demo" / "web"
HEIGHT, WIDTH = 32, 64
FIELD = 70  # initial vertical field of view in degrees
SECONDS = 60  # limit for one step on a busy machine

# Records the hosts that a process looks up or connects to.
AUDIT = """
import sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        host = arguments[0] if event.endswith("info") else arguments[1]
        with open({file!r}, "a") as file:
            print(host[0] if isinstance(host, tuple) else host, file=file)
sys.addaudithook(note)
"""

# Runs the viewer as gradio does, with a value at once.
RUN_VIEWER = """([code, value]) =>
    new Function("element", "props", "watch", code)(document.body, { value }, (_, onChange) => onChange())
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def load_model(folder: Path, tasks: tuple[str, ...]) -> PanoramaModel:
    """A model with random weights, from a checkpoint in a folder."""
    names, colors = STANFORD2D3D.names, STANFORD2D3D.colors
    settings = ModelSettings("timm:test_efficientnet", tasks, 2, HEIGHT, WIDTH, "Synthetic", names, colors)
    torch.manual_seed(0)
    path = folder / "model.pth"
    save_checkpoint(
        path, settings, settings.build_network(), UncertaintyWeighting(tasks, dict.fromkeys(tasks, 1.0)), epoch=1
    )
    return load_elite360m(path)


class Demo:
    """The script in a separate process, with a folder for its temporary files."""

    def __init__(self, checkpoint: Path, folder: Path):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.temporary, self.contacts = folder / "temporary", folder / "contacts"
        self.temporary.mkdir()
        self.contacts.touch()
        (folder / "sitecustomize.py").write_text(AUDIT.format(file=str(self.contacts)))
        command = [sys.executable, "demo_elite360m.py", "--checkpoint", str(checkpoint), "--port", str(self.port)]
        environment = os.environ | {"TMPDIR": str(self.temporary), "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    def check_stop(self) -> None:
        """Stop it as a shell does: it removes its files, and has contacted no other host."""
        assert list(self.temporary.iterdir())
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0
        assert not list(self.temporary.iterdir())
        assert set(self.contacts.read_text().split()) <= {"127.0.0.1", "localhost", "None"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        message = "there is no chromium: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    flags = [
        *("--no-sandbox", "--enable-unsafe-swiftshader"),  # CI is root and has no GPU
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> PanoramaModel:
    return load_model(tmp_path_factory.mktemp("model"), tuple(TASKS))


@pytest.fixture(scope="module")
def demo(browser, model, tmp_path_factory) -> Iterator[Demo]:
    """The demo of a model, checked again when it stops after the last test."""
    demo = Demo(model.path, tmp_path_factory.mktemp("demo"))
    try:
        assert demo.url in demo.process.stdout.readline()
        yield demo
        demo.check_stop()
    finally:
        demo.process.kill()
        demo.process.wait()


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """Requests of pages to other hosts, and errors of their JavaScript."""
    return []


@pytest.fixture(autouse=True)
def _no_complaints(complaints):
    yield
    found = complaints.copy()
    complaints.clear()
    assert not found


def new_page(browser: Browser, complaints: list[str], width: int = 1120, has_touch: bool = False) -> Page:
    """An empty page in a separate context."""

    def check_host(request):
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            complaints.append(request.url)

    context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=has_touch)
    context.on("request", check_host)
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


@pytest.fixture
def visit(browser, demo, complaints) -> Iterator[Callable[..., Page]]:
    """Opens the page of the demo as a new visitor."""
    pages = []

    def visit(**options) -> Page:
        pages.append(page := new_page(browser, complaints, **options))
        page.goto(demo.url)
        page.wait_for_selector("input[type=file]", state="attached")
        return page

    yield visit
    for page in pages:
        page.context.close()


@pytest.fixture(scope="module")
def shared_page(browser, demo, complaints) -> Iterator[Page]:
    page = new_page(browser, complaints)
    page.goto(demo.url)
    yield page
    page.context.close()


@pytest.fixture
def page(shared_page, panorama) -> Page:
    """A page of the demo, loaded once, to which `panorama` was uploaded for this test."""
    upload(shared_page, panorama)
    return shared_page


@pytest.fixture
def open_viewer(browser, complaints) -> Iterator[Callable[..., Page]]:
    """Opens the viewer alone, without gradio and a server, with data of demo/page.py."""
    page = new_page(browser, complaints)

    def open_viewer(data: dict, has_webgl: bool = True) -> Page:
        html, css = ((WEB / f"viewer.{suffix}").read_text(encoding="utf-8") for suffix in ("html", "css"))
        scripts = [(WEB / name).read_text(encoding="utf-8") for name in ("views.js", "measure.js", "viewer.js")]
        page.set_content(f"<style>{css}</style>{html}")
        if not has_webgl:
            page.evaluate("() => { HTMLCanvasElement.prototype.getContext = () => null; }")
        page.evaluate(RUN_VIEWER, ["".join(scripts), data])
        expect(page.locator(".title")).to_have_text(data["title"])
        return page

    yield open_viewer
    page.context.close()


@pytest.fixture(scope="module")
def marks() -> np.ndarray:
    """A gray panorama (256, 512, 3) with a mark in each of five directions."""
    rgb = np.full((256, 512, 3), 128, dtype=np.uint8)
    for column, color in ((384, (255, 0, 0)), (128, (0, 0, 255)), (256, (255, 255, 0))):  # right, left, ahead
        rgb[112:144, column - 16 : column + 16] = color
    rgb[:32], rgb[-32:] = (0, 255, 0), (255, 0, 255)  # up, down
    return rgb


@pytest.fixture(scope="module")
def result(model, marks) -> PanoramaPrediction:
    return model.predict(marks)


@pytest.fixture
def panorama(marks, tmp_path, request) -> Path:
    """The marks as a file with a unique name."""
    path = tmp_path / f"{request.node.name}.png"
    save_image(path, marks)
    return path


def upload(page: Page, path: Path) -> None:
    page.wait_for_selector("input[type=file]", state="attached")
    page.set_input_files("input[type=file]", path)
    expect(page.locator(".title")).to_have_text(path.name, timeout=SECONDS * 1000)


def screenshot(page: Page, selector: str) -> np.ndarray:
    """An element as it is shown, (H, W, 3) uint8, once views have drawn what has changed."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    data = np.frombuffer(page.locator(selector).screenshot(), dtype=np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)


def center_color(page: Page, selector: str) -> np.ndarray:
    image = screenshot(page, selector)
    return image[image.shape[0] // 2, image.shape[1] // 2].astype(int)


def matches(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Whether colors (..., 3) are similar to a color, (...)."""
    return np.abs(image.astype(int) - color).max(-1) < 40


def centroid(image: np.ndarray, color: tuple[int, int, int]) -> tuple[float, float]:
    """Mean (x, y) of the pixels of a color."""
    rows, columns = np.nonzero(matches(image, color))
    return float(columns.mean()), float(rows.mean())


def drag(page: Page, selector: str, dx: float, dy: float) -> None:
    """Drag from the center, in several strokes, as a long one would leave the window."""
    box = page.locator(selector).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    strokes = int(max(abs(dx), abs(dy)) // 250) + 1
    for _ in range(strokes):
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx / strokes, y + dy / strokes, steps=2)
        page.mouse.up()


def turn(page: Page, right: float, down: float) -> None:
    """Turn the inside view by these angles in degrees."""
    per_pixel = FIELD / page.locator(".look").bounding_box()["height"]
    drag(page, ".look", -right / per_pixel, -down / per_pixel)


def map_pixels(page: Page, layer: str) -> np.ndarray:
    """The pixels of a flat map as the browser decodes them, (H, W, 3) uint8."""
    url = page.evaluate(
        """async (layer) => {
            const image = document.querySelector(`img[data-layer="${layer}"]`);
            await image.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL("image/png");
        }""",
        layer,
    )
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), dtype=np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)


def shown_values(page: Page) -> list[str]:
    return page.locator(".read-out span").all_inner_texts()


def degrees(text: str) -> float:
    """The number in a text such as "longitude 12.5°"."""
    return float(text.split()[1].removesuffix("°"))


def test_layers(page, result):
    """Images, legend, scales, seam scores and both views of an uploaded panorama."""
    for task in TASKS:
        expected = TASKS[task].display.colorize(result.maps()[task], DisplaySettings.of(result.settings))
        assert np.array_equal(map_pixels(page, TASKS[task].display.map_name), expected), task
    rgb = map_pixels(page, "RGB")
    assert rgb.shape == (256, 512, 3)
    assert matches(rgb[128, 384], (255, 0, 0))
    present = {STANFORD2D3D.names[label] for label in np.unique(result.labels)}
    assert set(page.locator(".legend li").all_inner_texts()) == present
    scale = depth_scale((result.depth,), "m")
    assert page.locator(".scale").inner_text().split() == [f"{scale.low:g}", "m", f"{scale.high:g}", "m"]
    assert len(np.unique(screenshot(page, ".cloud").reshape(-1, 3), axis=0)) > 3, "the point cloud is drawn"
    assert page.locator(".seam").all_inner_texts() == [f"seam {result.seam[task]:.1f}" for task in TASKS]
    assert page.locator(".error").all_inner_texts() == ["error unknown"] * len(TASKS)
    page.locator(".seam").first.click()
    assert "longitude -180.0°" in page.locator(".look-caption").inner_text()
    assert page.get_by_role("radio", checked=True).inner_text() == "depth"


def test_values_under_the_pointer(page, result):
    row, column = 9, 50
    x, y = (column + 0.75) / WIDTH, (row + 0.75) / HEIGHT  # inside the pixel, off its center
    flat = page.locator('.picture:has(img[data-layer="depth"])')
    box = flat.bounding_box()
    position = {"x": x * box["width"], "y": y * box["height"]}
    flat.hover(position=position)
    on_map = shown_values(page)
    longitude, latitude, depth, normal, label = on_map
    assert degrees(longitude) == pytest.approx(x * 360 - 180, abs=1)
    assert degrees(latitude) == pytest.approx(y * 180 - 90, abs=1)
    assert float(depth.removeprefix("depth ").removesuffix(" m")) == pytest.approx(result.depth[row, column], abs=0.006)
    components = [float(number) for number in normal.removeprefix("normal ").split(",")]
    assert components == pytest.approx(result.normal[row, column], abs=0.01)
    assert label == f"class {STANFORD2D3D.names[result.labels[row, column]]}"
    # A click turns the inside view there; its center then shows the same values.
    flat.click(position=position)
    page.locator(".look").hover()
    longitude, _, *values = shown_values(page)
    assert degrees(longitude) == pytest.approx(x * 360 - 180, abs=1)
    assert values == on_map[2:]
    # The distance from there to another pixel of the map
    page.get_by_role("button", name="measure").click()
    page.locator(".look").focus()
    page.keyboard.press("Enter")
    flat.click(position={"x": 10.5 / WIDTH * box["width"], "y": 20.5 / HEIGHT * box["height"]})
    points = depth_to_points(result.depth)
    distance = page.locator(".distance").inner_text().removeprefix("A to B: ").partition(" m")[0]
    assert float(distance) == pytest.approx(np.linalg.norm(points[row, column] - points[20, 10]), abs=0.01)
    assert page.locator(".picture").last.locator(".end").all_inner_texts() == ["A", "B"]


def test_inside_view(page):
    assert matches(center_color(page, ".look"), (255, 255, 0)), "ahead"
    turn(page, right=75, down=-38)
    image = screenshot(page, ".look")
    height, width = image.shape[:2]
    x, y = centroid(image, (0, 255, 0))
    assert y < height / 4, "the zenith is at the top"
    x, y = centroid(image, (255, 0, 0))
    assert x > width / 2, "not mirrored"
    assert y > 3 * height / 4
    turn(page, right=15, down=38)
    assert matches(center_color(page, ".look"), (255, 0, 0))
    assert "longitude 90.0°, latitude 0.0°" in page.locator(".look-caption").inner_text().replace("-0.0", "0.0")
    turn(page, right=180, down=0)
    assert matches(center_color(page, ".look"), (0, 0, 255)), "left, across the border of the panorama"
    turn(page, right=0, down=-75)
    assert matches(center_color(page, ".look"), (0, 255, 0)), "up"
    turn(page, right=0, down=200)
    assert matches(center_color(page, ".look"), (255, 0, 255)), "not beyond straight down"
    page.locator(".look").hover()
    before = screenshot(page, ".look")
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(200)
    assert (screenshot(page, ".look") != before).any(), "zoomed in"


def test_views_are_drawn_on_demand(page):
    """Once per frame, and not at all while nothing changes."""
    page.evaluate(
        """() => {
            window.draws = 0;
            const draw = WebGL2RenderingContext.prototype.drawArrays;
            WebGL2RenderingContext.prototype.drawArrays = function (...values) {
                window.draws++;
                draw.apply(this, values);
            };
        }"""
    )

    def draws() -> int:
        page.wait_for_timeout(200)
        return page.evaluate("() => { const number = draws; draws = 0; return number; }")

    draws()  # those of the upload
    page.locator(".look").hover()
    page.get_by_role("button", name="measure").click()
    assert draws() == 0, "only values and marks changed"
    page.evaluate("() => document.querySelectorAll('.choice button').forEach((button) => button.click())")
    page.wait_for_function("draws")
    assert draws() == 2, "both views, once for all four clicks"


def test_choosing_a_layer(page, result):
    before = screenshot(page, ".cloud")
    page.get_by_role("radio", name="RGB").focus()
    for key in ("ArrowRight", "Enter", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.textContent") == "semantics", "the focus follows"
    label = result.labels[HEIGHT // 2, WIDTH // 2]
    assert matches(center_color(page, ".look"), STANFORD2D3D.colors[label])
    assert (screenshot(page, ".cloud") != before).any()


def test_point_cloud(page):
    before = screenshot(page, ".cloud")
    ahead, right = (centroid(before, color)[0] for color in ((255, 255, 0), (255, 0, 0)))
    assert ahead + 50 < right, "seen from above and behind, not mirrored"
    drag(page, ".cloud", 100, 0)
    turned = screenshot(page, ".cloud")
    assert (turned != before).any()
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(200)
    background = turned[3, 3]
    drawn = np.argwhere((before != background).any(-1)[40:]) / np.array(before.shape[:2])  # below the button
    assert np.ptp(drawn, axis=0).max() > 0.8, "it fills its pane"
    assert (screenshot(page, ".cloud") != background).any(-1).sum() > (turned != background).any(-1).sum(), "larger"
    page.keyboard.press("Shift+ArrowLeft")
    page.locator(".reset").last.click()
    assert (screenshot(page, ".cloud") == before)[40:].all(), "as at first"


def test_bad_uploads(page, demo, panorama, tmp_path):
    """They show one line and leave the result; the next good one starts with the initial view."""
    initial_area = matches(screenshot(page, ".look"), (255, 255, 0)).sum()
    page.locator(".look").hover()
    page.mouse.wheel(0, -400)
    bad = {
        "notes.txt": "notes.txt is not an image, or is damaged",
        "photo.png": "photo.png is 300x200: a full panorama",
    }
    (tmp_path / "notes.txt").write_text("hello")
    save_image(tmp_path / "photo.png", np.zeros((200, 300, 3), dtype=np.uint8))
    for name, message in bad.items():
        page.wait_for_selector("input[type=file]", state="attached")
        page.set_input_files("input[type=file]", tmp_path / name)
        expect(page.get_by_role("alert").filter(has_text=message)).to_be_visible(timeout=SECONDS * 1000)
        assert str(demo.temporary) not in page.get_by_role("alert").inner_text()
        assert page.locator(".title").inner_text() == panorama.name, "the result stays"
    again = tmp_path / "again.png"
    shutil.copy(panorama, again)
    upload(page, again)
    assert not page.locator(".alert").is_visible()
    area = matches(screenshot(page, ".look"), (255, 255, 0)).sum()
    assert area == pytest.approx(initial_area, rel=0.1), "the zoom is reset"


def test_too_large_upload(page, panorama, tmp_path):
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(65 << 20)
    page.wait_for_selector("input[type=file]", state="attached")
    page.set_input_files("input[type=file]", tmp_path / "large.png")
    expect(page.locator(".toast-body", has_text="large.png")).to_contain_text("maximum", timeout=SECONDS * 1000)
    again = tmp_path / "again.png"
    shutil.copy(panorama, again)
    upload(page, again)


def test_example_rooms_and_downloads(page, model):
    page.locator(".rooms .thumbnail-item").nth(1).click()
    expect(page.locator(".title")).to_have_text("test room 6", timeout=SECONDS * 1000)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="everything (.zip)").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert waiting.value.suggested_filename == "test room 6.zip"
        assert len(archive.namelist()) == 11
        depth = np.load(io.BytesIO(archive.read("test room 6_depth.npy")))
        (mesh,) = trimesh.load(io.BytesIO(archive.read("test room 6_mesh.glb")), file_type="glb").geometry.values()
    rgb = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
    assert np.array_equal(depth, model.predict(rgb).depth)
    assert rgb.shape == (512, 1024, 3)
    assert np.abs(map_pixels(page, "RGB").astype(int) - rgb).mean() < 3, "JPEG"
    room = SyntheticRooms("test", 7, HEIGHT, WIDTH).read(6)
    assert np.abs(resize_rgb(rgb, HEIGHT, WIDTH).astype(int) - room.rgb).mean() < 8, "without antialiasing"
    assert page.locator(".error").first.inner_text() == f"mean error {np.abs(depth - room.depth).mean():.2f} m"
    assert page.locator(".error-map img").count() == len(TASKS)


def test_phone(visit):
    """The page scrolls to the result; a finger that moves up scrolls the page, two fingers zoom the view."""
    page = visit(width=390, has_touch=True)
    page.locator(".rooms .thumbnail-item").first.tap()
    expect(page.locator(".title")).to_have_text("docs/example_room.png", timeout=SECONDS * 1000)
    touch = page.context.new_cdp_session(page)

    def wait_for_scrolling() -> None:
        """Wait until the page has come to rest: a touch during its motion would only stop it."""
        before = None
        while before != (before := page.evaluate("scrollY")):
            page.wait_for_timeout(200)

    def move(*fingers: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Move each finger from one position to another, relative to the center of the view, in steps."""
        box = page.locator(".look").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for step in range(11):
            at = [{"x": x + a + (b - a) * step / 10, "y": y + c + (d - c) * step / 10} for (a, c), (b, d) in fingers]
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": at})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        wait_for_scrolling()

    def direction() -> list[float]:
        """Longitude and latitude of the center of the view."""
        return [float(number) for number in re.findall(r"-?[\d.]+(?=°)", page.locator(".look-caption").inner_text())]

    wait_for_scrolling()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.locator(".look").bounding_box()
    assert box["y"] + box["height"] / 2 < 900, "in view"
    before = screenshot(page, ".look")
    move(((-20, 0), (-90, 0)), ((20, 0), (90, 0)))
    assert (screenshot(page, ".look") != before).any(), "zoomed in"
    assert page.evaluate("visualViewport.scale") == 1, "the page is not zoomed"
    scrolled = page.evaluate("scrollY")
    move(((0, 60), (0, -60)))
    assert page.evaluate("scrollY") > scrolled + 50
    assert abs(direction()[1]) < 3, "the view hardly turns"
    move(((60, 0), (-60, 0)))
    assert abs(direction()[0]) > 3, "moving sideways turns the view"


def test_visitors_are_separate(page, visit, panorama, demo, tmp_path):
    """Uploads are shown to no other visitor, also when two upload at the same time, and are not kept."""
    other = visit()
    paths = [tmp_path / "marks.png", tmp_path / "white.png"]
    shutil.copy(panorama, tmp_path / "first.png")
    upload(page, tmp_path / "first.png")
    assert other.locator(".empty").is_visible()
    assert other.locator("img[data-layer]").count() == 0
    shutil.copy(panorama, paths[0])
    save_image(paths[1], np.full((256, 512, 3), 255, dtype=np.uint8))
    page.wait_for_selector("input[type=file]", state="attached")
    for visitor, path in zip((page, other), paths, strict=True):
        visitor.set_input_files("input[type=file]", path)
    for visitor, path, color in zip((page, other), paths, ((255, 255, 0), (255, 255, 255)), strict=True):
        expect(visitor.locator(".title")).to_have_text(path.name, timeout=SECONDS * 1000)
        assert matches(map_pixels(visitor, "RGB")[128, 256], color)
    assert not list(demo.temporary.rglob("*.png")), "only the examples remain, as .webp"


def viewer_data(model: PanoramaModel, rgb: np.ndarray) -> dict:
    """What the server sends for a panorama without ground truth."""
    return {**layers("marks", rgb, model.predict(rgb)), "files": {"key": "", "kinds": Downloads(model).kinds}}


def test_without_webgl(model, marks, open_viewer):
    page = open_viewer(viewer_data(model, marks), has_webgl=False)
    assert "no WebGL 2" in page.locator(".views").inner_text()
    page.locator('.picture:has(img[data-layer="depth"])').hover()
    assert len(shown_values(page)) == 2 + len(TASKS)


def test_network_without_depth(marks, open_viewer, tmp_path):
    tasks = ("normal", "segmentation")
    page = open_viewer(viewer_data(load_model(tmp_path, tasks), marks))
    names = ["RGB", *(TASKS[task].display.title for task in tasks)]
    assert page.get_by_role("radio").all_inner_texts() == names
    assert page.locator("img[data-layer]").count() == 1 + len(tasks)
    downloads = page.locator(".downloads button").all_inner_texts()
    assert downloads[: len(tasks)] == names[1:]
    assert "mesh (.glb)" not in downloads
    assert not page.locator(".measure").is_visible()
    assert not page.locator(".cloud").is_visible()
    page.locator(".look").hover()
    assert len(shown_values(page)) == 2 + len(tasks)


def test_port_in_use(demo, model):
    options = demo_parser().parse_args(["--checkpoint", str(model.path), "--port", str(demo.port)])
    with pytest.raises(UserError, match=rf"--port {demo.port}"):
        demo_elite360m.main(options)

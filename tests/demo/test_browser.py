"""The page in a browser, served by the script as a user starts it. Needs Debian's chromium."""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright

import demo_elite360m
from datasets.classes import STANFORD2D3D
from datasets.synthetic import SyntheticRooms
from losses.balancing.uncertainty import UncertaintyWeighting
from networks.checkpoint import ModelSettings
from networks.saved_network import save_checkpoint
from options.panorama_prediction import demo_parser
from prediction import load_elite360m
from tasks import TASKS
from utils.errors import UserError
from utils.sphere import depth_to_points
from visual.color_scale import depth_scale
from visual.displays import DisplaySettings
from visual.drawing import save_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH = 32, 64
FIELD = 70  # degrees that the view from inside shows at first, from top to bottom
SECONDS = 60  # that a step may take on a busy machine

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_checkpoint(path: Path, tasks: tuple[str, ...]) -> Path:
    names, colors = STANFORD2D3D.names, STANFORD2D3D.colors
    settings = ModelSettings("Elite360M_Res18", tasks, 2, HEIGHT, WIDTH, "Synthetic", names, colors)
    torch.manual_seed(0)
    save_checkpoint(
        path, settings, settings.build_network(), UncertaintyWeighting(tasks, dict.fromkeys(tasks, 1.0)), epoch=1
    )
    return path


class Demo:
    """The script in a process of its own, with a folder for its temporary files."""

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
        assert self.url in self.process.stdout.readline()

    def stop(self) -> int:
        """End it as a shell does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextmanager
def running(checkpoint: Path, folder: Path):
    demo = Demo(checkpoint, folder)
    try:
        yield demo
    finally:
        demo.process.kill()
        demo.process.wait()


@pytest.fixture(scope="module")
def launch():
    """Starts browsers, given more flags for them."""
    path = shutil.which("chromium")
    if path is None:
        message = "there is no chromium: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    with sync_playwright() as playwright:
        # Without a sandbox, since CI is root; WebGL without a GPU.
        flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        yield lambda *more: playwright.chromium.launch(executable_path=path, args=[*flags, *more])


@pytest.fixture(scope="module")
def browser(launch):
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "model.pth", tuple(TASKS))


@pytest.fixture(scope="module")
def demo(browser, checkpoint, tmp_path_factory):
    with running(checkpoint, tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture
def visit(browser):
    """Opens pages that may ask 127.0.0.1 alone; fails when they ask anybody else or stumble."""
    contexts, complaints = [], []

    def visit(url: str, browser: Browser = browser, width: int = 1440, has_touch: bool = False) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=has_touch)
        contexts.append(context)

        def only_here(route):
            if not route.request.url.startswith(url):
                complaints.append(route.request.url)
                return route.abort()
            return route.continue_()

        context.route(re.compile("^(?!data:|blob:)"), only_here)
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.wait_for_selector("input[type=file]", state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def panorama(tmp_path):
    """Grey, with a mark in each of five directions."""
    picture = np.full((256, 512, 3), 128, dtype=np.uint8)
    for column, color in ((384, (255, 0, 0)), (128, (0, 0, 255)), (256, (255, 255, 0))):  # right, left, ahead
        picture[112:144, column - 16 : column + 16] = color
    picture[:32], picture[-32:] = (0, 255, 0), (255, 0, 255)  # up, down
    path = tmp_path / "marks.png"
    save_image(path, picture)
    return path


def upload(page: Page, path: Path) -> None:
    page.set_input_files("input[type=file]", path)
    expect(page.locator(".title")).to_have_text(path.name, timeout=SECONDS * 1000)


def shot(page: Page, selector: str) -> np.ndarray:
    """What a person sees of an element, (H, W, 3) uint8."""
    data = np.frombuffer(page.locator(selector).screenshot(), dtype=np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)


def centre(page: Page, selector: str) -> np.ndarray:
    picture = shot(page, selector)
    return picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)


def middle_of(picture: np.ndarray, color: tuple[int, int, int]) -> tuple[float, float]:
    """Mean (x, y) of the pixels of about a color."""
    rows, columns = np.nonzero(np.abs(picture.astype(int) - color).max(-1) < 40)
    return float(columns.mean()), float(rows.mean())


def area_of(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    """Number of pixels of about a color."""
    return int((np.abs(picture.astype(int) - color).max(-1) < 40).sum())


def is_near(color: np.ndarray, expected: tuple[int, int, int]) -> bool:
    return bool(np.abs(color - expected).max() < 40)


def drag(page: Page, selector: str, dx: float, dy: float) -> None:
    """In several strokes that start in the middle, as a long one would leave the window."""
    box = page.locator(selector).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    strokes = int(max(abs(dx), abs(dy)) // 150) + 1
    for _ in range(strokes):
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx / strokes, y + dy / strokes, steps=3)
        page.mouse.up()


def turn(page: Page, right: float, down: float) -> None:
    """Turn the view from inside by these angles in degrees."""
    per_pixel = FIELD / page.locator(".look").bounding_box()["height"]
    drag(page, ".look", -right / per_pixel, -down / per_pixel)


def picture_of(page: Page, layer: str) -> np.ndarray:
    """The pixels of a flat map, as the browser decodes them."""
    pixels = page.evaluate(
        """async (layer) => {
            const image = document.querySelector(`img[data-layer="${layer}"]`);
            await image.decode();
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const { width, height, data } = context.getImageData(0, 0, canvas.width, canvas.height);
            return { width, height, data: Array.from(data) };
        }""",
        layer,
    )
    return np.array(pixels["data"], dtype=np.uint8).reshape(pixels["height"], pixels["width"], 4)[..., :3]


def read_out(page: Page) -> list[str]:
    return page.locator(".read-out span").all_inner_texts()


def test_every_layer_is_shown(demo, checkpoint, visit, panorama):
    page = visit(demo.url)
    upload(page, panorama)
    result = load_elite360m(checkpoint).predict(panorama)
    for task in TASKS:
        expected = TASKS[task].display.colorize(result.maps()[task], DisplaySettings.of(result.settings))
        shown = picture_of(page, TASKS[task].display.map_name)
        assert np.array_equal(shown, expected), task
    rgb = picture_of(page, "RGB")
    assert rgb.shape == (256, 512, 3)
    assert is_near(rgb[128, 384], (255, 0, 0))
    present = {STANFORD2D3D.names[label] for label in np.unique(result.labels)}
    assert set(page.locator(".legend li").all_inner_texts()) == present
    scale = depth_scale((result.depth,), "m")
    assert page.locator(".scale").inner_text().split() == [f"{scale.low:g}", "m", f"{scale.high:g}", "m"]
    assert len(np.unique(shot(page, ".cloud").reshape(-1, 3), axis=0)) > 3, "the point cloud is drawn"
    assert page.locator(".seam").all_inner_texts() == [f"seam {result.seam[task]:.1f}" for task in TASKS]
    assert page.locator(".error").all_inner_texts() == ["error unknown"] * len(TASKS)
    page.locator(".seam").first.click()
    assert "longitude -180.0°" in page.locator(".look-caption").inner_text()
    assert page.get_by_role("radio", checked=True).inner_text() == "depth"


def test_values_under_the_pointer(demo, checkpoint, visit, panorama):
    page = visit(demo.url)
    upload(page, panorama)
    result = load_elite360m(checkpoint).predict(panorama)
    row, column = 9, 50
    x, y = (column + 0.75) / WIDTH, (row + 0.75) / HEIGHT  # within the pixel, off its centre
    longitude, latitude = x * 360 - 180, y * 180 - 90
    flat = page.locator('.picture:has(img[data-layer="depth"])')
    box = flat.bounding_box()
    position = {"x": x * box["width"], "y": y * box["height"]}
    flat.hover(position=position)
    on_the_map = read_out(page)
    told_longitude, told_latitude, depth, normal, label = on_the_map
    assert float(told_longitude.removeprefix("longitude ").removesuffix("°")) == pytest.approx(longitude, abs=1)
    assert float(told_latitude.removeprefix("latitude ").removesuffix("°")) == pytest.approx(latitude, abs=1)
    assert float(depth.removeprefix("depth ").removesuffix(" m")) == pytest.approx(result.depth[row, column], abs=0.006)
    told_normal = [float(number) for number in normal.removeprefix("normal ").split(",")]
    assert told_normal == pytest.approx(result.normal[row, column], abs=0.01)
    assert label == f"class {STANFORD2D3D.names[result.labels[row, column]]}"
    # A click looks there; the middle of that view then tells the same.
    flat.click(position=position)
    page.locator(".look").hover()
    told_longitude, _, *values = read_out(page)
    assert float(told_longitude.removeprefix("longitude ").removesuffix("°")) == pytest.approx(longitude, abs=1)
    assert values == on_the_map[2:]
    # The distance from there to another pixel of the map.
    page.get_by_role("button", name="measure").click()
    page.locator(".look").focus()
    page.keyboard.press("Enter")
    x, y = 10.5 / WIDTH, 20.5 / HEIGHT
    flat.click(position={"x": x * box["width"], "y": y * box["height"]})
    points = depth_to_points(result.depth)
    expected = np.linalg.norm(points[row, column] - points[20, 10])
    told = page.locator(".distance").inner_text()
    assert float(told.removeprefix("A to B: ").partition(" m")[0]) == pytest.approx(expected, abs=0.01)
    assert page.locator(".picture").last.locator(".end").all_inner_texts() == ["A", "B"]


def test_looking_around(demo, visit, panorama):
    page = visit(demo.url)
    upload(page, panorama)
    assert is_near(centre(page, ".look"), (255, 255, 0)), "ahead"
    turn(page, right=75, down=-38)
    picture = shot(page, ".look")
    height, width = picture.shape[:2]
    x, y = middle_of(picture, (0, 255, 0))
    assert y < height / 4, "what is above is at the top"
    x, y = middle_of(picture, (255, 0, 0))
    assert x > width / 2, "what is further right is on the right"
    assert y > 3 * height / 4
    turn(page, right=15, down=38)
    assert is_near(centre(page, ".look"), (255, 0, 0))
    assert "longitude 90.0°, latitude 0.0°" in page.locator(".look-caption").inner_text().replace("-0.0", "0.0")
    turn(page, right=180, down=0)
    assert is_near(centre(page, ".look"), (0, 0, 255)), "left, across the border of the picture"
    turn(page, right=0, down=-75)
    assert is_near(centre(page, ".look"), (0, 255, 0)), "up"
    turn(page, right=0, down=200)
    assert is_near(centre(page, ".look"), (255, 0, 255)), "straight down, no further"
    before = shot(page, ".look")
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(200)
    assert (shot(page, ".look") != before).any(), "nearer"


def test_the_layer_is_chosen_for_both_views(demo, checkpoint, visit, panorama):
    page = visit(demo.url)
    upload(page, panorama)
    before = shot(page, ".cloud")
    page.get_by_role("radio", name="RGB").focus()
    for key in ("ArrowRight", "Enter", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.textContent") == "semantics", "the focus is not lost"
    label = load_elite360m(checkpoint).predict(panorama).labels[HEIGHT // 2, WIDTH // 2]
    assert is_near(centre(page, ".look"), STANFORD2D3D.colors[label])
    assert (shot(page, ".cloud") != before).any()


def test_the_point_cloud_turns(demo, visit, panorama):
    page = visit(demo.url)
    upload(page, panorama)
    before = shot(page, ".cloud")
    ahead, right = (middle_of(before, color)[0] for color in ((255, 255, 0), (255, 0, 0)))
    assert ahead + 50 < right, "as seen from above and behind, not mirrored"
    drag(page, ".cloud", 100, 0)
    turned = shot(page, ".cloud")
    assert (turned != before).any()
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(200)
    background = turned[3, 3]
    drawn = np.argwhere((before != background).any(-1)[40:]) / np.array(before.shape[:2])  # below the button
    assert np.ptp(drawn, axis=0).max() > 0.8, "it fills its pane"
    assert (shot(page, ".cloud") != background).any(-1).sum() > (turned != background).any(-1).sum(), "larger"
    page.keyboard.press("Shift+ArrowLeft")
    page.locator(".reset").last.click()
    assert (shot(page, ".cloud") == before)[40:].all(), "as at first"


def test_a_bad_upload_is_one_line_and_a_good_one_works_afterwards(demo, visit, panorama, tmp_path):
    page = visit(demo.url)
    upload(page, panorama)
    at_first = area_of(shot(page, ".look"), (255, 255, 0))
    page.locator(".look").hover()
    page.mouse.wheel(0, -400)
    bad = {
        "notes.txt": "notes.txt is not an image, or is damaged",
        "photo.png": "photo.png is 300x200: a full panorama",
    }
    (tmp_path / "notes.txt").write_text("hello")
    save_image(tmp_path / "photo.png", np.zeros((200, 300, 3), dtype=np.uint8))
    for name, message in bad.items():
        page.set_input_files("input[type=file]", tmp_path / name)
        expect(page.get_by_role("alert").filter(has_text=message)).to_be_visible(timeout=SECONDS * 1000)
        assert str(demo.temporary) not in page.get_by_role("alert").inner_text()
        assert page.locator(".title").inner_text() == panorama.name, "what was there stays"
        page.wait_for_selector("input[type=file]", state="attached")
    again = tmp_path / "again.png"
    shutil.copy(panorama, again)
    upload(page, again)
    assert not page.locator(".alert").is_visible()
    area = area_of(shot(page, ".look"), (255, 255, 0))
    assert area == pytest.approx(at_first, rel=0.1), "the zoom is not that of the last panorama"


def test_too_many_bytes_are_refused(demo, visit, panorama, tmp_path):
    page = visit(demo.url)
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(65 << 20)
    page.set_input_files("input[type=file]", tmp_path / "large.png")
    expect(page.locator(".toast-body", has_text="large.png")).to_contain_text("maximum", timeout=SECONDS * 1000)
    upload(page, panorama)


def test_rooms_to_choose_from(demo, checkpoint, visit):
    page = visit(demo.url)
    page.locator(".rooms .thumbnail-item").nth(1).click()
    expect(page.locator(".title")).to_have_text("test room 6", timeout=SECONDS * 1000)
    assert picture_of(page, "RGB").shape == (512, 1024, 3)
    room = SyntheticRooms("test", 7, 512, 1024).read(6)
    depth = load_elite360m(checkpoint).predict(room.rgb).depth
    error = np.abs(depth - SyntheticRooms("test", 7, HEIGHT, WIDTH).read(6).depth).mean()
    assert page.locator(".error").first.inner_text() == f"mean error {error:.2f} m"
    assert page.locator(".error-map img").count() == len(TASKS)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="everything (.zip)").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert waiting.value.suggested_filename == "test room 6.zip"
        assert len(archive.namelist()) == 11
        assert np.array_equal(np.load(io.BytesIO(archive.read("test room 6_depth.npy"))), depth)


def test_on_a_phone(demo, visit):
    """One scrolls past the result, not to it; a finger that moves up scrolls the page, two zoom."""
    page = visit(demo.url, width=390, has_touch=True)
    page.locator(".rooms .thumbnail-item").nth(1).tap()
    expect(page.locator(".title")).to_have_text("test room 6", timeout=SECONDS * 1000)
    page.wait_for_timeout(800)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.locator(".look").bounding_box()
    assert box["y"] + box["height"] / 2 < 900, "in view"
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def move(*fingers: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Fingers from a place to another one, in steps."""
        for step in range(11):
            at = [{"x": x + a + (b - a) * step / 10, "y": y + c + (d - c) * step / 10} for (a, c), (b, d) in fingers]
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": at})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(200)

    def direction() -> list[float]:
        """Longitude and latitude in the middle of the view."""
        return [float(number) for number in re.findall(r"-?[\d.]+(?=°)", page.locator(".look-caption").inner_text())]

    before = shot(page, ".look")
    move(((-20, 0), (-90, 0)), ((20, 0), (90, 0)))
    assert (shot(page, ".look") != before).any(), "larger"
    assert page.evaluate("visualViewport.scale") == 1, "of the view, not of the page"
    scrolled = page.evaluate("scrollY")
    move(((0, 60), (0, -60)))
    assert page.evaluate("scrollY") > scrolled + 50
    assert abs(direction()[1]) < 3, "it hardly turns the view"
    move(((60, 0), (-60, 0)))
    assert abs(direction()[0]) > 3, "a finger that moves sideways does"


def test_nothing_of_a_visitor_is_shown_to_another_or_kept(demo, visit, panorama, tmp_path):
    """Of three, two ask at the same time."""
    other = tmp_path / "white.png"
    save_image(other, np.full((256, 512, 3), 255, dtype=np.uint8))
    pages = [visit(demo.url) for _ in range(3)]
    for page, path in zip(pages, (panorama, other), strict=False):
        page.set_input_files("input[type=file]", path)
    for page, path, color in zip(pages, (panorama, other), ((255, 255, 0), (255, 255, 255)), strict=False):
        expect(page.locator(".title")).to_have_text(path.name, timeout=SECONDS * 1000)
        assert is_near(picture_of(page, "RGB")[128, 256], color)
    assert pages[2].locator(".empty").is_visible()
    assert pages[2].locator("img[data-layer]").count() == 0
    assert not list(demo.temporary.rglob("*.png")), "an upload is gone once it was read; the rooms are kept as .webp"


def test_without_webgl_the_flat_maps_remain(demo, launch, visit, panorama):
    page = visit(demo.url, launch("--disable-3d-apis"))
    upload(page, panorama)
    assert "no WebGL 2" in page.locator(".views").inner_text()
    page.locator('.picture:has(img[data-layer="depth"])').hover()
    assert len(read_out(page)) == 2 + len(TASKS)


def test_fewer_tasks_and_nothing_is_left(visit, panorama, tmp_path):
    """A demo from its start to its end: no file is left, and no other host was contacted."""
    tasks = ("normal", "segmentation")  # no depth
    with running(write_checkpoint(tmp_path / "model.pth", tasks), tmp_path) as demo:
        page = visit(demo.url)
        upload(page, panorama)
        names = ["RGB", *(TASKS[task].display.title for task in tasks)]
        assert page.get_by_role("radio").all_inner_texts() == names
        assert page.locator("img[data-layer]").count() == 1 + len(tasks)
        downloads = page.locator(".downloads button").all_inner_texts()
        assert downloads[: len(tasks)] == names[1:]
        assert "mesh (.glb)" not in downloads
        assert not page.locator(".measure").is_visible()
        assert not page.locator(".cloud").is_visible()
        page.locator(".look").hover()
        assert len(read_out(page)) == 2 + len(tasks)
        assert list(demo.temporary.iterdir())
        page.context.close()
        assert demo.stop() == 0
        assert not list(demo.temporary.iterdir())
        assert set(demo.contacts.read_text().split()) <= {"127.0.0.1", "localhost", "None"}


def test_a_port_in_use_is_refused(demo, checkpoint):
    options = demo_parser().parse_args(["--checkpoint", str(checkpoint), "--port", str(demo.port)])
    with pytest.raises(UserError, match=rf"--port {demo.port}"):
        demo_elite360m.main(options)

"""Take the screenshot docs/demo.jpg of demo_elite360m.py, which must be running.

    python -m tools.show_demo --out demo.jpg

Needs playwright and Debian's chromium.
"""

import shutil

from playwright.sync_api import sync_playwright

from options.parser import Parser, count
from utils.files import atomic_path


def main() -> None:
    """Choose a room, measure a distance and take a screenshot."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--out", required=True, metavar="FILE", help="image to write (.jpg)")
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="URL of the page")
    parser.add_argument("--room", type=count, default=3, metavar="N", help="index of the example room")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1200})
        page.goto(options.url)
        page.locator(".rooms .thumbnail-item").nth(options.room).click()
        page.locator("img[data-layer]").first.wait_for()
        page.wait_for_timeout(500)
        panorama = page.locator(".picture").first
        box = panorama.bounding_box()
        panorama.click(position={"x": 0.68 * box["width"], "y": 0.54 * box["height"]})  # turns the perspective view
        page.locator(".measure").click()
        for x, y in ((120, 180), (400, 180)):
            page.locator(".look").click(position={"x": x, "y": y})
        page.wait_for_timeout(500)
        with atomic_path(options.out) as temporary:
            page.screenshot(path=temporary, type="jpeg", quality=88)
        browser.close()


if __name__ == "__main__":
    main()

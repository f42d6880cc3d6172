"""Drawing maps in colors, with scales, legends and captions, and writing images.

All images are (H, W, 3) uint8 RGB arrays; maps are NumPy arrays without batch axis.
"""

import base64
from pathlib import Path

import cv2
import numpy as np

from utils.files import atomic_path
from utils.tasks import ALONG_AXIS, METERS

Colors = tuple[tuple[int, int, int], ...]  # 8-bit RGB, one per class

_CAPTION_HEIGHT = 22  # pixels
_BAR_WIDTH = 64  # pixels
_MIN_PANEL_WIDTH = 384  # smaller maps are enlarged, so that captions fit
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def scale_colors(values: np.ndarray, top: float) -> np.ndarray:
    """Values (H, W) from 0 (dark blue) to `top` (dark red) in the turbo color map; non-finite values are black."""
    known = np.isfinite(values)
    levels = np.clip(np.where(known, values, 0) / top * 255, 0, 255).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    colors[~known] = 0
    return colors


def normal_colors(normal: np.ndarray) -> np.ndarray:
    """Unit normals (H, W, 3): x, y and z from -1..1 to red, green and blue 0..255; (0, 0, 0) is black."""
    colors = np.rint((normal + 1) * 127.5).clip(0, 255).astype(np.uint8)
    colors[~normal.any(axis=-1)] = 0
    return colors


def label_colors(labels: np.ndarray, class_colors: Colors) -> np.ndarray:
    """Labels (H, W) in the colors of their classes; ignored pixels are black."""
    table = np.array([*class_colors, _BLACK], dtype=np.uint8)  # label -1 is the last entry
    return table[labels]


def color_bar(height: int, top: float, unit: str) -> np.ndarray:
    """A vertical scale (height, 64, 3) for `scale_colors`: 0 at the bottom, `top` at the top, in `unit`."""
    bar = np.full((height, _BAR_WIDTH, 3), 255, dtype=np.uint8)
    bar[:, 6:20] = scale_colors(np.linspace(top, 0, height)[:, None].repeat(14, axis=1), top)
    for fraction in (0, 0.5, 1):
        y = int(np.clip((1 - fraction) * height + 4, 10, height - 3))
        _write(bar, f"{fraction * top:g} {unit}", (22, y), _BLACK)
    return bar


def legend(class_names: tuple[str, ...], class_colors: Colors, width: int) -> np.ndarray:
    """Names of the classes on their colors, in as many rows as needed, (any, width, 3)."""
    columns = max(1, width // 96)
    rows = -(-len(class_names) // columns)
    image = np.full((rows * _CAPTION_HEIGHT, width, 3), 255, dtype=np.uint8)
    for i, (name, color) in enumerate(zip(class_names, class_colors, strict=True)):
        x, y = i % columns * 96, i // columns * _CAPTION_HEIGHT
        image[y + 2 : y + _CAPTION_HEIGHT - 2, x + 2 : x + 94] = color
        ink = _BLACK if sum(color) > 330 else _WHITE
        _write(image, name, (x + 6, y + 15), ink)
    return image


def unit_symbol(depth_unit: str) -> str:
    """Symbol of a unit of depth: "m", or nothing for relative depth."""
    return "m" if depth_unit in (METERS, ALONG_AXIS) else ""


def panel(images: list[np.ndarray], captions: list[str], bars: list[tuple[float, str] | None]) -> np.ndarray:
    """Captioned images of one size, two in a row, with color bars for those with a (top, unit)."""
    height, width = images[0].shape[:2]
    factor = -(-_MIN_PANEL_WIDTH // width) if width < _MIN_PANEL_WIDTH else 1
    height, width = height * factor, width * factor
    with_bars = any(bars)
    tiles = []
    for image, caption, bar in zip(images, captions, bars, strict=True):
        tile = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        if with_bars:
            blank = np.full((height, _BAR_WIDTH, 3), 255, dtype=np.uint8)
            tile = np.hstack([tile, color_bar(height, *bar) if bar else blank])
        heading = np.full((_CAPTION_HEIGHT, tile.shape[1], 3), 255, dtype=np.uint8)
        _write(heading, caption, (4, 16), _BLACK)
        tiles.append(np.vstack([heading, tile]))
    if len(tiles) % 2:
        tiles.append(np.full_like(tiles[0], 255))
    return np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)])


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Write an RGB image (H, W, 3) uint8, or values (H, W) uint8 or uint16, as a PNG or JPEG file, atomically."""
    with atomic_path(path) as temporary:
        # Not cv2.imwrite, which fails silently on a full disk and on non-ASCII names.
        temporary.write_bytes(encode_image(image, temporary.suffix))


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """An RGB image (H, W, 3) uint8, or values (H, W) uint8 or uint16, as a ".png" or ".jpg" file.

    Raises:
        ValueError: when it cannot be encoded.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    succeeded, data = cv2.imencode(suffix, image)
    if not succeeded:
        raise ValueError(f"cannot encode an image of shape {image.shape} as {suffix}")
    return data.tobytes()


def data_url(file: bytes) -> str:
    """A PNG or JPEG file as a data URL, for ``<img>``."""
    kind = "png" if file.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode('ascii')}"


def _write(image: np.ndarray, text: str, position: tuple[int, int], color: tuple[int, int, int]) -> None:
    """Draw a line of text with its lower left corner at (x, y)."""
    cv2.putText(image, text, position, cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)

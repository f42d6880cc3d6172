"""Colors of maps; panels with color bars, legends and captions; image files.

Images are RGB arrays (H, W, 3) uint8; maps are NumPy arrays without a batch axis.
"""

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from utils.files import atomic_path
from utils.tasks import ALONG_AXIS, METERS
from visual.color_scale import ColorScale

Colors = tuple[tuple[int, int, int], ...]  # 8-bit RGB, one per class

_CAPTION_HEIGHT = 22  # pixels
_BAR_WIDTH = 84  # pixels; text of OpenCV 4 is wider than that of OpenCV 5
_LEGEND_MARGIN = 8  # pixels to either side of a name
_MIN_PANEL_WIDTH = 384  # smaller maps are enlarged, so that captions fit
TAG_HEIGHT = 14  # pixels, see `write_tag`
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42
_STRIPE, _GRAYS = 4, (150, 110)  # stripes over invalid pixels: width in pixels, 8-bit grays
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def scale_colors(values: np.ndarray, scale: ColorScale) -> np.ndarray:
    """Values (H, W) in the turbo color map, from `scale.low` (dark blue) to `scale.high` (dark red).

    Missing values (NaN or negative infinity) are black, infinity (beyond the valid range) is white.
    """
    finite = np.isfinite(values)
    levels = (np.where(finite, values, 0).astype(np.float64) - scale.low) / (scale.high - scale.low) * 255
    turbo = cv2.applyColorMap(np.rint(levels.clip(0, 255)).astype(np.uint8), cv2.COLORMAP_TURBO)
    colors = cv2.cvtColor(turbo, cv2.COLOR_BGR2RGB)
    colors[~finite] = _BLACK
    colors[np.isposinf(values)] = _WHITE
    return colors


def normal_colors(normal: np.ndarray) -> np.ndarray:
    """Unit normals (H, W, 3): x, y and z from -1..1 to red, green and blue 0..255; (0, 0, 0) is black."""
    colors = np.rint((normal + 1) * 127.5).clip(0, 255).astype(np.uint8)
    colors[~normal.any(axis=-1)] = 0
    return colors


def label_colors(labels: np.ndarray, class_colors: Colors) -> np.ndarray:
    """Labels (H, W) in the colors of their classes; ignored pixels are black."""
    table = np.full((256, 3), _BLACK, dtype=np.uint8)  # -1, or 255 as uint8, is the last entry
    table[: len(class_colors)] = class_colors
    return table[labels]


def color_bar(height: int, scale: ColorScale) -> np.ndarray:
    """A vertical color bar (height, ., 3) with numbers, its low end at the bottom."""
    bar = np.full((height, _BAR_WIDTH, 3), 255, dtype=np.uint8)
    bar[:, 6:20] = scale_colors(np.linspace(scale.high, scale.low, height)[:, None].repeat(14, axis=1), scale)
    for fraction in (0, 0.5, 1):
        y = int(np.clip((1 - fraction) * height + 4, 10, height - 3))
        value = scale.low + fraction * (scale.high - scale.low)
        _write(bar, f"{value:.3g} {scale.unit}", (22, y), _BLACK)
    return bar


def legend(class_names: Sequence[str], class_colors: Sequence[tuple[int, int, int]], width: int) -> np.ndarray:
    """Legend (., width, 3): class names on patches of their colors, in as many rows as needed."""
    patches, x, row = [], 0, 0
    for name in class_names:
        patch_width = _text_width(name) + 2 * _LEGEND_MARGIN
        if x and x + patch_width > width:
            x, row = 0, row + 1
        patches.append((x, row * _CAPTION_HEIGHT, patch_width))
        x += patch_width
    image = np.full(((row + 1) * _CAPTION_HEIGHT if patches else 0, width, 3), 255, dtype=np.uint8)
    for name, color, (x, y, patch_width) in zip(class_names, class_colors, patches, strict=True):
        image[y + 2 : y + _CAPTION_HEIGHT - 2, x + 2 : x + patch_width - 2] = color
        _write(image, name, (x + _LEGEND_MARGIN, y + 15), _BLACK if sum(color) > 330 else _WHITE)
    return image


def unit_symbol(depth_unit: str) -> str:
    """Symbol of a unit of depth: "m", or empty for relative depth."""
    return "m" if depth_unit in (METERS, ALONG_AXIS) else ""


def enlargement(width: int) -> int:
    """Integer factor by which an image of this width is enlarged so that there is room for text."""
    return -(-_MIN_PANEL_WIDTH // width)


def panel(images: list[np.ndarray], captions: list[str], bars: list[ColorScale | None]) -> np.ndarray:
    """Images with captions, two in a row, with color bars for those with a scale.

    All images are resized to the size of the first one, enlarged if it is small (see `enlargement`).
    """
    height, width = images[0].shape[:2]
    factor = enlargement(width)
    height, width = height * factor, width * factor
    with_bars = any(bars)
    tiles = []
    for image, caption, bar in zip(images, captions, bars, strict=True):
        tile = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        if with_bars:
            blank = np.full((height, _BAR_WIDTH, 3), 255, dtype=np.uint8)
            tile = np.hstack([tile, color_bar(height, bar) if bar else blank])
        heading = np.full((_CAPTION_HEIGHT, tile.shape[1], 3), 255, dtype=np.uint8)
        _write(heading, caption, (4, 16), _BLACK)
        tiles.append(np.vstack([heading, tile]))
    if len(tiles) % 2:
        tiles.append(np.full_like(tiles[0], 255))
    return np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)])


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Write an RGB image (H, W, 3) uint8, or values (H, W) uint8 or uint16, to a PNG or JPEG file, atomically."""
    with atomic_path(path) as temporary:
        # Not cv2.imwrite, which fails silently on a full disk and on non-ASCII names.
        temporary.write_bytes(encode_image(image, temporary.suffix))


def hatched(image: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Draw stripes over the pixels of an image (H, W, 3) uint8 that are not `valid`, (H, W) bool; None: all are."""
    if valid is None:
        return image
    height, width = valid.shape
    stripes = (np.arange(height)[:, None] + np.arange(width)) // _STRIPE % 2 == 1
    lines = np.where(stripes, *_GRAYS).astype(np.uint8)
    return np.where(valid[..., None], image, lines[..., None])


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """Encode an RGB image (H, W, 3) uint8, or values (H, W) uint8 or uint16, as a ".png" or ".jpg" file.

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


def write_tag(
    image: np.ndarray, text: str, position: tuple[int, int], color: tuple[int, int, int], unit: int = 1
) -> None:
    """Draw a line of text on a colored patch with its upper left corner at (x, y), moved into the image if needed.

    Args:
        unit: scale of the text; the patch is TAG_HEIGHT * unit pixels high.
    """
    width, height = (_text_width(text) + 4) * unit, TAG_HEIGHT * unit
    left = max(0, min(position[0], image.shape[1] - width))
    top = max(0, min(position[1], image.shape[0] - height))
    image[top : top + height, left : left + width] = color
    _write(image, text, (left + 2 * unit, top + 11 * unit), _BLACK if sum(color) > 330 else _WHITE, unit)


def _text_width(text: str) -> int:
    """Width of a line of text in pixels."""
    (width, _), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    return width


def _write(image: np.ndarray, text: str, position: tuple[int, int], color: tuple[int, int, int], unit: int = 1) -> None:
    """Draw a line of text with its lower left corner at (x, y), scaled by `unit`."""
    cv2.putText(image, text, position, _FONT, _FONT_SCALE * unit, color, unit, cv2.LINE_AA)

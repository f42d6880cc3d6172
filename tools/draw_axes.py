"""Draw the axes and angles of the panorama camera frame onto a synthetic room.

    python -m tools.draw_axes --out docs/axes.jpg

`utils.sphere` places all marks, so the image shows the conventions of the code.
"""

import cv2
import numpy as np

from datasets.synthetic import SyntheticRooms
from options.parser import Parser
from utils.sphere import angles_to_pixels, rays_to_angles
from visual.drawing import save_image

HEIGHT, WIDTH = 480, 960
AXES = {  # name: direction, color
    "+x right": ((1, 0, 0), (255, 70, 70)),
    "-x left": ((-1, 0, 0), (255, 70, 70)),
    "+y down": ((0, 1, 0), (70, 255, 70)),
    "-y up": ((0, -1, 0), (70, 255, 70)),
    "+z forward": ((0, 0, 1), (90, 160, 255)),
    "-z back": ((0, 0, -1), (90, 160, 255)),
}
_WHITE = (255, 255, 255)


def draw_axes(rgb: np.ndarray) -> np.ndarray:
    """Draw lines every 30 degrees and the six named directions onto a panorama (H, W, 3) uint8."""
    image = (rgb * 0.6).astype(np.uint8)
    for degrees in range(-180, 181, 30):
        row, col = angles_to_pixels(np.radians(degrees), np.radians(degrees / 2), HEIGHT, WIDTH)
        main = degrees % 90 == 0
        gray = _WHITE if main else (150, 150, 150)
        cv2.line(image, (round(col), 0), (round(col), HEIGHT), gray, 1)
        cv2.line(image, (0, round(row)), (WIDTH, round(row)), gray, 1)
        if abs(degrees) < 180:
            write(image, f"u={degrees}", (round(col) + 4, HEIGHT // 2 + 16), _WHITE)
        if 0 < abs(degrees) < 180:
            write(image, f"v={degrees / 2:g}", (WIDTH // 2 + 4, round(row) - 4), _WHITE)
    for name, (direction, color) in AXES.items():
        row, col = angles_to_pixels(*rays_to_angles(np.array(direction, float)), HEIGHT, WIDTH)
        cv2.circle(image, (round(col), round(row)), 8, color, -1, cv2.LINE_AA)
        x, y = min(round(col) + 12, WIDTH - 82), int(np.clip(row - 8, 16, HEIGHT - 8))
        write(image, name, (x, y), color, scale=0.6)
    return image


def write(image: np.ndarray, text: str, corner: tuple[int, int], color: tuple, scale: float = 0.4) -> None:
    """Write a line of text with a dark outline; `corner` is the lower left one, (x, y)."""
    for ink, thickness in (((0, 0, 0), 3), (color, 1)):
        cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness, cv2.LINE_AA)


def main() -> None:
    """Write the image."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--out", required=True, metavar="FILE", help="image to write (.png, .jpg)")
    options = parser.parse_args()
    save_image(options.out, draw_axes(SyntheticRooms("train", 1, HEIGHT, WIDTH).read(0).rgb))


if __name__ == "__main__":
    main()

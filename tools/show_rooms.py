"""Draw rooms of `--dataset Synthetic` in one image.

python -m tools.show_rooms --out rooms.jpg
"""

import numpy as np

from datasets import SPLITS
from datasets.synthetic import ROOMS, SyntheticRooms
from options.parser import Parser, positive
from visual.color_scale import ColorScale
from visual.drawing import label_colors, normal_colors, save_image, scale_colors


def main() -> None:
    """Draw the RGB image of each room, two per row; with --truth also depth, normals and labels."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--out", required=True, metavar="FILE", help="image to write (.png, .jpg)")
    parser.add_argument("--num", type=positive, default=4, metavar="N", help="number of rooms")
    parser.add_argument("--split", default="train", choices=SPLITS, help="split of the rooms")
    parser.add_argument("--rooms", default="furnished", choices=tuple(ROOMS), help="as --rooms in training")
    parser.add_argument("--height", type=positive, default=256, metavar="PIXELS", help="height of the panoramas")
    parser.add_argument("--truth", action="store_true", help="also show depth, normals and labels")
    options = parser.parse_args()
    rooms = SyntheticRooms(options.split, options.num, options.height, 2 * options.height, rooms=options.rooms)
    tiles = []
    for index in range(options.num):
        room = rooms.read(index)
        tiles.append(room.rgb)
        if options.truth:
            tiles.append(scale_colors(room.depth, ColorScale(0, 8, "m")))
            tiles.append(normal_colors(room.normal))
            tiles.append(label_colors(room.semantic, rooms.classes.colors))
    if len(tiles) > 1 and len(tiles) % 2:
        tiles.append(np.full_like(tiles[0], 255))
    save_image(options.out, np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)]))


if __name__ == "__main__":
    main()

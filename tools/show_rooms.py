"""Draw rooms of `--dataset Synthetic` in one image.

python -m tools.show_rooms --out rooms.jpg
"""

import argparse

import numpy as np

from datasets import SPLITS
from datasets.synthetic import ROOMS, SyntheticRooms
from visual.color_scale import ColorScale
from visual.drawing import label_colors, normal_colors, save_image, scale_colors


def main() -> None:
    """Draw the RGB of each room, two in a row; with --truth also depth, normals and labels."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", required=True, metavar="FILE", help="image to write (.png, .jpg)")
    parser.add_argument("--num", type=int, default=4, help="number of rooms (default: 4)")
    parser.add_argument("--split", default="train", choices=SPLITS, help="split of the rooms (default: train)")
    parser.add_argument("--rooms", default="furnished", choices=tuple(ROOMS), help="see --rooms in training")
    parser.add_argument("--height", type=int, default=256, help="height of the panoramas (default: 256)")
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

"""Colors for classes without predefined ones, and ImageNet's mean and standard deviation."""

import colorsys

import numpy as np

Colors = tuple[tuple[int, int, int], ...]  # 8-bit RGB, one per class
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB in [0, 1]


def distinct_colors(count: int) -> Colors:
    """`count` distinct 8-bit RGB colors."""
    # Golden-ratio steps around the color wheel stay away from earlier hues.
    hues = (np.arange(count) * 0.618034) % 1
    return tuple(
        tuple(int(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.6 + 0.4 * (i % 2), 1 - 0.2 * (i % 3)))
        for i, hue in enumerate(hues)
    )

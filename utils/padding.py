"""Padding images on the right or at the bottom to another aspect ratio."""


def padded_size(size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """The smallest size (H, W) that holds an image of `size` and has the aspect ratio of height x width."""
    rows, columns = size
    if columns * height > rows * width:
        return int(columns * height / width + 0.5), columns
    return rows, int(rows * width / height + 0.5)

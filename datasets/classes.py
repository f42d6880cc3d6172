"""Semantic classes: names and display colors, in the order of the labels 0, 1, 2, ..."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SemanticClasses:
    """Names and 8-bit RGB colors of the classes; the label of a class is its index, -1 means ignore."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self):
        if len(self.names) != len(self.colors):
            raise ValueError(f"{len(self.names)} class names but {len(self.colors)} colors")

    def __len__(self) -> int:
        return len(self.names)

    def label(self, name: str) -> int:
        """The label of a class name."""
        return self.names.index(name)


# The 13 classes of Stanford2D3D (2D-3D-S), in alphabetical order, as published; the colors are ours.
STANFORD2D3D = SemanticClasses(
    names=(
        *("beam", "board", "bookcase", "ceiling", "chair", "clutter", "column"),
        *("door", "floor", "sofa", "table", "wall", "window"),
    ),
    colors=(
        *((139, 69, 19), (0, 128, 0), (178, 102, 255), (236, 236, 236), (255, 127, 14), (110, 110, 110)),
        *((0, 160, 160), (214, 39, 40), (90, 70, 50), (227, 119, 194), (255, 215, 0), (150, 180, 220), (23, 90, 255)),
    ),
)

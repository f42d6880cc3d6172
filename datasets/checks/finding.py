"""Results of a check."""

from collections.abc import Sequence
from dataclasses import dataclass, field

# Real datasets contain a few panoramas that are unusual but not wrong (stairs, terraces, symmetric corridors). They are
# always listed, but are a problem only above this fraction.
TOLERATED_OUTLIERS = 0.02


@dataclass
class Finding:
    """The result of one check.

    Attributes:
        heading: one word.
        rows: lines of text.
        problems: errors in the dataset, a few words each.
        outliers: unusual panoramas, as "ID: difference".
        noun: "panoramas" or "images".
    """

    heading: str
    rows: list[str]
    problems: list[str] = field(default_factory=list)
    outliers: list[str] = field(default_factory=list)
    noun: str = "panoramas"

    def add_outliers(self, outliers: Sequence[str], num: int, problem: str, tolerated: float = 0.0) -> None:
        """Add outliers among `num` panoramas, and `problem` if their fraction exceeds `tolerated`.

        If there already is a problem and most panoramas would be outliers, none is added.
        """
        if self.problems and len(outliers) > num / 2:
            return
        self.outliers += outliers
        if len(outliers) > tolerated * num:
            self.problems.append(f"{len(outliers)} of {num} {self.noun}: {problem}")


def outside(value: float, bounds: tuple[float, float]) -> bool:
    """Whether a value is out of bounds; True for NaN."""
    return not bounds[0] <= value <= bounds[1]

"""Which training images are held out to validate on, where a dataset does not say."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

_FRACTION = 0.1


def held_out(ids: Sequence[str], groups: Sequence[str]) -> set[str]:
    """About a tenth of the images, in whole groups.

    The choice depends on names alone, so that a part of the data does not change it for the rest.

    Args:
        ids: of the images.
        groups: of each image, what it must not be separated from: its scene, for example.
    """
    members = defaultdict(list)
    for image_id, group in zip(ids, groups, strict=True):
        members[group].append(image_id)
    order = sorted(members, key=lambda name: hashlib.sha256(f"val/{name}".encode()).digest())
    wanted, chosen = round(_FRACTION * len(ids)) or min(1, len(ids) - 1), set()
    for group in order:
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(members[group]) < len(ids):
            chosen.update(members[group])
    return chosen


def indices_of_split(split: str, ids: Sequence[str], groups: Sequence[str], hold_out_val: bool) -> list[int]:
    """Indices of the images that belong to a split, among those of the part of a dataset that it is taken from.

    Args:
        split: "val", or "train" with `hold_out_val`: those that `held_out` chooses, or the others; else all.
    """
    if split == "test" or (split == "train" and not hold_out_val):
        return list(range(len(ids)))
    kept_out = held_out(ids, groups)
    return [index for index, one in enumerate(ids) if (one in kept_out) == (split == "val")]

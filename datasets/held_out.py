"""Holding out training images for validation, where a dataset defines no validation split."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

_FRACTION = 0.1


def held_out(ids: Sequence[str], groups: Sequence[str]) -> set[str]:
    """Ids of about a tenth of the images, chosen in whole groups.

    Groups are chosen in an order that depends only on their names, so that missing images hardly change the choice.

    Args:
        ids: the images.
        groups: the group of each image, such as its scene, which is not split.
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
    """Indices of the images of a split, among the training images, or the test images if the split is "test".

    Args:
        split: "val": the images of `held_out`; "train" with `hold_out_val`: the other images; otherwise all images.
        ids, groups: see `held_out`.
        hold_out_val: whether "train" excludes the images of "val".
    """
    if split == "test" or (split == "train" and not hold_out_val):
        return list(range(len(ids)))
    kept_out = held_out(ids, groups)
    return [index for index, image_id in enumerate(ids) if (image_id in kept_out) == (split == "val")]

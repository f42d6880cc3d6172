"""Holding out training images by their names."""

from datasets.held_out import held_out

IDS = [f"image {number}" for number in range(200)]


def test_tenth_in_whole_groups():
    groups = [f"scene {number // 5}" for number in range(200)]
    chosen = held_out(IDS, groups)
    assert len(chosen) == 20
    scenes = {group for image_id, group in zip(IDS, groups, strict=True) if image_id in chosen}
    assert chosen == {image_id for image_id, group in zip(IDS, groups, strict=True) if group in scenes}


def test_choice_is_stable_in_subsets():
    """Groups are ordered by their names, whatever the other groups."""
    assert held_out(IDS[:100], IDS[:100]) & held_out(IDS, IDS)


def test_training_images_remain():
    assert held_out(IDS, ["one scene"] * 200) == set()
    assert len(held_out(IDS[:2], IDS[:2])) == 1
    assert held_out(IDS[:1], IDS[:1]) == set()

"""Which training images are held out, by a rule of names."""

from datasets.held_out import held_out

IDS = [f"image {number}" for number in range(200)]


def test_a_tenth_in_whole_groups():
    groups = [f"scene {number // 5}" for number in range(200)]
    chosen = held_out(IDS, groups)
    assert len(chosen) == 20
    scenes = {group for one, group in zip(IDS, groups, strict=True) if one in chosen}
    assert chosen == {one for one, group in zip(IDS, groups, strict=True) if group in scenes}


def test_the_choice_for_some_does_not_depend_on_the_others():
    assert held_out(IDS[:100], IDS[:100]) & held_out(IDS, IDS)


def test_something_is_left_to_train_on():
    assert held_out(IDS, ["one scene"] * 200) == set()
    assert len(held_out(IDS[:2], IDS[:2])) == 1
    assert held_out(IDS[:1], IDS[:1]) == set()

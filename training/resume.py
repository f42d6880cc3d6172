"""Comparing the options and data of a resumed run with those it was started with."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from utils.errors import UserError
from utils.files import to_json

_MAX_NAMED = 3  # options in a message


def plain(options: Mapping[str, object]) -> dict[str, object]:
    """Options as plain data, after a round trip through JSON: tuples become lists."""
    return json.loads(to_json(options))


def require_same_options(before: Mapping, now: Mapping, fixed: Iterable[str], run: Path) -> None:
    """Make sure that the fixed options of a run have not changed.

    Args:
        before, now: all options by name, plain data; options missing in `before` are newer than the run.
        fixed: names of the options to compare.
        run: folder of the run.

    Raises:
        UserError: when one differs.
    """
    changed = changed_options(before, now, fixed)
    if not changed:
        return
    named = [f"--{name} is {in_words(now[name])}, but was {in_words(before[name])}" for name in changed]
    more = f", and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    raise UserError(
        f"{run} cannot be resumed with other options: {'; '.join(named[:_MAX_NAMED])}{more}: "
        "pass the original values, or another --log_dir"
    )


def changed_options(before: Mapping, now: Mapping, names: Iterable[str]) -> list[str]:
    """The names of options whose values differ."""
    return [name for name in names if name in before and before[name] != now[name]]


def describe_changes(before: Mapping, now: Mapping, names: Iterable[str]) -> str:
    """Options with their new and old values, in words."""
    return ", ".join(f"--{name} {in_words(now[name])} (was {in_words(before[name])})" for name in names)


def require_same_facts(before: Mapping[str, object], now: Mapping[str, object], run: Path) -> None:
    """Make sure that facts derived from options and data, such as the list of samples, have not changed.

    Args:
        before, now: facts by their names in messages, which include the flags that determine them.
        run: folder of the run.

    Raises:
        UserError: when something differs.
    """
    for name, value in now.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            # Values that are missing in runs of earlier versions are the same as None.
            key = next((key for key in {**old, **value} if old.get(key) != value.get(key)), None)
            name, old, value = f"{name}, {key}", old.get(key), value.get(key)
        if old == value:
            continue
        raise UserError(
            f"{run} cannot be resumed with other {name}: {in_words(value)} instead of {in_words(old)}: "
            "use the original data and options, or pass another --log_dir"
        )


def read_settings(path: Path) -> dict | None:
    """The content of a run's settings.json; None if it is missing or unreadable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_history(path: Path) -> dict | None:
    """The content of a run's settings.json, to be extended; None if it was not written by this program."""
    content = read_settings(path) or {}
    resumed = content.get("resumed")
    if not isinstance(content.get("options"), dict) or not isinstance(resumed, list):
        return None
    entries_are_complete = all(isinstance(entry, dict) and isinstance(entry.get("options"), dict) for entry in resumed)
    return content if entries_are_complete else None


def in_words(value: object) -> str:
    """An option's value (plain data) for messages, as on the command line if possible, in at most 60 characters."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "not given"
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        text = " ".join(map(str, value))
    else:
        text = to_json(value) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

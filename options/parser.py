"""Both programs: the argument parser, and option types. Nothing here imports torch."""

import argparse


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults other than None and False."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in a single line."""

    def __init__(self, description: str):
        super().__init__(description=description, formatter_class=_Help, allow_abbrev=False)

    def error(self, message: str):
        self.exit(2, f"error: {message} (see --help)\n")


def positive(text: str) -> int:
    """Type of an option: 1, 2, 3, ..."""
    return _at_least(1, int(text))


def count(text: str) -> int:
    """Type of an option: 0, 1, 2, ..."""
    return _at_least(0, int(text))


def rate(text: str) -> float:
    """Type of an option: a finite number of at least 0."""
    return _at_least(0.0, float(text))


def positive_rate(text: str) -> float:
    """Type of an option: a number above 0."""
    value = _at_least(0.0, float(text))
    if value == 0:
        raise argparse.ArgumentTypeError("0: pass a number above 0")
    return value


def fraction(text: str) -> float:
    """Type of an option: a number in [0, 1)."""
    return _at_least(0.0, float(text), below=1.0)


def angle(text: str) -> float:
    """Type of an option: an angle in degrees, in (0, 180)."""
    value = _at_least(0.0, float(text), below=180.0)
    if value == 0:
        raise argparse.ArgumentTypeError("0: pass an angle above 0 degrees")
    return value


def port(text: str) -> int:
    """Type of an option: a TCP port."""
    return _at_least(1, int(text), below=2**16)


def seed(text: str) -> int:
    """Type of an option: a seed for random generators."""
    return _at_least(0, int(text), below=2**31)


def _at_least(lowest: float, value: float, below: float = float("inf")) -> float:
    """The value, if it is in [lowest, below). NaN is not."""
    if not lowest <= value < below:
        end = "" if below == float("inf") else f", below {below:g}"
        raise argparse.ArgumentTypeError(f"{value}: pass a number from {lowest:g}{end}")
    return value

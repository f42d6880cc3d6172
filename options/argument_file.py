"""Second program (*_achievement.py): option files such as ``cfg/<tasks>/<dataset>/<name>.cfg``.

Each line of a file contains one or more options with their values; ``#`` starts a comment. Later options override
earlier ones, later files earlier ones, and the command line overrides files.
Nothing here imports torch.
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from options.parser import Parser
from utils.errors import UserError

SUFFIX = ".cfg"


class ArgumentFileParser(Parser):
    """Parses ``FILE.cfg ... --option value ...``.

    Options cannot be marked as required: check afterwards.
    """

    def __init__(self, description: str):
        super().__init__(description)
        self.add_argument("cfg", nargs="*", metavar=f"FILE{SUFFIX}", help="option files, read before the command line")
        self._place = ""

    def parse_args(self, arguments: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):
        """Options of the files and of the command line, as one namespace.

        Exits with code 2 and one line for a wrong option, naming the file and line that contain it.

        Raises:
            UserError: when a file is missing or cannot be read as text.
        """
        options = super().parse_args(arguments, namespace)
        files = options.cfg
        if wrong := [file for file in files if not file.endswith(SUFFIX)]:
            self.error(f"{wrong[0]}: expected options, or files that end in {SUFFIX}")
        if not files:
            return options
        merged = argparse.Namespace()
        for file in files:
            for number, tokens in read_argument_file(Path(file)):
                self._place = f"{file}, line {number}: "
                super().parse_args(tokens, merged)
                if merged.cfg:
                    self.error(f"{merged.cfg[0]} is not an option")
        self._place = ""
        return super().parse_args(arguments, merged)

    def parse_command_line(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Options of the command line alone, without those of its files; exits as `parse_args`."""
        return super().parse_args(arguments)

    def error(self, message: str):
        super().error(self._place + message)


def read_argument_file(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a file that contain options: line numbers, from 1, and words.

    Raises:
        UserError: when the file is missing or is not text, or a quote is not closed.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    words = []
    for number, line in enumerate(lines, start=1):
        try:
            tokens = shlex.split(line, comments=True)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {str(error).lower()}") from error
        if tokens:
            words.append((number, tokens))
    return words

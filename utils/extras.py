"""Packages that only some options need (requirements-extra.txt)."""

from importlib import import_module
from types import ModuleType

from utils.errors import UserError


class MissingPackageError(UserError):
    """A package is not installed: no file is at fault, and no other sample can be read, either."""


def import_extra(name: str, what: str) -> ModuleType:
    """Import the module `name`, which `what` needs.

    Raises:
        MissingPackageError: when it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingPackageError(f"{what} needs {package}: pip install {package}") from error

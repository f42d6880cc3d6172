"""The report of an evaluation: one HTML file that needs nothing else."""

from importlib import import_module

from utils.errors import UserError


def require_packages() -> None:
    """Check that the packages that only reports need can be imported.

    Raises:
        UserError: when one cannot.
    """
    for module in ("jinja2", "matplotlib.figure"):
        try:
            import_module(module)
        except ImportError as error:  # also of a package that it needs in turn
            package = module.partition(".")[0]
            raise UserError(f"--report needs {package}: pip install -r requirements-extra.txt") from error

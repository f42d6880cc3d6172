"""Result files of evaluations, self-contained HTML reports, and comparisons."""

from importlib import import_module

from utils.errors import UserError


def require_packages() -> None:
    """Check that the optional packages for reports can be imported.

    Raises:
        UserError: when one is missing.
    """
    for module in ("jinja2", "matplotlib.figure"):
        try:
            import_module(module)
        except ImportError as error:  # of the package or of its dependencies
            package = module.partition(".")[0]
            raise UserError(f"--report needs {package}: pip install -r requirements-extra.txt") from error

"""Nothing imports upwards or sideways: what a package needs of those above it is handed to it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the top to the bottom; the packages of a line do not know each other.
LAYERS = [
    {"scripts"},
    {"benchmarks", "demo", "tools"},
    {"options"},
    {"reports"},
    {"prediction"},
    {"tasks"},
    {"training"},
    {"datasets", "losses", "metrics", "networks", "visual"},
    {"utils"},
]
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] in {*LEVELS, path.name}]


def package_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return "scripts" if first.endswith(".py") else first


def imported_names(path: Path) -> set[str]:
    """First parts of the names of all modules that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def test_every_package_has_its_layer():
    packages = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", ".ci", "docs"}
    assert packages <= LEVELS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down(path):
    package = package_of(path)
    scripts = {script.stem for script in ROOT.glob("*.py")}
    imported = imported_names(path)
    assert not imported & scripts, "nobody imports a script"
    upwards = {name for name in imported & LEVELS.keys() if name != package and LEVELS[name] <= LEVELS[package]}
    assert not upwards, f"{package} imports {', '.join(sorted(upwards))}"


def test_relative_imports_are_not_used():
    """They would not be seen here."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path

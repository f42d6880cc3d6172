"""Packages import only from packages below them; what they need from above is passed to them as arguments."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From top to bottom; packages in the same line do not import each other.
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
    """Top-level names of all modules that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def test_every_package_has_a_layer():
    packages = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", ".ci", "docs"}
    assert packages <= LEVELS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down(path):
    package = package_of(path)
    scripts = {script.stem for script in ROOT.glob("*.py")}
    imported = imported_names(path)
    assert not imported & scripts, "scripts are never imported"
    upwards = {name for name in imported & LEVELS.keys() if name != package and LEVELS[name] <= LEVELS[package]}
    assert not upwards, f"{package} imports {', '.join(sorted(upwards))}"


def test_no_relative_imports():
    """The test above does not detect them."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path

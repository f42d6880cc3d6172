"""Links in the documentation are valid, and the README links every page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "benchmarks" / "README.md"]
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)")


def text_of(page: Path) -> str:
    """The text of a page without code blocks."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """GitHub's anchors for the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: Path) -> list[tuple[Path, str]]:
    """Files and anchors that a page links to."""
    return [(page.parent / path if path else page, anchor) for path, anchor in LINK.findall(text_of(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    links = links_of(page)
    assert [str(path) for path, _ in links if not path.exists()] == []
    assert [f"{path}#{anchor}" for path, anchor in links if anchor and anchor not in anchors_of(path)] == []


def test_readme_links_every_page():
    linked = {path.resolve() for path, _ in links_of(ROOT / "README.md")}
    assert [str(page) for page in PAGES if page.name != "README.md" and page.resolve() not in linked] == []


def test_pages_named_in_code():
    """Messages and docstrings only name pages that exist."""
    files = [path for folder in ROOT.iterdir() if folder.is_dir() for path in folder.rglob("*.py")]
    named = {name for path in files for name in re.findall(r"docs/\w+\.md", path.read_text(encoding="utf-8"))}
    assert "docs/evaluate.md" in named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []

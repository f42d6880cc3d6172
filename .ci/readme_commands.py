"""Print the commands of README.md and docs/*.md with a name, as shell commands.

    python3 .ci/readme_commands.py NAME

A fenced block of bash or Python has the name NAME if the line above it is ``<!-- ci: NAME -->``. For Python, a command
that runs the block is printed.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(name: str) -> list[tuple[str, str]]:
    """Language and content of each block with a name: first in the README, then page by page."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    pattern = re.compile(rf"<!-- ci: {re.escape(name)} -->\n```(bash|python)\n(.*?)```", flags=re.DOTALL)
    return [block for page in pages for block in pattern.findall(page.read_text(encoding="utf-8"))]


def main() -> None:
    """Print the blocks with the given name; fail if there are none."""
    name = sys.argv[1]
    commands = [f"python - <<'END'\n{code}END\n" if language == "python" else code for language, code in blocks(name)]
    if not commands:
        sys.exit(f"neither README.md nor docs/*.md has a block named {name}")
    print("".join(commands), end="")


if __name__ == "__main__":
    main()

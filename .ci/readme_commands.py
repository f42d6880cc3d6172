"""Print the shell commands of the README that belong to a name.

A fenced block of bash or Python belongs to NAME when the line above it is ``<!-- ci: NAME -->``; of one in Python the
command is printed that runs it.

    python3 .ci/readme_commands.py NAME
"""

import re
import sys
from pathlib import Path


def blocks(name: str) -> list[tuple[str, str]]:
    """Language and content of each block of a name, in order."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"<!-- ci: {re.escape(name)} -->\n```(bash|python)\n(.*?)```", readme, flags=re.DOTALL)


def main() -> None:
    """Print the blocks of the name given, in order; fail when there are none."""
    name = sys.argv[1]
    commands = [f"python - <<'END'\n{code}END\n" if language == "python" else code for language, code in blocks(name)]
    if not commands:
        sys.exit(f"README.md has no block named {name}")
    print("".join(commands), end="")


if __name__ == "__main__":
    main()

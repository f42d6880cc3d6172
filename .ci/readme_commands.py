"""Print the shell commands of the README that belong to a name.

A fenced block belongs to NAME when the line above it is ``<!-- ci: NAME -->``.

    python3 .ci/readme_commands.py NAME
"""

import re
import sys
from pathlib import Path


def main() -> None:
    """Print the blocks of the name given, in order; fail when there are none."""
    name = sys.argv[1]
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"<!-- ci: {re.escape(name)} -->\n```bash\n(.*?)```", readme, flags=re.DOTALL)
    if not blocks:
        sys.exit(f"README.md has no block named {name}")
    print("".join(blocks), end="")


if __name__ == "__main__":
    main()

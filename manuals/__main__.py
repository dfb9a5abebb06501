"""Write the manual pages and the completions into the repository, or say what is not up to date there.

python -m manuals            write them
python -m manuals --check    write nothing; exit code 1 where something would be written
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from manuals.mdoc import filled
from torfluxd.commands import all_commands
from torfluxd.completion import completion_for
from torfluxd.settings.rules import RULE_OPTIONS

CHECKOUT = Path(__file__).parent.parent
PAGES = Path(__file__).parent / "pages"

ALIASES = {"torfluxd-serve": "twistd-torfluxd", "torfluxd-agent": "twistd-torfluxd-agent"}
"""Pages that are found under another name as well."""


def made() -> dict[Path, str]:
    """Each file that is made, and what shall be in it."""
    commands = all_commands()
    files = {
        CHECKOUT / "completions/torfluxd.bash": completion_for("bash", commands),
        CHECKOUT / "completions/_torfluxd": completion_for("zsh", commands),
    }
    for page in sorted(PAGES.iterdir()):
        text = filled(page.read_text(), commands, RULE_OPTIONS)
        names = {page.stem, ALIASES.get(page.stem, page.stem)}
        folder = CHECKOUT / f"docs/man/man{page.suffix[1:]}"
        files |= {folder / f"{name}{page.suffix}": text for name in names}
    return files


def main(arguments: Sequence[str]) -> int:
    """Do it; the exit code."""
    stale = [path for path, text in made().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(path.relative_to(CHECKOUT))
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made()[path])
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

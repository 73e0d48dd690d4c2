"""Check that a tag can be released: ``python tools/release.py TAG OWNER/NAME``.

The tag must be the version of the package with a ``v`` before it, the changelog must describe that version, the
citation file must name it, and the repository must be the one that the package's metadata links to.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]


def problems(tag: str, repository: str, root: Path = ROOT) -> Iterator[str]:
    """Yield what must be mended before the tag is released, one sentence each."""
    module = ast.parse((root / "src/rejoinder/__init__.py").read_text(encoding="utf-8"))
    (version,) = (
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    )
    if tag != f"v{version}":
        yield f"The tag is {tag}, but src/rejoinder/__init__.py has version {version}. Tag the commit as v{version}."
    if not re.search(rf"(?m)^## {re.escape(version)}(?: |$)", (root / "CHANGELOG.md").read_text(encoding="utf-8")):
        yield f'CHANGELOG.md has no section "## {version}". Rename "## Unreleased".'
    if not re.search(rf"(?m)^version: {re.escape(version)}$", (root / "CITATION.cff").read_text(encoding="utf-8")):
        yield f"CITATION.cff does not name version {version}. Correct its version."
    source = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
    if source != f"https://github.com/{repository}":
        yield f"The metadata link to {source}, but this is {repository}. Correct [project.urls] in pyproject.toml."


def main(arguments: list[str]) -> int:
    """Print the problems; return the exit code."""
    if len(arguments) != 2:
        print("usage: python tools/release.py TAG OWNER/NAME", file=sys.stderr)
        return 2
    tag, repository = arguments
    found = list(problems(tag, repository))
    print(*found or [f"{tag} can be released."], sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

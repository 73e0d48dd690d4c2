"""How the readers of an output take it: terminals, the logs of CI systems, spreadsheets. Fixture ``surfaces``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from typing import Final

MARKERS: Final = (
    "::error title=x::obeyed",
    " ::set-output name=x::obeyed",
    "::stop-commands::obeyed",
    "##[error]obeyed",
    "##vso[task.setvariable variable=x]obeyed",
    "##teamcity[buildStatus status='SUCCESS']",
    "section_start:1700000000:obeyed[collapsed=true]\r\x1b[0K",
    "section_end:1700000000:obeyed\r\x1b[0K",
    "travis_fold:start:obeyed\r\x1b[0K",
    "--- obeyed",
    "+++ obeyed",
    "~~~ obeyed",
    "^^^ +++",
    "[[ATTACHMENT|/etc/passwd]]",
    "[[PROPERTY|status=passed]]",
    "=HYPERLINK(1)",
    "+1",
    "-2+3",
    "@SUM(1)",
    "x;=cmd|' /C calc'!A0",
    '";"\t=1+1',
)
"""Texts that make some reader act when they reach it as they are."""
ACTIVE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control and bidirectional characters, and surrogates."""
_ANYWHERE: Final = re.compile(
    # Azure Pipelines and GitHub look for their brackets anywhere in a line, and the older form of GitHub is Azure's.
    r"##(?:vso|teamcity)?\[|section_(?:start|end):\d+:|travis_(?:fold|time):|\[\[(?:ATTACHMENT|PROPERTY)\|",
    re.IGNORECASE,
)


def obeyed(text: str) -> list[str]:
    """Return the lines of an output that GitHub, Azure, TeamCity, GitLab, Travis or Buildkite would obey."""
    return [line for line in text.splitlines() if _command(line)]


def _command(line: str) -> bool:
    # GitHub's runner trims blanks and takes "::name properties::"; stricter here: the first mark is enough.
    return line.lstrip().startswith(("::", "---", "+++", "~~~", "^^^")) or bool(_ANYWHERE.search(line))


def formulas(text: str) -> Iterator[str]:
    """Yield the cells of a CSV file that a spreadsheet takes for a formula, whichever separator its locale has."""
    for separator in ",;\t":
        for row in csv.reader(StringIO(text, newline=""), delimiter=separator):
            for cell in row:
                plain = cell.strip(" \"'\t") if not cell.lstrip(' "').startswith("'") else ""
                if re.match(r"[=+\-@\uff1d\uff0b\uff0d\uff20](?![\d.]+$)", plain):
                    yield cell

"""A small extension in a folder, and the way back to none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rejoinder.extensions import VARIABLE, extensions

FILES = {
    "extension.toml": 'name = "acme"\n[families]\nACME = "Acme gateway"\n',
    "rules/acme.toml": """
[[rule]]
id = "ACME-01"
title = "replies carry a trace id"
statement = "A successful plain reply has the header x-acme-trace."
level = "MUST"
levels = { openai = "OFF" }
features = []
argument = "Support finds requests by it."

[[rule]]
id = "ACME-02"
title = "streams name their route"
statement = "A successful stream has the header x-acme-route."
level = "SHOULD"
features = ["streaming"]
argument = "Dashboards group by it."
""",
    "checks.py": '''
from rejoinder.conformance import Problem, Subject, check
from .names import ROUTE, TRACE


@check("ACME-01", Subject.PLAIN)
def replies_are_traced(view):
    """The header x-acme-trace of every plain reply is looked for."""
    if not view.exchange.header(TRACE):
        yield Problem(f"The reply has no header {TRACE}.")


@check("ACME-02", Subject.STREAM)
def streams_name_their_route(view):
    """The header x-acme-route of every successful stream is looked for."""
    if not view.exchange.header(ROUTE):
        yield Problem(f"The stream has no header {ROUTE}.")
''',
    "names.py": 'TRACE, ROUTE = "x-acme-trace", "x-acme-route"\n',
    "faults.py": """
from rejoinder.sandbox import Fault
from .names import ROUTE, TRACE

ENDPOINT = Fault(
    id="acme-headers",
    title="Successes carry the headers of the gateway.",
    breaks=(),
    head=lambda status, headers, _: (status, (*headers, (TRACE, "t1"), (ROUTE, "r1"))),
)
FAULTS = [
    Fault(
        id="acme-untraced",
        title="The trace id is missing.",
        breaks=("ACME-01",),
        head=lambda status, headers, _: (status, tuple(header for header in headers if header[0] != TRACE)),
    ),
    Fault(
        id="acme-unrouted",
        title="The route is missing.",
        breaks=("ACME-02",),
        head=lambda status, headers, _: (status, tuple(header for header in headers if header[0] != ROUTE)),
    ),
]
""",
}


@pytest.fixture
def extension(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A function that writes an extension folder with some files changed (``None``: left out) and returns its path."""
    before = os.environ.pop(VARIABLE, None)
    extensions.cache_clear()

    def write(changes: dict[str, str | None] | None = None, folder: str = "acme") -> Path:
        for name, text in {**FILES, **(changes or {})}.items():
            if text is not None:
                file = tmp_path / folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        return tmp_path / folder

    yield write
    os.environ.pop(VARIABLE, None)
    if before is not None:
        os.environ[VARIABLE] = before
    extensions.cache_clear()

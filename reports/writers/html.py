"""One self-contained HTML page for a run.

The page loads nothing: styles and script stand in it, and its content security policy names their hashes and forbids
everything else, so that text from an endpoint can neither run nor call home even if it got past the escaping. It is
readable without JavaScript, and its size is bounded whatever the run holds.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from rejoinder import formatting
from rejoinder.model.runfile import Run
from rejoinder.reports.evidence import sides
from rejoinder.reports.model import Area, Part, ReportModel, read_report
from rejoinder.reports.parts import all_parts
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.parts.verdict import PART as VERDICT

_OF_A_PART: Final = "part:"


def render_html(run: Run) -> str:
    """Return the run as one HTML document, which encodes to UTF-8 and needs no network."""
    report = read_report(run)
    areas = [Area.FIRST, Area.NOTICES, Area.OVERVIEW]
    areas += [Area.RULES, Area.LOAD] if report.groups else [Area.LOAD, Area.RULES]
    contents = [(area, list(_shown(area, report))) for area in areas]
    return page(
        "page.html.j2",
        report=report,
        verdict=report[VERDICT],
        target=report[TARGET],
        nav=[(part.name, part.nav) for _, parts in contents for part in parts if part.nav],
        areas=[(area, _body(parts, report)) for area, parts in contents if parts],
        loaded=report.get(LOAD) is not None,
    )


def _shown(area: Area, report: ReportModel) -> Iterator[Part[Any]]:
    """Yield the parts of an area that have something to show on the page."""
    for part in all_parts():
        if (
            part.area is area
            and files(part.package).joinpath("part.html.j2").is_file()
            and report.get(part) is not None
        ):
            yield part


def _body(parts: list[Part[Any]], report: ReportModel) -> Markup:
    """Return the parts of an area one after the other, those of one row in a box of their own."""
    body = []
    for row, members in groupby(parts, lambda part: part.row):
        html = "".join(_part(part, report) for part in members)
        body.append(f'<div class="pair">\n{html}</div>\n' if row else html)
    return Markup("".join(body))


def _part(part: Part[Any], report: ReportModel) -> str:
    value = report.get(part)
    more = part.page_values(value, report) if part.page_values else {}
    return _environment().get_template(_OF_A_PART + part.package).render(it=value, report=report, **more) + "\n"


def page(template: str, *, loaded: bool, **values: Any) -> str:
    """Return a template as a whole page, with styles and script and the policy that admits only them.

    ``loaded`` is whether there is a load on the page, which has styles of its own.
    """
    styles, script = _asset("report.css") + (_asset("load.css") if loaded else ""), _asset("report.js")
    return (
        _environment()
        .get_template(template)
        .render(
            styles=Markup(styles),  # our own file, not escaped so that its hash holds
            script=Markup(script),
            style_hash=_hash(styles),
            script_hash=_hash(script),
            **values,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters.update(
        seconds=formatting.format_seconds,
        count=formatting.format_count,
        rate=formatting.format_rate,
        size=formatting.format_bytes,
        plural=formatting.plural,
        content=_content,
        prose=_prose,
        share=lambda value: f"{value:.2f}".rstrip("0").rstrip(".") + "%",
    )
    environment.globals.update(percent=formatting.format_percent, sides=sides)
    return environment


def _harmless(value: Any) -> Any:
    """Make every text that a template prints printable; escaping follows. ``Markup`` is our own."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return formatting.printable(value)
    return value


def _content(value: str) -> Markup:
    """Escape text that stands between tags, never in an attribute: quotes stay, of which JSON is full."""
    return Markup(formatting.printable(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _prose(value: str) -> Markup:
    """Escape text of the catalogue and show what stands between backticks as code."""
    escaped = str(escape(formatting.printable(value)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


def _template(name: str) -> str:
    """Return the source of a template: of a part by its package, of another folder by its path, else by its name."""
    if name.startswith(_OF_A_PART):
        return files(name.removeprefix(_OF_A_PART)).joinpath("part.html.j2").read_text("utf-8")
    return files("rejoinder.reports").joinpath(name).read_text("utf-8") if "/" in name else _asset(name)


@cache
def _asset(name: str) -> str:
    return files("rejoinder.reports").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

"""``rejoinder dialect``: show and compare dialects, and make one from an OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from rejoinder.cli._help import Argument, Group, Page
from rejoinder.cli._terminal import echo
from rejoinder.contract import DEFAULT_DIALECT, Dialect, load_dialect
from rejoinder.contract.comparing import AREAS, Difference, differences
from rejoinder.errors import ExitCode
from rejoinder.formatting import plural
from rejoinder.model.verdict import ABSENT

_NAMED: Final = "Name of a dialect, or path of a dialect file."
_MOST_PLACES: Final = 8
_MOST_VALUES: Final = 12
_AREAS: Final[Mapping[str, str]] = {
    "request": "Request",
    "response": "Response object",
    "events": "Events",
    "error": "Error object",
    "operations": "Operations",
    "parameters": "Parameters",
    "features": "Features",
    "levels": "Levels of rules",
}
assert tuple(_AREAS) == AREAS


@click.group(
    "dialect",
    cls=Group,
    examples=[
        ("Make a dialect from an OpenAPI document.", "rejoinder dialect from-openapi openapi.json --name ours"),
        ("Compare it with a shipped one.", "rejoinder dialect diff openai ours.toml"),
        ("Check an endpoint against it.", "rejoinder check http://127.0.0.1:8000 --dialect ours.toml"),
    ],
)
def command() -> None:
    """Show and compare dialects, and make one from an OpenAPI document."""


@command.command(
    "from-openapi",
    cls=Page,
    short_help="Make a dialect from an OpenAPI document.",
    exit_codes={0: "The dialect was written.", 2: "The document cannot be used, or a file could not be written."},
    examples=[
        (
            "Write ours.toml and the folder ours with its schemas.",
            "rejoinder dialect from-openapi openapi.json --name ours",
        ),
        (
            "Take what the document does not state from openai.",
            "rejoinder dialect from-openapi openapi.json --base openai",
        ),
    ],
)
@click.argument(
    "file",
    cls=Argument,
    type=click.Path(path_type=Path),
    description="OpenAPI 3.1 document in JSON that has POST /v1/responses.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    default=".",
    help="Folder for the files. Default: the current folder.",
)
@click.option("--name", default="", metavar="NAME", help="Name of the dialect. Default: the title of the document.")
@click.option(
    "--base",
    default=DEFAULT_DIALECT,
    show_default=True,
    metavar="DIALECT",
    help="Shipped dialect that gives what the document does not state.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was not carried over as JSON.")
def from_openapi_command(file: Path, out: Path, name: str, base: str, as_json: bool) -> int:
    """Write a dialect with the schemas of an OpenAPI document, and list what it could not carry over.

    The dialect has the schemas of the request, the response object, the events and the operations of FILE, and the
    parameters that follow from them. References to other documents are errors; nothing is fetched.
    """
    from rejoinder.contract.openapi import convert, dialect_files, read_document

    found = convert(read_document(file))
    written = dialect_files(found, name=name, base=base).write(out)
    dialect = load_dialect(written)
    if as_json:
        losses = [{"pointer": loss.pointer, "keyword": loss.keyword, "what": loss.what} for loss in found.losses]
        echo(json.dumps({"dialect": str(written), "not_carried_over": losses}, indent=2))
        return 0
    echo(f"Wrote {written}: {_summary(dialect)}.")
    taken = [table for table in ("request", "response", "events", "error", "operations") if table not in found.schemas]
    if taken:
        echo(f"From {base}: the schemas {', '.join(taken)}, and the parameters that the file does not list.")
    if found.losses:
        echo(f"\n{plural(len(found.losses), 'place')} not carried over as written:")
        for keyword, what, places in _grouped((loss.keyword, loss.what, loss.pointer) for loss in found.losses):
            echo(f"  {keyword}: {what}")
            for place in places[:_MOST_PLACES]:
                echo(f"    {file}#{place}")
            if len(places) > _MOST_PLACES:
                echo(f"    {len(places) - _MOST_PLACES} more places; --json lists them all")
    return 0


def _grouped(rows: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, list[str]]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for keyword, what, place in rows:
        groups.setdefault((keyword, what), []).append(place)
    return [(keyword, what, places) for (keyword, what), places in groups.items()]


def _summary(dialect: Dialect) -> str:
    from rejoinder.contract.branches import Branches

    counts = (
        plural(len(dialect.parameters), "request field"),
        plural(len(Branches.of_dialect(dialect.reference).all), "request branch", "request branches"),
        plural(len(dialect.item_types), "item type"),
        plural(len(dialect.events), "event type"),
        plural(len(dialect.operations), "operation") + " besides create",
    )
    return ", ".join(counts)


@command.command(
    "diff",
    cls=Page,
    short_help="Show where two dialects differ.",
    exit_codes={0: "The dialects have the same data.", 1: "They differ.", 2: "A dialect cannot be used."},
    examples=[
        ("Compare two shipped dialects.", "rejoinder dialect diff openai openresponses"),
        ("Compare your dialect with its base, as JSON.", "rejoinder dialect diff openai ours.toml --json"),
    ],
)
@click.argument("one", cls=Argument, description=_NAMED)
@click.argument("other", cls=Argument, description=_NAMED)
@click.option("--area", type=click.Choice(AREAS), multiple=True, help="Only this area. Can be given more than once.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def diff_command(one: str, other: str, area: tuple[str, ...], as_json: bool) -> int:
    """Show every place at which the dialects ONE and OTHER differ.

    Compared are fields, types, values, required fields and bounds of the request, the response object, events, errors
    and operations; and parameters, features and levels of rules.
    """
    mine, theirs = load_dialect(one), load_dialect(other)
    found = [difference for difference in differences(mine, theirs) if not area or difference.area in area]
    if as_json:
        rows = [_row(difference) for difference in found]
        echo(json.dumps({"one": mine.name, "other": theirs.name, "differences": rows}, indent=2, ensure_ascii=False))
        return ExitCode.FAILED if found else ExitCode.PASSED
    for name, title in _AREAS.items():
        here = [difference for difference in found if difference.area == name]
        if here:
            echo(f"{title}: {plural(len(here), 'difference')}")
            for difference in here:
                echo(f"  {_line(difference, mine.name, theirs.name)}")
    if not found:
        echo(f"{mine.name} and {theirs.name} have the same data.")
    return ExitCode.FAILED if found else ExitCode.PASSED


def _row(difference: Difference) -> dict[str, Any]:
    row = {"area": difference.area, "place": difference.place, "kind": difference.kind}
    sides = {"one": difference.one, "other": difference.other}
    return row | {side: value for side, value in sides.items() if value is not ABSENT}


def _line(difference: Difference, one: str, other: str) -> str:
    if difference.kind == "presence":
        there, value = (one, difference.one) if difference.other is ABSENT else (other, difference.other)
        detail = f" ({value})" if isinstance(value, str) else ""
        return f"{difference.place}: only in {there}{detail}"
    if difference.kind == "values":
        lists = ((one, difference.one), (other, difference.other))
        return f"{difference.place}: values " + "; ".join(
            f"only in {name}: {_words(value)}" for name, value in lists if value is not ABSENT
        )
    sides = f"{_words(difference.one)} in {one}, {_words(difference.other)} in {other}"
    return f"{difference.place}: {difference.kind} {sides}"


def _words(value: Any) -> str:
    if value is ABSENT:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        words = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in value]
        more = [f"{len(words) - _MOST_VALUES} more"] if len(words) > _MOST_VALUES else []
        return ", ".join([*words[:_MOST_VALUES], *more]) or "[]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@command.command(
    "show",
    cls=Page,
    short_help="Show what a dialect consists of.",
    exit_codes={0: "Success.", 2: "The dialect cannot be used."},
    examples=[("Show a dialect file.", "rejoinder dialect show ours.toml")],
)
@click.argument("dialect", cls=Argument, description=_NAMED)
def show_command(dialect: str) -> int:
    """Show the source, bases, sizes, operations, event types, item types and parameters of a dialect."""
    found = load_dialect(dialect)
    rows: dict[str, str] = {
        "Dialect": found.label,
        "Source": found.source,
        "Based on": ", ".join(found.lineage[1:]) or "none",
        "Contents": _summary(found),
        "Fields": ", ".join(sorted(found.parameters)),
        "Items": ", ".join(sorted(found.item_types)),
        "Events": ", ".join(found.events),
        "Operations": ", ".join(f"{name} ({one.method} {one.path})" for name, one in found.operations.items())
        or "none",
    }
    for title, text in rows.items():
        echo(f"{title:<11} {text}")
    for name, table in (("stream", found.stream), ("response", found.response), ("request", found.request)):
        echo(f"[{name}]")
        for key, value in table.items():
            echo(f"  {key} = {json.dumps(value, ensure_ascii=False)}")
    return 0

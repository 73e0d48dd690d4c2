"""What was run against what: address, command, and the facts of the run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from rejoinder.contract import dialect_label, dialect_names, load_dialect
from rejoinder.formatting import format_seconds, format_time, one_line, plural, printable
from rejoinder.model.header import RunTarget
from rejoinder.model.runfile import Run
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.baseline import PART as BASELINE
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.terminal_text import fill


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What was run against what; ``facts`` are names and values, those that are not known left out."""

    url: str
    model: str
    dialect: str
    command: str
    started: str
    facts: list[tuple[str, str]]


def read(report: ReportModel) -> RunFacts:
    """Return what the header and the footer say of the run as a whole."""
    run, header, target = report.run, report.run.header, report.run.header.target
    model, dialect = one_line(target.model or "", 120), one_line(target.dialect, 80)
    started = format_time(header.started_at)
    versions = ", ".join(f"{name} {version}" for name, version in header.tool.items())
    baseline = report.get(BASELINE)
    facts = [
        ("Model", model or "(not set)"),
        ("Dialect", one_line(dialect_label(dialect), 120)),
        ("Dialect chosen", one_line(target.dialect_reason, 300)),
        ("Rule catalogue", one_line(header.catalogue, 20)),
        ("Server", one_line(target.server, 120)),
        ("Request form", one_line(_form(target), 300)),
        ("Started", started),
        ("Took", _duration(run)),
        ("Plan", one_line(header.plan, 80)),
        ("Baseline", f"{baseline.file}: {baseline.brief}" if baseline else ""),
        ("Recheck of", _rechecked(run)),
        ("Seed", "" if header.seed is None else str(header.seed)[:80]),
        ("Requests", _requests(report)),
        ("Versions", one_line(versions, 200)),
    ]
    return RunFacts(
        url=one_line(target.url, 300),
        model=model,
        dialect=dialect,
        command=_command(header.command),
        started=started,
        facts=[(name, value) for name, value in facts if value],
    )


def _form(target: RunTarget) -> str:
    """Return how requests differ from the usual form, and what was added to them; empty if nothing."""
    added = target.request
    usual = load_dialect(target.dialect).usual_form if target.dialect in dialect_names() else None
    parts = target.form.traits(usual)
    if added is not None:
        parts += [f"extra field {name}" for name in added.extra_body]
        parts += [f"header {name}" for name in (*(name for name, _ in added.headers), *added.header_env)]
        parts += [f"API key in {added.api_key_header}"] if added.api_key_header else []
    return ", ".join(parts)


def _rechecked(run: Run) -> str:
    """Return the recorded run that this run is a recheck of; empty when it is none."""
    origin = run.header.rechecked
    if origin is None:
        return ""
    return one_line(f"{origin.run}, recorded {format_time(origin.started_at)} by rejoinder {origin.rejoinder}", 300)


def _requests(report: ReportModel) -> str:
    exchanges, load = len(report.run.exchanges), report.get(LOAD)
    recorded = [f"{plural(exchanges, 'exchange')} recorded"] if exchanges or load is None else []
    return ", ".join([*recorded, f"{load.started:,} under load"] if load else recorded)


def _duration(run: Run) -> str:
    begin, end = run.header.started_at, run.ended_at
    return format_seconds(end - begin) if end is not None and end >= begin else ""


def _command(words: list[str]) -> str:
    """Return the command line quoted for a shell; a word that must not be shown raw is shown by name."""
    return printable(" ".join(shlex.quote(word) for word in words[:200])[:4000], keep="")


def markdown(target: RunFacts, report: ReportModel, room: int) -> list[str]:
    """Return the address, and the facts in one line."""
    lines = [f"{code(target.url)}  "] if target.url else []
    facts = [f"{escape(name)} {code(value)}" for name, value in target.facts if name not in ("Versions", "Seed")]
    return [*lines, " · ".join(facts), ""] if facts else lines


def terminal(target: RunFacts, report: ReportModel, width: int) -> list[Text]:
    """Return the address, and the facts that matter most."""
    skip = ("Versions", "Baseline", "Started", "Plan", "Seed", "Requests")
    facts = [f"{name.lower()} {value}" for name, value in target.facts if name not in skip]
    address = Text(f"  {target.url}", "bold") if target.url else Text("  (no URL)")
    return [Text(), address, *(Text(f"  {line}", "dim") for line in fill(facts, " · ", width - 2))]


PART: Final = Part(__name__, Area.FIRST, 20, read, markdown=markdown, terminal=terminal)

"""``rejoinder baseline``: write, prune and show the file of known failures."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rejoinder.cli._help import Group, Page
from rejoinder.cli._run import (
    dialect_of,
    file_option,
    read_recorded,
    recorded_dialect_option,
    run_argument,
    select_option,
    write_text,
)
from rejoinder.cli._terminal import echo
from rejoinder.errors import BaselineError, UsageError
from rejoinder.formatting import plural

if TYPE_CHECKING:
    from rejoinder.conformance.baseline import Baseline, BaselineChange, BaselineMatcher
    from rejoinder.model.runfile import Run
    from rejoinder.model.verdict import Verdict

_MARKS: Final = {"added": "+", "renewed": "~", "removed": "-"}


def _day(_ctx: click.Context, _param: click.Parameter, value: str | None) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a date. Write it as YYYY-MM-DD, for example 2027-01-31.") from None


_file = file_option("--baseline", "File of known failures.", required=True)
_dry_run = click.option("--dry-run", is_flag=True, help="Show the changes, but do not write the file.")
_EXIT_CODES: Final = {0: "Success.", 2: "The run or the baseline cannot be used."}


@click.group(
    "baseline",
    cls=Group,
    examples=[
        (
            "Accept the failures of a run.",
            'rejoinder baseline update RUN --baseline known.toml --reason "Fixed in 2.4"',
        ),
        ("Check with them.", "rejoinder check http://127.0.0.1:8000 --baseline known.toml"),
    ],
)
def command() -> None:
    """Maintain a file of known failures, to review and commit like code.

    `rejoinder check --baseline FILE` reports these failures as known and does not fail because of them.
    """


@command.command(
    "update",
    cls=Page,
    short_help="Add the findings of a run to the file.",
    exit_codes=_EXIT_CODES,
    examples=[
        ("Accept all findings.", 'rejoinder baseline update RUN --baseline known.toml --reason "Bug 7"'),
        ("Show what would be added.", "rejoinder baseline update RUN --baseline known.toml --reason - --dry-run"),
    ],
)
@run_argument
@_file
@click.option("--reason", required=True, metavar="TEXT", help="Why the failures are accepted, for all new entries.")
@click.option("--link", default="", metavar="URL", help="URL of the issue that tracks them.")
@click.option(
    "--expires",
    callback=_day,
    metavar="DATE",
    help="Last day on which the new entries apply. Example: 2027-01-31.",
)
@click.option("--must-only", is_flag=True, help="Add failed MUST rules only. SHOULD rules do not fail a run.")
@select_option
@recorded_dialect_option
@_dry_run
def update_command(
    run: Path,
    baseline: Path,
    reason: str,
    link: str,
    expires: date | None,
    must_only: bool,
    select: str,
    dialect: str | None,
    dry_run: bool,
) -> int:
    """Add an entry to FILE for each finding of RUN that FILE does not expect. Creates FILE if needed.

    Existing entries and comments stay as they are. RUN is checked again with the rules of this version of rejoinder.
    """
    from rejoinder.conformance.baseline import Baseline, read_baseline, update

    present = read_baseline(baseline) if baseline.exists() else Baseline(baseline)
    recorded, matcher, verdicts = _judged(run, present, dialect, select)
    random = {
        finding.fingerprint
        for verdict in recorded.verdicts
        for finding in verdict.findings
        if finding.reruns is not None and finding.reruns.random
    }
    edited = update(
        matcher,
        verdicts,
        reason=reason,
        link=link,
        expires=expires,
        must_only=must_only,
        flaky=random.__contains__,
    )
    if not edited.changes:
        echo(f"{baseline} expects all findings of {run}." if present.entries else f"{run} has no findings.")
        return 0
    _write(baseline, edited.text, edited.changes, dry_run=dry_run)
    return 0


@command.command(
    "prune",
    cls=Page,
    short_help="Remove entries that a run shows to be out of date.",
    exit_codes=_EXIT_CODES,
    examples=[("Remove what is fixed.", "rejoinder baseline prune rejoinder-runs/nightly --baseline known.toml")],
)
@run_argument
@_file
@recorded_dialect_option
@_dry_run
def prune_command(run: Path, baseline: Path, dialect: str | None, dry_run: bool) -> int:
    """Remove the entries of FILE that are out of date according to RUN, and show why.

    An entry is out of date if its case ran and either passed or did not test its rule. Entries of cases that RUN did
    not send stay, so use a run of the plan that FILE was created with.
    """
    from rejoinder.conformance.baseline import prune, read_baseline

    recorded, matcher, _ = _judged(run, read_baseline(baseline), dialect, "*")
    if recorded.truncated or recorded.interrupted:
        raise UsageError(
            f"{run} is incomplete, so it cannot show which entries are out of date.", "Use a complete run."
        )
    status = matcher.close(recorded.exchanges)
    edited = prune(matcher, status)
    for entry, note in status.expired:
        if matcher.found(entry):
            echo(f"! {entry.name}: {note} Renew the entry with `rejoinder baseline update`.")
    if not edited.changes:
        echo(f"No entry of {baseline} is out of date.")
        return 0
    _write(baseline, edited.text, edited.changes, dry_run=dry_run)
    return 0


@command.command(
    "show",
    cls=Page,
    short_help="List and validate the entries of the file.",
    exit_codes={0: "The file is valid.", 2: "The file cannot be used."},
    examples=[("List the known failures.", "rejoinder baseline show --baseline known.toml")],
)
@_file
def show_command(baseline: Path) -> int:
    """List the entries of FILE, and validate it."""
    from rejoinder.conformance.baseline import read_baseline
    from rejoinder.contract import load_rules

    today = datetime.now(UTC).date()
    entries = read_baseline(baseline).entries
    rules = load_rules()
    for rule in rules:
        own = [entry for entry in entries if entry.rule == rule]
        if own:
            echo(f"{rule}  {rules[rule].title}")
        for number in dict.fromkeys(entry.number for entry in own):
            cases = [entry.case for entry in own if entry.number == number]
            entry = next(entry for entry in own if entry.number == number)
            columns = [f"  {' '.join(cases)}", entry.fingerprint, _plain(entry.reason), _plain(entry.link)]
            if entry.expires:
                over = entry.expires < today
                columns.append(f"{'EXPIRED on' if over else 'until'} {entry.expires}")
            if entry.flaky:
                columns.append("flaky")
            echo("  ".join(filter(None, columns)))
    past = sum(entry.expires is not None and entry.expires < today for entry in entries)
    echo(f"{plural(len(entries), 'entry', 'entries')}, {past:,} expired")
    return 0


def _judged(
    run: Path, baseline: Baseline, dialect: str | None, select: str
) -> tuple[Run, BaselineMatcher, list[Verdict]]:
    """Check a recorded run by the rules of this version; return it with the matcher and the verdicts."""
    from rejoinder.conformance.baseline import BaselineMatcher
    from rejoinder.conformance.judgement import judge

    recorded = read_recorded(run)
    if not recorded.exchanges:
        raise UsageError(f"{run} contains no exchanges.", "Choose a run of `rejoinder check`.")
    matcher = BaselineMatcher(baseline, datetime.now(UTC).date())
    held_to, _ = dialect_of(recorded, dialect)
    required = recorded.header.required
    verdicts = judge(recorded.exchanges, held_to, select=select, required=required, matcher=matcher)
    if not any(verdict.judged for verdict in verdicts):
        raise UsageError(f"{run} tests no rule.", "Choose a run that reached its endpoint.")
    return recorded, matcher, verdicts


def _write(path: Path, text: str, changes: list[BaselineChange], *, dry_run: bool) -> None:
    for change in changes:
        echo(f"{_MARKS[change.done]} {change.done} {change.name}: {_plain(change.why)}")
    if dry_run:
        echo(f"{path} is unchanged (--dry-run).")
        return
    try:
        write_text(path, text)
    except UsageError as error:
        raise BaselineError(error.message, error.hint) from error
    echo(f"Wrote {path}.")


def _plain(text: str) -> str:
    """Return a text of a file or an endpoint without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)

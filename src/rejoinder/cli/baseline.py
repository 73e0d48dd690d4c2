"""``rejoinder baseline``: write, clear up and show the file of known failures."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rejoinder.cli._run import file_option, write_text
from rejoinder.errors import BaselineError, UsageError

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


_file = file_option("--baseline", "The file of known failures.", "FILE", required=True)
_dialect = click.option(
    "--dialect", metavar="D", help="Judge by another specification than the run was recorded under."
)


@click.group("baseline")
def command() -> None:
    """Keep a file of known failures, which people review and commit.

    `rejoinder check --baseline FILE` reads it: what it expects stays visible as known and does not fail the run.
    """


@command.command("update")
@click.argument("run", type=click.Path(path_type=Path))
@_file
@click.option("--reason", required=True, metavar="TEXT", help="Why the failures are accepted, for all new entries.")
@click.option("--link", default="", metavar="URL", help="The issue in which they are followed.")
@click.option(
    "--expires",
    callback=_day,
    metavar="DATE",
    help="Last day on which the new entries count, for example 2027-01-31.",
)
@click.option("--must-only", is_flag=True, help="Leave out broken SHOULD rules, which do not fail a run anyway.")
@click.option("--select", default="*", show_default=True, metavar="RULES", help="Take these rules only.")
@_dialect
@click.option("--dry-run", is_flag=True, help="Tell what would change, and write nothing.")
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
    r"""Add an entry for each finding of RUN that FILE does not expect yet; a file that is not there is made.

    Entries and comments that are there stay. The recording is judged again by today's rules. Example:

    \b
        rejoinder baseline update rejoinder-runs/nightly --baseline known.toml --reason "Fixed in release 2.4"
    """
    from rejoinder.conformance.baseline import Baseline, read_baseline, update

    present = read_baseline(baseline) if baseline.exists() else Baseline(baseline)
    recorded, matcher, verdicts = _judged(run, present, dialect, select)
    random = {
        finding.fingerprint
        for verdict in recorded.verdicts
        for finding in verdict.findings
        if finding.reruns is not None and not finding.reruns.deterministic
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
        click.echo(f"{baseline} expects everything that was found." if present.entries else "Nothing was found.")
        return 0
    _write(baseline, edited.text, edited.changes, dry_run=dry_run)
    return 0


@command.command("prune")
@click.argument("run", type=click.Path(path_type=Path))
@_file
@_dialect
@click.option("--dry-run", is_flag=True, help="Tell what would change, and write nothing.")
def prune_command(run: Path, baseline: Path, dialect: str | None, dry_run: bool) -> int:
    r"""Take out of FILE what RUN shows to be out of date, and tell what and why.

    That is: entries that did not fail where they were judged, and entries whose case was run without their rule being
    judged there. Of cases that RUN did not send nothing is said, so prune by a run of the plan that the file is for.

    \b
        rejoinder baseline prune rejoinder-runs/nightly --baseline known.toml
    """
    from rejoinder.conformance.baseline import prune, read_baseline

    recorded, matcher, _ = _judged(run, read_baseline(baseline), dialect, "*")
    if recorded.truncated or recorded.interrupted:
        raise UsageError(f"{run} did not come to its end, so it cannot say what is out of date.", "Run it again.")
    status = matcher.close(recorded.exchanges)
    edited = prune(matcher, status)
    for entry, note in status.expired:
        if matcher.found(entry):
            click.echo(f"! {entry.name}: {note} It no longer counts; renew it with `rejoinder baseline update`.")
    if not edited.changes:
        click.echo(f"{run} shows nothing in {baseline} to be out of date.")
        return 0
    _write(baseline, edited.text, edited.changes, dry_run=dry_run)
    return 0


@command.command("show")
@_file
def show_command(baseline: Path) -> int:
    """List the entries of FILE. Also checks the file: exit code 2 and a sentence when it cannot be used."""
    from rejoinder.conformance.baseline import read_baseline
    from rejoinder.contract import load_rules

    today = datetime.now(UTC).date()
    entries = read_baseline(baseline).entries
    rules = load_rules()
    for rule in rules:
        own = [entry for entry in entries if entry.rule == rule]
        if own:
            click.echo(f"{rule}  {rules[rule].title}")
        for number in dict.fromkeys(entry.number for entry in own):
            cases = [entry.case for entry in own if entry.number == number]
            entry = next(entry for entry in own if entry.number == number)
            columns = [f"  {' '.join(cases)}", entry.fingerprint, _plain(entry.reason), _plain(entry.link)]
            if entry.expires:
                over = entry.expires < today
                columns.append(f"{'EXPIRED on' if over else 'until'} {entry.expires}")
            if entry.flaky:
                columns.append("flaky")
            click.echo("  ".join(filter(None, columns)))
    past = sum(entry.expires is not None and entry.expires < today for entry in entries)
    click.echo(f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}, {past} expired")
    return 0


def _judged(
    run: Path, baseline: Baseline, dialect: str | None, select: str
) -> tuple[Run, BaselineMatcher, list[Verdict]]:
    """Judge a recording by today's rules; return it with the matcher and the verdicts."""
    from rejoinder.conformance.baseline import BaselineMatcher
    from rejoinder.conformance.judgement import judge
    from rejoinder.model.runfile import read_run

    recorded = read_run(run)
    if not recorded.exchanges:
        raise UsageError(f"{run} holds no exchanges, so there is nothing to judge.", "Name a recorded check run.")
    matcher = BaselineMatcher(baseline, datetime.now(UTC).date())
    held_to, required = dialect or recorded.header.target.dialect, recorded.header.required
    verdicts = judge(recorded.exchanges, held_to, select=select, required=required, matcher=matcher)
    if not any(verdict.judged for verdict in verdicts):
        raise UsageError(f"Nothing can be judged in {run}.", "Name a run that reached its endpoint.")
    return recorded, matcher, verdicts


def _write(path: Path, text: str, changes: list[BaselineChange], *, dry_run: bool) -> None:
    for change in changes:
        click.echo(f"{_MARKS[change.done]} {change.done} {change.name}: {_plain(change.why)}")
    if dry_run:
        click.echo(f"{path} was not changed (--dry-run).")
        return
    try:
        write_text(path, text)
    except UsageError as error:
        raise BaselineError(error.message, error.hint) from error
    click.echo(f"{path} was written.")


def _plain(text: str) -> str:
    """Return a text of a file or an endpoint without what a terminal could mind."""
    return "".join(char if char.isprintable() else "?" for char in text)

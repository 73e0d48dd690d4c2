"""``rejoinder recheck``: judge a recording again, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from rejoinder.cli._run import baseline_options, close_run, load_baseline, out_option, recording, select_option
from rejoinder.errors import UsageError
from rejoinder.extensions import extensions

if TYPE_CHECKING:
    from rejoinder.model.runfile import Run


@click.command("recheck")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--dialect", metavar="D", help="Hold it to another specification than it was recorded under.")
@select_option
@baseline_options
@out_option("Folder for the new run; by default a new one below rejoinder-runs/.")
def command(
    run: Path, dialect: str | None, select: str, baseline: Path | None, baseline_strict: bool, out: Path | None
) -> int:
    r"""Judge RUN, a run.ndjson or the folder that holds it, again by today's rules, and tell what changed.

    Nothing is sent. The new run holds all exchanges of the old one with new verdicts; measurements of a load stay
    where they are. A run file that was cut short or damaged is judged by what can be read. Example:

    \b
        rejoinder recheck rejoinder-runs/20260101-120000 --dialect openresponses
    """
    from rejoinder.conformance.assess import CheckResult, assess, rule_count
    from rejoinder.model.header import RecheckedRun
    from rejoinder.model.runfile import read_run
    from rejoinder.reports import diff_runs, render_diff_text

    old = read_run(run)
    header = old.header
    held_to = dialect or header.target.dialect
    if not rule_count(held_to, select):
        raise UsageError(f"--select {select!r} selects no rule.", "`rejoinder rules` lists the rules.")
    if not old.exchanges:
        raise UsageError(f"{run} holds no exchanges, so there is nothing to judge.", "Name a recorded check run.")
    expected = load_baseline(baseline, strict=baseline_strict)
    result = CheckResult(exchanges=old.exchanges, warnings=_warnings(old))
    with recording(out) as recorder:
        origin = RecheckedRun(
            run=str(run),
            started_at=header.started_at,
            rejoinder=header.tool.get("rejoinder", "?"),
            dialect=header.target.dialect,
        )
        recorder.write_header(
            msgspec.structs.replace(header.target, dialect=held_to),
            plan=header.plan,
            seed=header.seed,
            cases=header.cases,
            required=header.required,
            rechecked=origin,
        )
        for exchange in old.exchanges:
            recorder.writer.exchange(exchange)
        assess(
            result,
            held_to,
            select=select,
            required=header.required,
            baseline=expected,
            strict=baseline_strict,
            plan=header.plan,
        )
        confirmed = {(one.rule, one.fingerprint): one for verdict in old.verdicts for one in verdict.findings}
        for verdict in result.verdicts:
            for finding in verdict.findings:
                # What sending it again showed, and the smallest request, belong to the recording.
                if before := confirmed.get((finding.rule, finding.fingerprint)):
                    finding.reruns, finding.minimal = before.reruns, before.minimal
            recorder.writer.verdict(verdict)
        recorder.footer(result.exit_code, **result.footer)
    new = close_run(recorder)
    if old.verdicts:
        click.echo("\nAgainst the old verdicts: " + render_diff_text(diff_runs(old, new)), nl=False)
    return result.exit_code


def _warnings(recording: Run) -> list[str]:
    """Return what the reader must know of the recording, in sentences."""
    warnings = []
    damage, used = recording.damage, {extension.name for extension in extensions()}
    missing = [record.name for record in recording.header.extensions if record.name not in used]
    warnings += [f"The extension {name} is not loaded, so its rules were not judged again." for name in missing]
    if damage:
        lines = "; ".join(damage[:3]) + (f" and {len(damage) - 3} more" if len(damage) > 3 else "")
        warnings.append(f"Lines of the recording could not be read, and were not judged: {lines}.")
    if recording.truncated:
        warnings.append("The recording was cut short; what it had written was judged.")
    elif recording.interrupted:
        warnings.append("The recorded run was interrupted; what it had gathered was judged.")
    if recording.samples:
        warnings.append("The recording also holds a load; its measurements were not taken over.")
    return warnings

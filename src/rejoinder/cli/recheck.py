"""``rejoinder recheck``: check a recorded run again, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from rejoinder.cli._help import Page
from rejoinder.cli._run import (
    baseline_options,
    close_run,
    dialect_of,
    load_baseline,
    out_option,
    read_recorded,
    recorded_dialect_option,
    recording,
    run_argument,
    select_option,
)
from rejoinder.cli._terminal import echo
from rejoinder.errors import EXIT_CODES, ExitCode, UsageError
from rejoinder.extensions import extensions
from rejoinder.formatting import plural

if TYPE_CHECKING:
    from rejoinder.model.runfile import Run


@click.command(
    "recheck",
    cls=Page,
    exit_codes={
        0: "No MUST rule failed.",
        1: "A MUST rule failed.",
        2: "Nothing could be checked.",
        3: EXIT_CODES[ExitCode.INCOMPLETE],
    },
    examples=[
        ("Check a recorded run against another dialect.", "rejoinder recheck rejoinder-runs/nightly --dialect openai"),
        ("Check a single rule.", "rejoinder recheck rejoinder-runs/nightly --select LIF-05"),
    ],
)
@run_argument
@recorded_dialect_option
@select_option
@baseline_options
@out_option
def command(
    run: Path, dialect: str | None, select: str, baseline: Path | None, baseline_strict: bool, out: Path | None
) -> int:
    """Check the responses of RUN against the rules of this version of rejoinder, and show what changed.

    Sends nothing. The new run has all exchanges of RUN with new verdicts, but not its load measurements. A damaged or
    incomplete run file is checked as far as it is readable.
    """
    from rejoinder.conformance.assess import CheckResult, assess, rule_count
    from rejoinder.conformance.judgement import settle_losses
    from rejoinder.model.header import RecheckedRun
    from rejoinder.reports import diff_runs, render_diff_text

    old = read_recorded(run)
    header = old.header
    held_to, reason = dialect_of(old, dialect)
    if not rule_count(held_to, select):
        raise UsageError(f'--select "{select}" matches no rule.', "`rejoinder rules` lists the rules.")
    if not old.exchanges:
        raise UsageError(f"{run} contains no exchanges.", "Choose a run of `rejoinder check`.")
    expected = load_baseline(baseline, strict=baseline_strict)
    unsent = old.footer.unsent if old.footer else 0
    incomplete = old.footer is not None and old.footer.exit_code == ExitCode.INCOMPLETE
    result = CheckResult(exchanges=old.exchanges, warnings=_warnings(old), unsent=unsent, incomplete=incomplete)
    with recording(out) as recorder:
        origin = RecheckedRun(
            run=str(run),
            started_at=header.started_at,
            rejoinder=header.tool.get("rejoinder", "?"),
            dialect=header.target.dialect,
        )
        recorder.write_header(
            msgspec.structs.replace(header.target, dialect=held_to, dialect_reason=reason),
            plan=header.plan,
            select=select,
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
                    if finding.minimal is not None and finding.minimal.exchange == before.evidence.exchange:
                        # The evidence is about the smallest request, which is not judged again.
                        finding.evidence = before.evidence
        settle_losses(result.verdicts, result.exchanges)
        for verdict in result.verdicts:
            recorder.writer.verdict(verdict)
        recorder.footer(result.exit_code, **result.footer)
    new = close_run(recorder)
    if old.verdicts:
        echo("\nCompared with the old verdicts: " + render_diff_text(diff_runs(old, new)), nl=False)
    return result.exit_code


def _warnings(recording: Run) -> list[str]:
    """Return what a reader must know about the recording, one sentence each."""
    warnings = []
    damage, used = recording.damage, {extension.name for extension in extensions()}
    missing = [record.name for record in recording.header.extensions if record.name not in used]
    warnings += [f"The extension {name} is not loaded, so its rules were not checked." for name in missing]
    if damage:
        count = recording.damaged
        lines = "; ".join(damage[:3]) + (f"; and {count - 3:,} more" if count > 3 else "")
        warnings.append(f"{plural(count, 'line')} of the run file could not be read: {lines}.")
    if recording.truncated:
        warnings.append("The run file is incomplete. Only the part that it contains was checked.")
    elif recording.interrupted:
        warnings.append("The recorded run was interrupted. Only the part that it recorded was checked.")
    if recording.samples:
        warnings.append("The recorded run also has load measurements, which this run does not include.")
    return warnings

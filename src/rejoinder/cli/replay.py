"""``rejoinder replay``: reproduce findings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from rejoinder.cli._help import ENDPOINT, Argument, GroupedOption, Page
from rejoinder.cli._progress import Steps
from rejoinder.cli._run import (
    api_key_option,
    dialect_of,
    out_option,
    quiet_option,
    read_key,
    read_recorded,
    read_requests,
    recorded_dialect_option,
    recording,
    request_options,
    resend_option,
    run_argument,
    save_reports,
    say_choice,
    second_key_option,
    timeout_option,
)
from rejoinder.cli._terminal import echo
from rejoinder.errors import EXIT_CODES, ExitCode, UsageError
from rejoinder.formatting import one_line, plural

if TYPE_CHECKING:
    from rejoinder.conformance.running.case import PlannedCase
    from rejoinder.conformance.running.engine import CheckRun
    from rejoinder.conformance.running.replay import ReplayResult
    from rejoinder.conformance.running.trial import Trial
    from rejoinder.model.runfile import Run
    from rejoinder.model.verdict import Finding
    from rejoinder.wire.target import Target

OFTEN = 10
"""How often a finding that occurs at random is sent by default."""


@click.command(
    "replay",
    cls=Page,
    exit_codes={
        0: "The findings did not reproduce.",
        1: "A finding still reproduces, or its rule failed in another way.",
        2: "The requests could not be sent or the rule not tested.",
        130: EXIT_CODES[ExitCode.INTERRUPTED],
    },
    examples=[
        ("List the findings of a run.", "rejoinder replay rejoinder-runs/nightly"),
        ("Reproduce one finding.", "rejoinder replay rejoinder-runs/nightly 6d6b70"),
        ("Reproduce every finding.", "rejoinder replay rejoinder-runs/nightly --all"),
        ("Send it to another server.", "rejoinder replay rejoinder-runs/nightly 6d6b70 --url http://127.0.0.1:9000"),
    ],
)
@run_argument
@click.argument(
    "finding",
    cls=Argument,
    required=False,
    metavar="[FINDING]",
    description="Fingerprint of the finding, the beginning of one, or a rule id. Default: list the findings.",
)
@click.option("--all", "every", is_flag=True, help="Reproduce every failure and warning of RUN.")
@click.option("--url", cls=GroupedOption, group=ENDPOINT, metavar="URL", help="Endpoint to use. Default: that of RUN.")
@click.option(
    "--model", cls=GroupedOption, group=ENDPOINT, metavar="NAME", help="Model to request. Default: that of RUN."
)
@recorded_dialect_option
@api_key_option
@second_key_option
@request_options
@timeout_option
@resend_option
@click.option(
    "--times",
    type=click.IntRange(1, 1000),
    metavar="N",
    help=f"How often to send each finding. Default: once, or {OFTEN} times for a finding that occurred at random.",
)
@out_option
@quiet_option
def command(
    run: Path,
    finding: str | None,
    every: bool,
    url: str | None,
    model: str | None,
    dialect: str | None,
    api_key_env: str,
    second_key_env: str,
    times: int | None,
    timeout: float,
    resend: bool,
    out: Path | None,
    quiet: bool,
    **requests: Any,
) -> int:
    """Send the requests of FINDING in RUN again, and report whether it still occurs.

    Sends the minimal request of the finding, or rebuilds its case from the test plan. Without either, it resends the
    recorded requests.
    """
    from rejoinder.conformance.running import replay as replaying
    from rejoinder.conformance.running.in_process import renamed
    from rejoinder.conformance.running.plan import Plan
    from rejoinder.conformance.running.session import RunSession
    from rejoinder.conformance.running.trial import key_of, size_of
    from rejoinder.contract import load_dialect, load_rules
    from rejoinder.model.header import ReplayedFinding
    from rejoinder.wire.dialect_choice import AUTO

    old = read_recorded(run)
    if finding is not None and every:
        raise UsageError("A finding and --all were both given.", "Omit one of them.")
    if finding is None and not every:
        return _list(old, run)
    wanted = _distinct(old) if finding is None else [replaying.find(old, finding)]
    if not wanted:
        echo(f"{run} has no findings.")
        return ExitCode.PASSED
    for one in wanted:
        if one.rule not in load_rules():
            names = " or ".join(record.name for record in old.header.extensions)
            raise UsageError(
                f"This version of rejoinder has no rule {one.rule}.",
                f"Load the extension {names} with --extension DIR." if names else "Upgrade rejoinder.",
            )
    recorded = old.header.target
    wanted_dialect = AUTO if dialect == AUTO else dialect_of(old, dialect)[0]
    key, second_key = read_key(api_key_env), read_key(second_key_env, "--second-key-env")
    # Another endpoint gets secrets only if they are named again.
    added = recorded.request if url is None or recorded.request is None else replace(recorded.request, header_env={})
    request = read_requests(requests, key, second_key, recorded=added)
    results: list[ReplayResult] = []
    with recording(out) as recorder, Steps(quiet=quiet) as steps:
        address = url or recorded.url
        steps.step(f"Connecting to {address}")
        requested = model or (recorded.model if url is None else None)
        target = recorder.discover(
            address,
            key=key,
            second_key=second_key,
            request=request,
            model=requested,
            dialect=wanted_dialect,
            deadline=timeout,
        )
        spec = load_dialect(target.dialect)
        planned = _planned(old, target)
        shared: dict[tuple[str, int], tuple[Trial, list[Finding], int]] = {}
        for one in wanted:
            try:
                trial, description = replaying.rebuild(old, one, planned)
            except UsageError as error:
                if not every:
                    raise
                steps.say(str(error))
                results.append(replaying.ReplayResult(one))
                continue
            if recorded.model is not None and target.model is not None:
                trial = tuple(renamed(case, recorded.model, target.model) for case in trial)
            often = times or (OFTEN if one.reruns is not None and one.reruns.random else 1)
            shared.setdefault((key_of(trial), often), (trial, [], often))[1].append(one)
        cases = [case for trial, _, _ in shared.values() for case in trial]
        origin = ReplayedFinding(run=str(run), fingerprint="all" if every else wanted[0].fingerprint)
        recorder.header(
            target,
            url=address,
            model=requested,
            dialect=spec.reference,
            plan="replay",
            cases={case.id: case.intent for case in cases},
            replayed=origin,
        )
        steps.say(f"{target.url}, dialect {spec.label}")
        say_choice(steps, target)
        if traits := target.form.traits(spec.usual_form):
            steps.say(f"Request form: {', '.join(traits)}")
        most = sum(often * size_of(trial)[0] for trial, _, often in shared.values())
        what = f"the requests of {plural(len(wanted), 'finding')}" if every else description
        steps.say(f"Sending {what}, at most {plural(most, 'request')}")
        steps.step("Sending", most, unit="requests")

        async def work(sender: CheckRun) -> None:
            for trial, findings, often in shared.values():
                results.extend(await replaying.replay(sender, old, findings, trial, spec, times=often))
            sender.result.verdicts = replaying.verdicts_of(results)

        sending = RunSession(
            target,
            Plan("replay", tuple(cases)),
            recorder.writer,
            concurrency=4,
            budget=None,
            deadline=timeout,
            resend=resend,
            on_progress=lambda progress: steps.update(progress.done),
            on_interrupt=lambda: steps.say("Interrupted. Checking what was recorded."),
        )
        result = sending.run(work)
        code = ExitCode.INTERRUPTED if result.interrupted else _exit_code(results)
        footer = result.footer
        recorder.footer(code, **{name: footer[name] for name in ("interrupted", "resent", "warnings")})
    order = {one.fingerprint: number for number, one in enumerate(wanted)}
    results.sort(key=lambda replayed: order[replayed.finding.fingerprint])
    _, problem = save_reports(recorder.folder)
    for replayed in results:
        _show(replayed, target.url, whole=not every)
    if every:
        still = sum(replayed.outcome is replaying.ReplayOutcome.HAPPENS for replayed in results)
        echo(f"\n{still} of {plural(len(results), 'finding')} still {'reproduces' if still == 1 else 'reproduce'}.")
    if problem is not None:
        raise problem
    echo(f"\n  report    {recorder.folder / 'report.html'}\n  run file  {recorder.folder / 'run.ndjson'}")
    return code


def _exit_code(results: Sequence[ReplayResult]) -> ExitCode:
    """Return 1 if a finding still occurs or differs, 2 if one could not be tested, else 0."""
    codes = {result.outcome.exit_code for result in results}
    return next((code for code in (ExitCode.FAILED, ExitCode.NOT_TESTED) if code in codes), ExitCode.PASSED)


def _show(result: ReplayResult, url: str, *, whole: bool) -> None:
    """Print a result: the outcome first, then what is wrong, and how to send it by hand."""
    from rejoinder.conformance.running.replay import where
    from rejoinder.conformance.running.script import recorded_steps
    from rejoinder.reports.curl import curl, script
    from rejoinder.reports.evidence import answer, texts_of

    finding = result.finding
    outcome = result.outcome.value
    if not whole:
        echo(f"{outcome:18} {finding.fingerprint}  {finding.rule:8} {where(finding)}")
        echo(f"                   {one_line(result.sentence, 200)}")
        return
    echo(f"\n{finding.fingerprint} {outcome}: {result.sentence}")
    shown = result.shown
    if shown is not None:
        place = " ".join(filter(None, (shown.evidence.event_type, shown.evidence.pointer)))
        echo(f"  {one_line(f'{shown.evidence.message} {place}', 400)}")
        for name, text in texts_of(shown.evidence, 200).items():
            echo(f"  {name:<8} {one_line(text, 200)}")
    exchange = result.shown_in
    if exchange is None:
        return
    echo(f"  reply    {answer(exchange)}")
    steps = finding.minimal.steps if finding.minimal is not None else ()
    if not steps and len(result.exchanges) > 1:
        steps = recorded_steps(result.exchanges)
    text, complete = script(url, steps) if steps else curl(url, exchange.request)
    echo(f"\n{text}")
    if not complete:
        echo("\nThe body is cut here. The run file has all of it.")


def _distinct(run: Run) -> list[Finding]:
    """Return the failures and warnings of a run, each once."""
    from rejoinder.conformance.running.replay import findings_of
    from rejoinder.model.verdict import Level

    found = (finding for finding in findings_of(run) if finding.level is not Level.MAY)
    return list({finding.fingerprint: finding for finding in found}.values())


def _list(run: Run, path: Path) -> int:
    from rejoinder.conformance.running.replay import findings_of, where

    found = list(findings_of(run))
    for finding in found:
        again = "" if finding.reruns is None else f", {finding.reruns.words}"
        echo(f"{finding.fingerprint}  {finding.rule:8} {finding.level.value:6} {finding.count}×{again}")
        message = one_line(finding.evidence.message, 200)
        place = where(finding)
        echo(f"              {message}" + (f"  {place}" if place != message else ""))
    if not found:
        echo(f"{path} has no findings.")
    return 0


def _planned(run: Run, target: Target) -> dict[str, PlannedCase]:
    """Return the cases of the run's plan in this version; none for a plan that it does not have."""
    from rejoinder.conformance.running.plan import PLAN_NAMES, build_plan
    from rejoinder.contract import load_dialect

    name = run.header.plan
    if name not in PLAN_NAMES:
        return {}
    plan = build_plan(name, load_dialect(target.dialect), model=target.model, form=target.form, models=target.models)
    return {case.id: case for case in plan.cases}

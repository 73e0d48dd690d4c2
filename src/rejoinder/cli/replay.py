"""``rejoinder replay``: reproduce one finding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rejoinder.cli._help import ENDPOINT, Argument, GroupedOption, Page
from rejoinder.cli._progress import Steps
from rejoinder.cli._run import (
    api_key_option,
    close_run,
    out_option,
    quiet_option,
    read_key,
    read_requests,
    recording,
    request_options,
    run_argument,
    second_key_option,
    timeout_option,
)
from rejoinder.errors import EXIT_CODES, ExitCode, UsageError
from rejoinder.formatting import one_line, plural

if TYPE_CHECKING:
    from rejoinder.conformance.running.case import PlannedCase
    from rejoinder.conformance.running.engine import CheckRun
    from rejoinder.model.runfile import Run
    from rejoinder.wire.target import Target

OFTEN = 10
"""How often a finding that occurs at random is sent by default."""


@click.command(
    "replay",
    cls=Page,
    exit_codes={
        0: "The finding does not occur.",
        1: "The rule still fails.",
        2: "The request could not be sent or the rule not tested.",
        130: EXIT_CODES[ExitCode.INTERRUPTED],
    },
    examples=[
        ("List the findings of a run.", "rejoinder replay rejoinder-runs/nightly"),
        ("Reproduce one finding.", "rejoinder replay rejoinder-runs/nightly 6d6b70"),
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
@click.option("--url", cls=GroupedOption, group=ENDPOINT, metavar="URL", help="Endpoint to use. Default: that of RUN.")
@click.option(
    "--model", cls=GroupedOption, group=ENDPOINT, metavar="NAME", help="Model to request. Default: that of RUN."
)
@api_key_option
@second_key_option
@request_options
@timeout_option
@click.option(
    "--times",
    type=click.IntRange(1, 1000),
    metavar="N",
    help=f"How often to send the finding. Default: once, or {OFTEN} times for a finding that occurred at random.",
)
@out_option
@quiet_option
def command(
    run: Path,
    finding: str | None,
    url: str | None,
    model: str | None,
    api_key_env: str,
    second_key_env: str,
    times: int | None,
    timeout: float,
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
    from rejoinder.contract import load_dialect, load_rules
    from rejoinder.model.header import ReplayedFinding
    from rejoinder.model.runfile import read_run

    old = read_run(run)
    if finding is None:
        return _list(old, run)
    wanted = replaying.find(old, finding)
    if wanted.rule not in load_rules():
        names = " or ".join(record.name for record in old.header.extensions)
        raise UsageError(
            f"This version of rejoinder has no rule {wanted.rule}.",
            f"Load the extension {names} with --extension DIR." if names else "Upgrade rejoinder.",
        )
    recorded = old.header.target
    dialect = load_dialect(recorded.dialect)
    if times is None:
        times = 1 if wanted.reruns is None or wanted.reruns.deterministic else OFTEN
    key, second_key = read_key(api_key_env), read_key(second_key_env, "--second-key-env")
    request = read_requests(requests, key, second_key, recorded=recorded.request)
    with recording(out) as recorder, Steps(quiet=quiet) as steps:
        address = url or recorded.url
        steps.step(f"Connecting to {address}")
        requested = model or (recorded.model if url is None else None)
        target = recorder.discover(
            address, key=key, second_key=second_key, request=request, model=requested, dialect=dialect.name
        )
        case, description = replaying.rebuild(old, wanted, _planned(old, target))
        if recorded.model is not None and target.model is not None:
            case = renamed(case, recorded.model, target.model)
        origin = ReplayedFinding(run=str(run), fingerprint=wanted.fingerprint)
        cases = {case.id: case.intent}
        recorder.header(
            target, url=address, model=requested, dialect=dialect.name, plan="replay", cases=cases, replayed=origin
        )
        steps.say(f"{target.url}, dialect {dialect.label}")
        if target.form.traits():
            steps.say(f"Request form: {', '.join(target.form.traits())}")
        most = times * len(case.requests)
        steps.say(f"Sending {description}, at most {plural(most, 'request')}")
        steps.step("Sending", most, unit="requests")
        replays: list[replaying.ReplayResult] = []

        async def work(sender: CheckRun) -> None:
            replays.append(await replaying.replay(sender, old, wanted, case, dialect, times=times))
            sender.result.verdicts = replays[0].verdicts

        sending = RunSession(
            target,
            Plan("replay", (case,)),
            recorder.writer,
            concurrency=4,
            budget=None,
            deadline=timeout,
            on_progress=lambda progress: steps.update(progress.done),
            on_interrupt=lambda: steps.say("Interrupted. Checking what was recorded."),
        )
        result = sending.run(work)
        [replayed] = replays
        code = ExitCode.INTERRUPTED if result.interrupted else replayed.outcome.exit_code
        recorder.footer(code, interrupted=result.interrupted, warnings=result.warnings)
    close_run(recorder)
    click.echo(f"\n{wanted.fingerprint} {replayed.outcome.value}: {replayed.sentence}")
    return code


def _list(run: Run, path: Path) -> int:
    from rejoinder.conformance.running.replay import findings_of

    found = list(findings_of(run))
    for finding in found:
        again = "" if finding.reruns is None else f", {finding.reruns.words}"
        click.echo(f"{finding.fingerprint}  {finding.rule:8} {finding.level.value:6} {finding.count}×{again}")
        click.echo(f"              {one_line(finding.evidence.message, 200)}")
    if not found:
        click.echo(f"{path} has no findings.")
    return 0


def _planned(run: Run, target: Target) -> dict[str, PlannedCase]:
    """Return the cases of the run's plan in this version; none for a plan that it does not have."""
    from rejoinder.conformance.running.plan import PLAN_NAMES, build_plan
    from rejoinder.contract import load_dialect

    name = run.header.plan
    if name not in PLAN_NAMES:
        return {}
    plan = build_plan(name, load_dialect(target.dialect), model=target.model, form=target.form)
    return {case.id: case for case in plan.cases}

"""``rejoinder replay``: send one finding again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rejoinder.cli._progress import Steps
from rejoinder.cli._run import (
    api_key_option,
    close_run,
    key_option,
    out_option,
    quiet_option,
    read_key,
    recording,
    timeout_option,
)
from rejoinder.errors import ExitCode, UsageError
from rejoinder.formatting import one_line
from rejoinder.settings import SECOND_KEY_VARIABLE

if TYPE_CHECKING:
    from rejoinder.conformance.running.case import PlannedCase
    from rejoinder.conformance.running.engine import CheckRun
    from rejoinder.model.runfile import Run
    from rejoinder.wire.target import Target

OFTEN = 10
"""How often a finding that shows at random is sent when nothing is said of that."""


@click.command("replay")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("finding", required=False)
@click.option("--url", metavar="URL", help="Send it to another endpoint than that of the run.")
@click.option("--model", metavar="M", help="Ask for another model than that of the run.")
@api_key_option
@key_option("--second-key-env", SECOND_KEY_VARIABLE, "Environment variable that holds the key of another tenant.")
@click.option(
    "--times",
    type=click.IntRange(1, 1000),
    metavar="N",
    help=f"How often it is sent: by default once, or {OFTEN} times for a finding that showed at random.",
)
@timeout_option
@out_option("Folder for the new run; by default a new one below rejoinder-runs/.")
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
) -> int:
    r"""Send FINDING of RUN, a run.ndjson or the folder that holds it, again and say whether it still happens.

    FINDING is a fingerprint, the beginning of one, or a rule; without it the findings are listed. Exits with 1 when
    the rule is still broken, 0 when the finding is gone, 2 when that cannot be told. Example:

    \b
        rejoinder replay rejoinder-runs/20260101-120000 6d6b70
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
            f"The rule {wanted.rule} is not known here, so whether it is still broken cannot be judged.",
            f"Name the folder of the extension {names} with --extension." if names else "Use a newer rejoinder.",
        )
    recorded = old.header.target
    dialect = load_dialect(recorded.dialect)
    if times is None:
        times = 1 if wanted.reruns is None or wanted.reruns.deterministic else OFTEN
    key, second_key = read_key(api_key_env), read_key(second_key_env, "--second-key-env")
    with recording(out) as recorder, Steps(quiet=quiet) as steps:
        address = url or recorded.url
        steps.step(f"Looking for an endpoint at {address}")
        requested = model or (recorded.model if url is None else None)
        target = recorder.discover(address, key=key, second_key=second_key, model=requested, dialect=dialect.name)
        case, description = replaying.rebuild(old, wanted, _planned(old, target))
        if recorded.model is not None and target.model is not None:
            case = renamed(case, recorded.model, target.model)
        origin = ReplayedFinding(run=str(run), fingerprint=wanted.fingerprint)
        cases = {case.id: case.intent}
        recorder.header(
            target, url=address, model=requested, dialect=dialect.name, plan="replay", cases=cases, replayed=origin
        )
        steps.say(f"{target.url}, dialect {dialect.name}")
        most = times * len(case.requests)
        steps.say(f"Sending {description}, {most} request{'s' if most > 1 else ''} at most")
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
            on_interrupt=lambda: steps.say("Interrupted: judging what was gathered."),
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
        click.echo(f"{path} holds no findings.")
    return 0


def _planned(run: Run, target: Target) -> dict[str, PlannedCase]:
    """Return the cases of the run's plan as it is today, none for a plan that is no more."""
    from rejoinder.conformance.running.plan import PLAN_NAMES, build_plan
    from rejoinder.contract import load_dialect

    name = run.header.plan
    if name not in PLAN_NAMES:
        return {}
    plan = build_plan(name, load_dialect(target.dialect), model=target.model)
    return {case.id: case for case in plan.cases}

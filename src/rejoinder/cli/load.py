"""``rejoinder load``: put an endpoint under load and measure it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rejoinder.cli._groups import GroupedCommand, GroupedOption
from rejoinder.cli._progress import Steps
from rejoinder.cli._run import close_run, endpoint_options, quiet_option, read_key, recording
from rejoinder.errors import ExitCode
from rejoinder.load.options import LoadOption, all_options
from rejoinder.model.histogram import values_for
from rejoinder.model.metrics import SHARES
from rejoinder.model.outcomes import bad_of
from rejoinder.model.samples import ProbeSample, Repeat, SearchStep, Validity

if TYPE_CHECKING:
    from rejoinder.load.plan import LoadPlan
    from rejoinder.load.run import LoadProgress, LoadResult
    from rejoinder.load.settings import LoadSettings
    from rejoinder.recorder import RunRecorder
    from rejoinder.wire.target import Target

_FILES: Final = ("FILE", "RUN")


def _list_profiles(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from rejoinder.load.workload.profiles import load_profile, shipped_profiles

    for name, path in shipped_profiles().items():
        click.echo(f"{name:16}{load_profile(str(path)).description}")
    click.echo(f"\nTo change one, copy it from {path.parent}.")
    ctx.exit()


def click_options(options: Mapping[str, LoadOption]) -> list[click.Parameter]:
    """Return the options of the command line, of which none has a default: what was not given is ``None`` or empty."""
    made: list[click.Parameter] = []
    for one in options.values():
        if one.flag:
            flags = f"--{one.flag}/--no-{one.flag}" if one.default is True else f"--{one.flag}"
            kind: dict[str, Any] = {"type": one.read if one.parse else one.kind, "metavar": one.metavar}
            if one.kind is bool:
                kind = {"is_flag": True, "default": None}
            elif one.kind is tuple:
                kind = {"multiple": True, "metavar": one.metavar}
            elif one.metavar in _FILES:
                kind["type"] = click.Path()
            text = f" [default: {one.default_text}]" if one.default_text else ""
            made.append(GroupedOption([flags], group=one.group, help=one.help + text, **kind))
    return made


@click.command("load", cls=GroupedCommand)
@endpoint_options
@click.option(
    "--list-profiles",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_profiles,
    help="List the shipped profiles and exit.",
)
@quiet_option
def command(
    url: str, model: str | None, dialect: str, api_key_env: str, out: Path | None, quiet: bool, **flags: Any
) -> int:
    """Stream requests from the endpoint at URL and measure latency, throughput and the outcome of every stream.

    Every measured stream is judged by the contract; broken ones never count as successes. Example:

    \b
        rejoinder load http://127.0.0.1:8000 --concurrency 16 --duration 30s

    Exit codes: 0 every answer was ok and every objective was met; 1 not so; 2 nothing was answered; 4 nothing of that
    can be trusted, because the load generator was the limit (CLIENT-BOUND); 130 interrupted. With an objective for
    goodput, error or an outcome, that decides how many requests may end badly.
    """  # noqa: D301
    from rejoinder.load.plan import make_plan

    names = {one.flag.replace("-", "_"): name for name, one in all_options().items() if one.flag}
    given = {names[flag]: value for flag, value in flags.items() if value is not None and value != ()}
    plan = make_plan(url, {**given, "dialect": dialect})
    key = read_key(api_key_env)
    with recording(out) as record, Steps(quiet=quiet) as steps:
        steps.step(f"Looking for an endpoint at {url}")
        target = record.discover(url, key=key, model=model, dialect=dialect)
        settings = replace(plan.settings, url=target.url, model=target.model or "")
        other = None
        if plan.against:
            steps.step(f"Looking for an endpoint at {plan.against}")
            first = record.found
            other = record.discover(plan.against, key=key, model=model, dialect=dialect)
            record.found = (*first, *record.found)
        header = describe(settings)
        record.header(target, url=url, model=model, dialect=dialect, seed=settings.seed, load=header)
        if plan.searches:
            result = search_endpoint(record, steps, target, settings, plan)
        elif plan.repeats > 1:
            result = repeat_endpoint(record, steps, target, settings, plan, other)
        else:
            result = load_endpoint(record, steps, target, settings)
        if plan.probe_disconnects and not result.interrupted and result.answered:
            result.probes = probe_endpoint(record, steps, target, settings)
        code = gate_code(result)
        record.footer(code, interrupted=result.interrupted, warnings=[*target.warnings, *result.warnings])
    close_run(record)
    return code


command.params += click_options(all_options())


def describe(settings: LoadSettings) -> dict[str, object]:
    """Return the settings of a load run as the header of the run file holds them."""
    names = ("concurrency", "rate", "phases", "trace", "profile")
    how = {name: value for name in names if (value := getattr(settings, name)) not in (None, "")}
    return {
        "mode": settings.mode,
        **how,
        "duration": settings.duration,
        **({} if settings.requests is None else {"requests": settings.requests}),
        "max_output_tokens": settings.max_output_tokens,
        "processes": settings.processes,
    }


def begin_step(steps: Steps, what: str, settings: LoadSettings) -> None:
    """Begin a step of the progress that is done when the run has taken its time, or sent its requests."""
    if settings.requests is None:
        steps.step(what, settings.duration)
    else:
        steps.step(what, settings.requests, unit="requests")


def show_progress(steps: Steps, settings: LoadSettings, progress: LoadProgress, note: str = "") -> None:
    """Show how far a run is, with a few words after that."""
    if settings.requests is None:
        parts = filter(None, (f"{progress.finished} done", note))
        steps.update(min(progress.t, settings.duration), ", ".join(parts))
    else:
        steps.update(progress.finished, note)


def load_endpoint(record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings) -> LoadResult:
    """Run the load and write its samples to the run file."""
    from rejoinder.load.objectives.slo import describe as describe_slo
    from rejoinder.load.run import run_load

    steps.say(f"Load on {target.url}: {settings.pace} for {settings.length}")
    begin_step(steps, "Loading", settings)

    def show(progress: LoadProgress) -> None:
        note = f"{progress.in_flight} in flight"
        if progress.failed:
            note += f", {progress.failed} not ok"
        if progress.ttft_p50 is not None:
            note += f", TTFT p50 {progress.ttft_p50 * 1000:.0f} ms"
        show_progress(steps, settings, progress, note)

    result = run_load(settings, record.writer, progress=show, key=target.key)
    for warning in result.warnings:
        steps.say(f"Note: {warning}")
    for outcome in result.load.slos:
        steps.say(f"SLO {describe_slo(outcome)}")
    return result


def repeat_endpoint(
    record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings, plan: LoadPlan, other: Target | None
) -> LoadResult:
    """Run the load several times, judge what changed, and write it to the run file."""
    from rejoinder.load.decide.regression import describe as describe_change
    from rejoinder.load.decide.repetitions import run_repeats
    from rejoinder.load.objectives.slo import describe as describe_slo

    against = replace(settings, url=other.url, model=other.model or "") if other else None
    turns = f" in turns with {other.url}" if other else ""
    steps.say(f"Load on {target.url}{turns}: {settings.pace}, {plan.repeats} times {settings.length}")

    def show(repeat: Repeat) -> None:
        found = repeat.figures
        parts = [f"{found['requests']:.2f} ok/s", f"{found['output_tokens']:.0f} tokens/s"]
        parts += [f"{name} {found[name] * 1e3:.0f} ms" for name in ("ttft:p50", "ttft:p99", "e2e:p50") if name in found]
        parts += [repeat.verdict] if repeat.verdict.rank else []
        who = "" if repeat.of == "endpoint" else f" {other.url if other else ''}"
        steps.say(f"  {repeat.repeat + 1}{who}: {', '.join(parts)}")

    result = run_repeats(
        settings,
        record.writer,
        repeats=plan.repeats,
        against=against,
        baseline=plan.baseline,
        changes=plan.changes,
        begin=lambda run: begin_step(steps, "Loading", run),
        progress=lambda now: show_progress(steps, settings, now),
        on_repeat=show,
        key=target.key,
        against_key=other.key if other else None,
    )
    for outcome in result.load.slos:
        steps.say(f"SLO {describe_slo(outcome)}")
    for change in result.load.changes:
        steps.say(f"Change {describe_change(change)}")
    return result


def search_endpoint(
    record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings, plan: LoadPlan
) -> LoadResult:
    """Run a sweep or a search for the highest rate and write it to the run file."""
    from rejoinder.load.decide.search import run_search

    steps.say(f"Search on {target.url}, {settings.length} each step")

    def show(step: SearchStep) -> None:
        pace = f"{step.concurrency} in flight" if step.rate is None else f"{step.rate:g}/s"
        parts = [f"{step.ok_per_s:.2f} ok/s", f"{step.output_tokens_per_s:.0f} tokens/s"]
        times = step.latencies
        if "e2e_p50" in times:
            first = f"{times['ttft_p99'] * 1e3:.0f} ms" if "ttft_p99" in times else f"needs n {values_for(99)}"
            parts += [f"ttft_p99 {first}", f"e2e_p50 {times['e2e_p50'] * 1e3:.0f} ms"]
        parts += [] if step.met is None else ["kept" if step.met else "missed"]
        parts += [step.verdict] if step.verdict.rank else []
        steps.say(f"  {pace}: {', '.join(parts)}")

    result = run_search(
        settings,
        record.writer,
        levels=plan.levels,
        rates=plan.rates,
        begin=lambda step: begin_step(steps, f"Loading, {step.pace}", step),
        progress=lambda now: show_progress(steps, settings, now),
        on_step=show,
        key=target.key,
    )
    search = result.load.search
    assert search is not None
    if search.kind == "rate":
        found = "none of the range" if search.highest is None else f"{search.highest:g} requests/s"
        steps.say(f"Highest rate that keeps the objectives: {found}" + (" or more" if search.more else ""))
    else:
        steps.say("Knee: not reached" if search.knee is None else f"Knee: {search.knee} in flight")
    return result


def probe_endpoint(record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings) -> list[ProbeSample]:
    """Drop requests on purpose and write what the server did to the run file, one ``probe`` line each."""
    from rejoinder.load.disconnect_probe import DisconnectProbe

    steps.step("Dropping requests")

    def show(result: ProbeSample) -> None:
        record.writer.sample(result)
        steps.say(f"Probe {result.name}: {result.verdict}. {result.text}")

    return DisconnectProbe(settings, target.key, on_result=show).run()


def exit_code(result: LoadResult) -> ExitCode:
    """Return the exit code of a load run, whatever the load generator did."""
    if result.interrupted:
        return ExitCode.INTERRUPTED
    if not result.answered:
        return ExitCode.NOT_TESTED
    return ExitCode.FAILED if _has_failed(result) or result.missed else ExitCode.PASSED


def gate_code(result: LoadResult) -> ExitCode:
    """Return the exit code of a load run; like :func:`exit_code`, but 4 for figures that the generator has bent.

    Answers that ended badly are a failure whatever the generator did; a missed objective may be its own doing.
    """
    code = exit_code(result)
    bent = result.verdict is Validity.CLIENT_BOUND and not _has_failed(result)
    return ExitCode.CLIENT_BOUND if bent and code in (ExitCode.PASSED, ExitCode.FAILED) else code


def _has_failed(result: LoadResult) -> bool:
    """Return whether a probe failed, or more requests ended badly than may.

    An objective that counts bad requests decides how many may, if there is one.
    """
    if any(not probe.met for probe in result.probes):
        return True
    counting = [slo for slo in result.load.slos if slo.metric in SHARES]
    if counting:
        return any(slo.met is False for slo in counting)
    repeats = [repeat.outcomes for repeat in result.load.repeats if repeat.of == "endpoint"]
    return any(bad_of(outcomes) for outcomes in repeats or [result.outcomes])

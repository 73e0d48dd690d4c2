"""``rejoinder load``: measure an endpoint under load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rejoinder.budgets import PREFLIGHT_LEAST
from rejoinder.cli._help import OUTPUT, GroupedOption, Page
from rejoinder.cli._progress import Steps
from rejoinder.cli._run import close_run, endpoint_options, quiet_option, read_key, recording, say_choice
from rejoinder.cli._terminal import echo
from rejoinder.errors import EXIT_CODES, ExitCode
from rejoinder.formatting import format_rate, format_seconds, plural
from rejoinder.load.options import LoadOption, OptionGroup, all_options
from rejoinder.model.histogram import values_for
from rejoinder.model.outcomes import settled, unlimited_bad_of
from rejoinder.model.samples import ProbeSample, Repeat, SearchStep, Validity

if TYPE_CHECKING:
    from rejoinder.load.plan import LoadPlan
    from rejoinder.load.run import LoadProgress, LoadResult
    from rejoinder.load.settings import LoadSettings
    from rejoinder.recorder import RunRecorder
    from rejoinder.wire.target import Target

_ANALYSING: Final = "Analysing"
_BEHIND: Final = 50
"""Requests by which the analysis is behind before the progress says so, if these are over 1 % of all."""
_FILES: Final = ("FILE", "RUN")


def _list_profiles(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from rejoinder.load.workload.profiles import load_profile, shipped_profiles

    for name, path in shipped_profiles().items():
        echo(f"{name:16}{load_profile(str(path)).description}")
    echo(f"\nTo change a profile, copy its file from {path.parent}.")
    ctx.exit()


def click_options(options: Mapping[str, LoadOption]) -> list[click.Parameter]:
    """Return the options of the command line. None has a default: an option that is not given is ``None`` or empty."""
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
            text = f"  [default: {one.default_text}]" if one.default_text else ""
            made.append(GroupedOption([flags], group=one.group, help=one.help + text, **kind))
    return made


@click.command(
    "load",
    cls=Page,
    groups=[*OptionGroup, OUTPUT],
    sections={
        "SLOs": {
            "ttft:p99<300ms": "A percentile, the mean or the maximum of a latency: ttft, itl, tpot, e2e and others.",
            "tpot<30ms": "A limit for each single request. goodput counts the requests within all such limits.",
            "goodput>=95%": "A share of the started requests: goodput, error or any outcome, such as http_429.",
            "requests>=5/s": "A rate: requests, output_tokens, input_tokens, started or goodput.",
        },
    },
    exit_codes={
        0: "Every request succeeded and every SLO and regression limit was met.",
        1: "A request failed or never ended, a limit was missed, a search found no load that meets the SLOs, or "
        "--abort-on ended the run. An SLO for the share of goodput or error decides how many requests may fail, one "
        "for an outcome how many may end so.",
        2: "No request was answered, or a search could not test its lowest load.",
        3: EXIT_CODES[ExitCode.INCOMPLETE],
        4: EXIT_CODES[ExitCode.CLIENT_BOUND],
        130: EXIT_CODES[ExitCode.INTERRUPTED],
    },
    examples=[
        ("Closed loop: 16 concurrent requests for 30 seconds.", "rejoinder load URL --concurrency 16 --duration 30s"),
        (
            "Open loop: 5 requests/s with random arrivals.",
            "rejoinder load URL --rate 5 --arrivals poisson --duration 2min",
        ),
        ("Fail if the p99 of TTFT exceeds 300 ms.", "rejoinder load URL --rate 5 --slo 'ttft:p99<300ms'"),
        (
            "Find the highest rate that meets the SLOs.",
            "rejoinder load URL --find-rate 1..50 --slo 'ttft:p99<300ms' --duration 30s",
        ),
        (
            "Fail if the p50 of TTFT is more than 10 % above that of a second server.",
            "rejoinder load URL --against URL2 --max-change 'ttft:p50<+10%'",
        ),
    ],
)
@endpoint_options
@click.option(
    "--list-profiles",
    cls=GroupedOption,
    group=OptionGroup.WORKLOAD,
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_profiles,
    help="List the built-in workload profiles and exit.",
)
@quiet_option
def command(
    url: str, model: str | None, dialect: str, api_key_env: str, out: Path | None, quiet: bool, **flags: Any
) -> int:
    """Send streaming requests to the endpoint at URL, and measure latency and throughput.

    rejoinder also checks the measured responses against the API contract. A response does not count as a success if it
    breaks a MUST rule and its content is lost or cannot be read. Other broken rules are shown beside the figures.
    """
    from rejoinder.contract import DEFAULT_DIALECT, load_dialect
    from rejoinder.load.plan import make_plan
    from rejoinder.wire.dialect_choice import AUTO

    names = {one.flag.replace("-", "_"): name for name, one in all_options().items() if one.flag}
    given = {names[flag]: value for flag, value in flags.items() if value is not None and value != ()}
    plan = make_plan(url, {**given, "dialect": DEFAULT_DIALECT if dialect == AUTO else dialect})
    key = read_key(api_key_env)
    request = plan.settings.request_options(key)
    with recording(out) as record, Steps(quiet=quiet) as steps:
        steps.step(f"Connecting to {url}")
        deadline = max(PREFLIGHT_LEAST, plan.settings.idle_timeout)
        target = record.discover(url, key=key, request=request, model=model, dialect=dialect, deadline=deadline)
        form = target.form.input.value
        dialect = target.dialect
        settings = replace(plan.settings, url=target.url, model=target.model or "", input_form=form, dialect=dialect)
        say_choice(steps, target)
        warnings = list(target.warnings)
        if target.proxy:
            direct = f"The proxy {target.proxy} is not used under load. Requests go directly to the endpoint."
            steps.say(f"Warning: {direct}")
            warnings.append(direct)
        if traits := target.form.traits(load_dialect(dialect).usual_form):
            steps.say(f"Request form: {', '.join(traits)}")
        other = None
        if plan.against:
            steps.step(f"Connecting to {plan.against}")
            first = record.found
            other = record.discover(
                plan.against, key=key, request=request, model=model, dialect=dialect, deadline=deadline
            )
            record.found = (*first, *record.found)
        header = describe(settings)
        record.header(target, url=url, model=model, dialect=dialect, seed=settings.seed, load=header)
        if plan.searches:
            result = search_endpoint(record, steps, target, settings, plan)
        elif plan.repeats > 1:
            result = repeat_endpoint(record, steps, target, settings, plan, other)
        else:
            result = load_endpoint(record, steps, target, settings)
        if plan.probe_disconnects and not (result.interrupted or result.incomplete) and result.answered:
            result.probes = probe_endpoint(record, steps, target, settings)
        code = gate_code(result)
        record.footer(code, interrupted=result.interrupted, warnings=[*warnings, *result.warnings])
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
    """Begin a progress step that ends with the duration, or with the last request."""
    if settings.requests is None:
        steps.step(what, settings.duration)
    else:
        steps.step(what, settings.requests, unit="requests")


def show_progress(steps: Steps, settings: LoadSettings, progress: LoadProgress, note: str = "") -> None:
    """Show the progress of a run, with a note after it: first what is sent, then what waits, then the analysis."""
    if progress.waits is not None and progress.in_flight:
        flight = plural(progress.in_flight, "request")
        note = f"waiting for {flight} in flight, up to {progress.waits:.0f} s"
    if progress.warming_up:
        steps.update(0, f"warming up, {plural(progress.finished, 'request')} done")
        return
    if progress.analysing and steps.current != _ANALYSING:
        steps.step(_ANALYSING, progress.started, unit="requests", done=progress.finished)
    if steps.current == _ANALYSING:
        steps.update(progress.finished)
        return
    behind = progress.ended - progress.finished
    analysed = f"{progress.finished:,} analysed" if behind > max(_BEHIND, 0.01 * progress.ended) else ""
    note = ", ".join(filter(None, (analysed, note)))
    if settings.requests is None:
        done = f"{plural(progress.ended, 'request')} done"
        steps.update(min(progress.t, progress.duration), ", ".join(filter(None, (done, note))))
    else:
        steps.update(progress.ended, note)


def load_endpoint(record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings) -> LoadResult:
    """Run the load and write its samples to the run file."""
    from rejoinder.load.objectives.slo import describe as describe_slo
    from rejoinder.load.run import run_load

    steps.say(f"Load on {target.url}: {settings.pace} for {settings.length}")
    begin_step(steps, "Loading", settings)

    def show(progress: LoadProgress) -> None:
        note = f"{progress.in_flight:,} in flight"
        if progress.failed:
            note += f", {progress.failed:,} failed"
        if progress.ttft_p50 is not None:
            note += f", TTFT p50 {format_seconds(progress.ttft_p50)}"
        show_progress(steps, settings, progress, note)

    result = run_load(settings, record.writer, progress=show, key=target.key)
    if result.load.warm_up is not None:
        steps.say(f"Warm-up: {plural(result.load.warm_up.started, 'request')}, not measured")
    if result.aborted:
        steps.say(f"Ended early. {result.aborted}")
    for warning in result.warnings:
        steps.say(f"Warning: {warning}")
    for outcome in result.load.slos:
        steps.say(f"SLO {describe_slo(outcome, result.load.no_rates)}")
    return result


def repeat_endpoint(
    record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings, plan: LoadPlan, other: Target | None
) -> LoadResult:
    """Run the load several times, test the regression limits, and write the results to the run file."""
    from rejoinder.load.decide.regression import describe as describe_change
    from rejoinder.load.decide.repetitions import run_repeats
    from rejoinder.load.objectives.slo import describe as describe_slo

    against = None
    if other:
        against = replace(settings, url=other.url, model=other.model or "", input_form=other.form.input.value)
    turns = f", alternating with {other.url}" if other else ""
    repeats = plural(plan.repeats, "repetition")
    steps.say(f"Load on {target.url}{turns}: {repeats} of {settings.pace} for {settings.length}")

    def show(repeat: Repeat) -> None:
        found = repeat.figures
        parts = [
            f"{format_rate(found.get('requests'))} succeeded/s",
            f"{format_rate(found.get('output_tokens'))} output tokens/s",
        ]
        names = {"ttft:p50": "TTFT p50", "ttft:p99": "TTFT p99", "e2e:p50": "E2E p50"}
        parts += [f"{title} {format_seconds(found[name])}" for name, title in names.items() if name in found]
        parts += [repeat.verdict] if repeat.verdict.rank else []
        who = "" if repeat.of == "endpoint" else f" {other.url if other else ''}"
        steps.say(f"  repetition {repeat.repeat + 1}{who}: {', '.join(parts)}")

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
        steps.say(f"SLO {describe_slo(outcome, result.load.no_rates)}")
    for change in result.load.changes:
        steps.say(f"Regression limit {describe_change(change)}")
    return result


def search_endpoint(
    record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings, plan: LoadPlan
) -> LoadResult:
    """Run a sweep or a search for the highest rate and write it to the run file."""
    from rejoinder.load.decide.find_highest import describe_search, run_search

    if plan.sought is None:
        steps.say(f"Sweep of {target.url}: {settings.length} for each step")
    else:
        steps.say(f"Highest {plan.sought.kind} of {target.url}. {describe_search(plan.sought, settings)}")

    def show(step: SearchStep) -> None:
        pace = f"{step.concurrency} concurrent" if step.rate is None else f"{step.rate:g} requests/s"
        parts = [
            f"{format_rate(step.ok_per_s)} succeeded/s",
            f"{format_rate(step.output_tokens_per_s)} output tokens/s",
        ]
        first, whole = step.latency("ttft_p99"), step.latency("e2e_p50")
        if whole is not None:
            ttft = format_seconds(first) if first is not None else f"needs {values_for(99)} samples"
            parts += [f"TTFT p99 {ttft}", f"E2E p50 {format_seconds(whole)}"]
        parts += [] if step.met is None else ["SLOs met" if step.met else "SLOs missed"]
        parts += [step.verdict] if step.verdict.rank else []
        if step.held is not None:
            failed = "could not be tested" if step.untested else "failed"
            parts += ["held" if step.held else f"{failed}: {step.reason}"]
        length = "" if step.duration is None or step.held is None else f" for {step.duration:g} s"
        steps.say(f"  {'confirming ' if step.confirms else ''}{pace}{length}: {', '.join(parts)}")

    result = run_search(
        settings,
        record.writer,
        levels=plan.levels,
        sought=plan.sought,
        begin=lambda step: begin_step(steps, f"Loading, {step.pace}", step),
        progress=lambda now: show_progress(steps, settings, now),
        on_step=show,
        key=target.key,
    )
    search = result.load.search
    assert search is not None
    from rejoinder.reports.parts.search.summary import describe_result, describe_sweep

    steps.say(describe_sweep(search) if search.kind == "sweep" else describe_result(search))
    return result


def probe_endpoint(record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings) -> list[ProbeSample]:
    """Run the disconnect probes and write their results to the run file, one ``probe`` line each."""
    from rejoinder.load.disconnect_probe import DisconnectProbe

    steps.step("Probing disconnects")

    def show(result: ProbeSample) -> None:
        record.writer.sample(result)
        steps.say(f"Probe {result.name}: {result.verdict}. {result.text}")

    return DisconnectProbe(settings, target.key, on_result=show).run()


def exit_code(result: LoadResult) -> ExitCode:
    """Return the exit code of a load run, regardless of the load generator's verdict on itself."""
    if result.interrupted:
        return ExitCode.INTERRUPTED
    search = result.load.search
    found_none = search is not None and search.kind != "sweep" and search.highest is None
    untested = found_none and search is not None and search.untested is not None and not search.limited_by
    if not (result.answered or result.incomplete):
        return ExitCode.NOT_TESTED
    if untested and not (_has_failed(result) or result.incomplete):
        return ExitCode.NOT_TESTED
    if _has_failed(result) or result.aborted or ((result.missed or found_none) and not result.incomplete):
        return ExitCode.FAILED
    return ExitCode.INCOMPLETE if result.incomplete else ExitCode.PASSED


def gate_code(result: LoadResult) -> ExitCode:
    """Return the exit code of a load run: like :func:`exit_code`, but 4 where the load generator was the limit.

    Failed requests are a failure in any case; a missed SLO may be the load generator's fault.
    """
    code = exit_code(result)
    search = result.load.search
    # A step of a search ends early by itself where the load generator makes it miss an SLO.
    by_generator = search is not None and search.kind != "sweep" and search.limited_by == "generator"
    aborted = bool(result.aborted) and not by_generator
    bent = result.verdict is Validity.CLIENT_BOUND and not (_has_failed(result) or aborted)
    return ExitCode.CLIENT_BOUND if bent and code in (ExitCode.PASSED, ExitCode.FAILED) else code


def _has_failed(result: LoadResult) -> bool:
    """Return whether a probe failed, or more requests failed than allowed: none, unless an SLO limits their share."""
    if any(not probe.met for probe in result.probes):
        return True
    shares = [slo for slo in result.load.slos if slo.statistic == "share"]
    if any(slo.met is False for slo in shares):
        return True
    limited = {slo.metric for slo in shares}
    repeats = [repeat.outcomes for repeat in result.load.repeats if repeat.of == "endpoint"]
    ended_early = bool(result.incomplete)
    counts = (settled(outcomes, ended_early=ended_early) for outcomes in repeats or [result.outcomes])
    return any(unlimited_bad_of(outcomes, limited) for outcomes in counts)

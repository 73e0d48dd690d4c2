"""``rejoinder load``: put an endpoint under load and measure it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from rejoinder.cli._progress import Steps
from rejoinder.cli._run import close_run, endpoint_options, read_key, recording
from rejoinder.errors import UsageError
from rejoinder.settings import parse_duration

if TYPE_CHECKING:
    from rejoinder.load.decide.regression import RegressionLimit
    from rejoinder.load.run import LoadProgress, LoadResult
    from rejoinder.load.settings import LoadSettings
    from rejoinder.recorder import RunRecorder
    from rejoinder.wire.target import Target

DEFAULT_DURATION: Final = 10.0
_SOMEWHERE: Final = "http://127.0.0.1"
"""Stands for the endpoint until it has been found."""
CLIENT_BOUND: Final = 4
"""Exit code of a run whose figures the load generator itself has set."""


def _list_profiles(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from rejoinder.load.workload.profiles import load_profile, shipped_profiles

    for name, path in shipped_profiles().items():
        click.echo(f"{name:16}{load_profile(str(path)).description}")
    click.echo(f"\nTo change one, copy it from {path.parent}.")
    ctx.exit()


@click.command("load")
@endpoint_options
@click.option(
    "--concurrency", type=click.IntRange(1), metavar="C", help="Closed loop: C requests in flight, always. [default: 8]"
)
@click.option(
    "--rate",
    metavar="R",
    help="Open loop: R requests a second on a fixed schedule, whatever the endpoint does; or phases, "
    "like 5@30s,5..50@1min,50@10min.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Open loop: recorded traffic to replay, in the format of Mooncake, BurstGPT or Azure.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="X",
    help="How many times as fast as it was recorded a trace is replayed.",
)
@click.option(
    "--sweep",
    metavar="LEVELS",
    help="Run with rising numbers of requests in flight, like 1,2,4,8 or auto, and name the knee.",
)
@click.option(
    "--find-rate",
    metavar="LOW..HIGH",
    help="Search for the highest rate that keeps every --slo, like 1..50; each rate is tried up to three times.",
)
@click.option(
    "--arrivals",
    metavar="A",
    help="Open loop: constant, poisson, or gamma:B (the smaller B, the burstier). [default: constant]",
)
@click.option(
    "--duration",
    type=parse_duration,
    metavar="S",
    help="How long requests are begun; those in flight then end. [default: 10s, or the length of phases or trace]",
)
@click.option(
    "--requests",
    type=click.IntRange(1),
    metavar="N",
    help="Begin N requests, and end when they have ended; with --duration, whatever comes first.",
)
@click.option(
    "--max-output-tokens",
    type=click.IntRange(1),
    metavar="N",
    help="Tokens that a request may have answered, where profile or trace says nothing. [default: 64]",
)
@click.option(
    "--profile",
    metavar="P",
    help="Workload: the name of a shipped profile (see --list-profiles), or a TOML file. Options given here go first.",
)
@click.option(
    "--list-profiles", is_flag=True, is_eager=True, expose_value=False, callback=_list_profiles, help="List them."
)
@click.option("--prompt", metavar="TEXT", help="What is asked; by default a short built-in text.")
@click.option(
    "--bodies",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="JSON or NDJSON file of request bodies to send in turn.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    metavar="P",
    help="Load generator processes. [default: 1]",
)
@click.option(
    "--timeout",
    type=parse_duration,
    default="60s",
    show_default=True,
    metavar="S",
    help="Longest silence of the endpoint within one request.",
)
@click.option(
    "--slo",
    multiple=True,
    metavar="SLO",
    help="Objective, like 'ttft:p99<300ms', 'tpot<30ms', 'goodput>=95%', 'error<1%'; may be repeated.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 50),
    metavar="N",
    help="Run N times, to know how much figures vary. [default: 1, with --max-change 5]",
)
@click.option(
    "--max-change",
    multiple=True,
    metavar="LIMIT",
    help="How much worse than the baseline a figure may be, like 'ttft:p99<+10%' or 'output_tokens>-5%'; "
    "may be repeated.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Compare with a recorded run that was made with --repeats.",
)
@click.option(
    "--against",
    metavar="URL2",
    help="Compare with another endpoint, which is loaded in turns with the first.",
)
@click.option(
    "--metrics",
    multiple=True,
    metavar="URL",
    help="Prometheus page to read once a second, or auto for /metrics of the endpoint; may be repeated.",
)
@click.option(
    "--probe-disconnects",
    is_flag=True,
    help="Afterwards, drop long requests on purpose and see whether the server stops, stays up and serves others.",
)
@click.option("--gpu", is_flag=True, help="Ask the GPUs of this host for use, power and memory once a second (NVML).")
@click.option(
    "--canaries/--no-canaries",
    default=True,
    show_default=True,
    help="Put a token of its own into each input, and look for those of others in each answer.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the schedule.")
@click.option("--quiet", "-q", is_flag=True, help="No progress; only the closing summary.")
def command(
    url: str,
    model: str | None,
    dialect: str,
    api_key_env: str,
    out: Path | None,
    concurrency: int | None,
    rate: str | None,
    trace: Path | None,
    speed: float,
    sweep: str | None,
    find_rate: str | None,
    arrivals: str | None,
    duration: float | None,
    requests: int | None,
    max_output_tokens: int | None,
    profile: str | None,
    prompt: str | None,
    bodies: Path | None,
    processes: int | None,
    timeout: float,
    slo: tuple[str, ...],
    repeats: int | None,
    max_change: tuple[str, ...],
    baseline: Path | None,
    against: str | None,
    metrics: tuple[str, ...],
    probe_disconnects: bool,
    gpu: bool,
    canaries: bool,
    seed: int,
    quiet: bool,
) -> int:
    r"""Stream requests from the endpoint at URL and measure latency, throughput and the outcome of every stream.

    Every measured stream is judged by the contract; broken ones never count as successes. Example:

    \b
        rejoinder load http://127.0.0.1:8000 --concurrency 16 --duration 30s

    Exit codes: 0 every answer was ok and every objective was met; 1 not so; 2 nothing was answered; 4 nothing of that
    can be trusted, because the load generator was the limit (CLIENT-BOUND); 130 interrupted. With an objective for
    goodput, error or an outcome, that decides how many requests may end badly.
    """
    from rejoinder.load.decide.search import parse_levels, parse_range
    from rejoinder.load.run import check_settings
    from rejoinder.load.settings import UNTIMED, LoadSettings
    from rejoinder.load.workload.profiles import find_profile, load_profile
    from rejoinder.wire.address import candidate_addresses

    paces = {
        "--concurrency": concurrency,
        "--rate": rate,
        "--trace": trace,
        "--sweep": sweep,
        "--find-rate": find_rate,
    }
    given = [name for name, value in paces.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other.", "Choose a closed loop or an open loop.")
    defaults = load_profile(profile).defaults if profile else {}
    if profile and (prompt or bodies):
        raise UsageError(
            "A profile has its own inputs.", "Leave --prompt and --bodies out, or write them into a profile."
        )
    levels = parse_levels(sweep) if sweep else None
    rates = parse_range(find_rate) if find_rate else None
    if sweep or find_rate:
        concurrency = 1
    if not given:
        concurrency, rate = defaults.get("concurrency"), defaults.get("rate")
        concurrency = 8 if concurrency is None and rate is None else concurrency
    if rates and not (slo or defaults.get("slo")):
        raise UsageError("--find-rate needs an objective.", "Add one, like --slo 'ttft:p99<300ms'.")
    if duration is None and "duration" in defaults:
        duration = parse_duration(str(defaults["duration"]))
    gate = read_gate(repeats, max_change, baseline, against, searching=bool(sweep or find_rate))
    steady, phases = read_rate(None if rate is None else str(rate))
    settings = LoadSettings(
        url=_SOMEWHERE,
        dialect=dialect,
        concurrency=concurrency,
        rate=steady,
        phases=phases,
        trace=str(trace) if trace else "",
        speed=speed,
        arrivals=arrivals or defaults.get("arrivals", "constant"),
        requests=requests or defaults.get("requests"),
        max_output_tokens=64 if max_output_tokens is None else max_output_tokens,
        profile=str(find_profile(profile)) if profile else "",
        canaries=canaries,
        metrics=metrics,
        gpu=gpu,
        prompt=prompt or "",
        bodies=str(bodies) if bodies else "",
        idle_timeout=timeout,
        processes=processes or defaults.get("processes", 1),
        seed=seed,
        slos=slo or tuple(defaults.get("slo", ())),
    )
    length = settings.natural_duration() or (UNTIMED if settings.requests else DEFAULT_DURATION)
    settings = replace(settings, duration=length if duration is None else duration)
    # Whatever is wrong with the options is told before anything is sent.
    check_settings(replace(settings, processes=1) if sweep or find_rate else settings)
    for address in filter(None, (url, against)):
        candidate_addresses(address)
    key = read_key(api_key_env)
    with recording(out) as record, Steps(quiet=quiet) as steps:
        steps.step(f"Looking for an endpoint at {url}")
        target = record.discover(url, key=key, model=model, dialect=dialect)
        settings = replace(settings, url=target.url, model=target.model or "")
        other = None
        if against:
            steps.step(f"Looking for an endpoint at {against}")
            first = record.found
            other = record.discover(against, key=key, model=model, dialect=dialect)
            record.found = (*first, *record.found)
        record.header(target, url=url, model=model, dialect=dialect, seed=seed, load=describe(settings))
        if sweep or find_rate:
            result = search_endpoint(record, steps, target, settings, levels, rates)
        elif gate.repeats > 1:
            result = repeat_endpoint(record, steps, target, settings, gate, other)
        else:
            result = load_endpoint(record, steps, target, settings)
        if probe_disconnects and not result.interrupted and result.answered:
            result.load["probes"] = probe_endpoint(record, steps, target, settings)
        code = gate_code(result)
        record.footer(code, interrupted=result.interrupted, warnings=[*target.warnings, *result.warnings])
    close_run(record)
    return code


class Gate(NamedTuple):
    """How often to run, and what to compare with: the figures of a baseline, or another endpoint."""

    repeats: int
    changes: list[RegressionLimit]
    baseline: list[dict[str, float]]


def read_gate(
    repeats: int | None, limits: tuple[str, ...], baseline: Path | None, against: str | None, *, searching: bool
) -> Gate:
    """Return what the options of the gate ask for; raises :class:`UsageError` where they do not fit together."""
    from rejoinder.load.decide.regression import LEAST_REPEATS, parse_changes, read_repeats

    changes = parse_changes(limits)
    if searching and (repeats or limits or baseline or against):
        raise UsageError("A search is not repeated or compared.", "Leave --repeats, --baseline and --against out.")
    if baseline and against:
        raise UsageError("--baseline and --against exclude each other.", "Compare with one of them.")
    if changes and not (baseline or against):
        raise UsageError("--max-change needs something to compare with.", "Add --baseline RUN or --against URL2.")
    if (baseline or against) and not changes:
        raise UsageError("Nothing is to be compared.", "Add a limit, like --max-change 'ttft:p99<+10%'.")
    number = repeats or (5 if changes else 1)
    if changes and number < LEAST_REPEATS:
        raise UsageError(
            f"{number} repeats cannot tell a change from chance.", f"Use at least --repeats {LEAST_REPEATS}; 5 or more."
        )
    return Gate(number, changes, read_repeats(baseline) if baseline else [])


def read_rate(text: str | None) -> tuple[float | None, str]:
    """Return a rate, or the phases of a changing one; the other is empty."""
    if text is None or "@" in text:
        return None, text or ""
    try:
        return float(text), ""
    except ValueError as error:
        hint = "Write requests a second, like 20, or phases, like 5@30s,5..50@1min."
        raise UsageError(f"The rate {text!r} is not a number.", hint) from error


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
        words = filter(None, (f"{progress.finished} done", note))
        steps.update(min(progress.t, settings.duration), ", ".join(words))
    else:
        steps.update(progress.finished, note)


def load_endpoint(record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings) -> LoadResult:
    """Run the load and write its samples to the run file."""
    from rejoinder.load.decide.slo import describe as describe_slo
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
    for outcome in result.load.get("slos", ()):
        steps.say(f"SLO {describe_slo(outcome)}")
    return result


def repeat_endpoint(
    record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings, gate: Gate, other: Target | None
) -> LoadResult:
    """Run the load several times, judge what changed, and write it to the run file."""
    from rejoinder.load.decide.regression import describe as describe_change
    from rejoinder.load.decide.repetitions import run_repeats
    from rejoinder.load.decide.slo import describe as describe_slo

    against = replace(settings, url=other.url, model=other.model or "") if other else None
    turns = f" in turns with {other.url}" if other else ""
    steps.say(f"Load on {target.url}{turns}: {settings.pace}, {gate.repeats} times {settings.length}")

    def told(line: dict[str, Any]) -> None:
        found = line["figures"]
        words = [f"{found['requests']:.2f} ok/s", f"{found['output_tokens']:.0f} tokens/s"]
        words += [f"{name} {found[name] * 1e3:.0f} ms" for name in ("ttft:p50", "ttft:p99", "e2e:p50") if name in found]
        words += [line["verdict"]] if line["verdict"] != "VALID" else []
        who = "" if line["of"] == "endpoint" else f" {other.url if other else ''}"
        steps.say(f"  {line['repeat'] + 1}{who}: {', '.join(words)}")

    result = run_repeats(
        settings,
        record.writer,
        repeats=gate.repeats,
        against=against,
        baseline=gate.baseline,
        changes=gate.changes,
        begin=lambda run: begin_step(steps, "Loading", run),
        progress=lambda now: show_progress(steps, settings, now),
        told=told,
        key=target.key,
        against_key=other.key if other else None,
    )
    for outcome in result.load.get("slos", ()):
        steps.say(f"SLO {describe_slo(outcome)}")
    for change in result.load.get("changes", ()):
        steps.say(f"Change {describe_change(change)}")
    return result


def search_endpoint(
    record: RunRecorder,
    steps: Steps,
    target: Target,
    settings: LoadSettings,
    levels: list[int] | None,
    rates: tuple[float, float] | None,
) -> LoadResult:
    """Run a sweep or a search for the highest rate and write it to the run file."""
    from rejoinder.load.decide.search import run_search

    steps.say(f"Search on {target.url}, {settings.length} each step")

    def told(figures: dict[str, Any]) -> None:
        pace = f"{figures['rate']:g}/s" if "rate" in figures else f"{figures['concurrency']} in flight"
        words = [f"{figures['ok_per_s']:.2f} ok/s", f"{figures['output_tokens_per_s']:.0f} tokens/s"]
        words += [f"{name} {figures[name] * 1e3:.0f} ms" for name in ("ttft_p99", "e2e_p50") if name in figures]
        words += ["kept" if figures["met"] else "missed"] if "met" in figures else []
        words += [figures["verdict"]] if figures["verdict"] != "VALID" else []
        steps.say(f"  {pace}: {', '.join(words)}")

    result = run_search(
        settings,
        record.writer,
        levels=levels,
        rates=rates,
        begin=lambda step: begin_step(steps, f"Loading, {step.pace}", step),
        progress=lambda now: show_progress(steps, settings, now),
        told=told,
        key=target.key,
    )
    search = result.load["search"]
    if search["kind"] == "rate":
        found = f"{search['highest']:g} requests/s" if "highest" in search else "none of the range"
        steps.say(f"Highest rate that keeps the objectives: {found}" + (" or more" if search.get("more") else ""))
    else:
        steps.say(f"Knee: {search['knee']} in flight" if "knee" in search else "Knee: not reached")
    return result


def probe_endpoint(record: RunRecorder, steps: Steps, target: Target, settings: LoadSettings) -> list[dict[str, Any]]:
    """Drop requests on purpose and write what the server did to the run file, one ``probe`` line each."""
    from rejoinder.load.disconnect_probe import Disconnects

    steps.step("Dropping requests")

    def told(result: dict[str, Any]) -> None:
        record.writer.sample("probe", **result)
        steps.say(f"Probe {result['name']}: {result['verdict']}. {result['text']}")

    return Disconnects(settings, target.key, told=told).run()


def exit_code(result: LoadResult) -> int:
    """0: every answered request was ok and every objective met; 1: not so; 2: none was answered; 130: interrupted."""
    if result.interrupted:
        return 130
    if not result.answered:
        return 2
    failed = any(probe["verdict"] == "fail" for probe in result.load.get("probes", ()))
    return 1 if failed or _bad_answers(result) or result.missed else 0


def gate_code(result: LoadResult) -> int:
    """Return the exit code of a load run; like :func:`exit_code`, but 4 for figures that the generator has bent.

    Answers that ended badly are a failure whatever the generator did; a missed objective may be its own doing.
    """
    code = exit_code(result)
    failed = any(probe["verdict"] == "fail" for probe in result.load.get("probes", ()))
    sure = failed or _bad_answers(result)
    return CLIENT_BOUND if code < 2 and result.verdict == "CLIENT-BOUND" and not sure else code


def _bad_answers(result: LoadResult) -> bool:
    """Return whether more requests ended badly than may; an objective that counts them decides, if there is one."""
    from rejoinder.load.decide.slo import SHARES

    if any(slo["metric"] in SHARES for slo in result.load.get("slos", ())):
        return any(slo["met"] is False for slo in result.load["slos"] if slo["metric"] in SHARES)
    repeats = [line["outcomes"] for line in result.load.get("repeats", ()) if line["of"] == "endpoint"]
    fine = ("ok", "unjudged", "censored", "cancelled")
    return any(
        count and name not in fine for outcomes in repeats or [result.outcomes] for name, count in outcomes.items()
    )

"""``rejoinder check``: check an endpoint against the contract."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from rejoinder.cli._help import ENDPOINT, OUTPUT, RULES, GroupedOption, Page
from rejoinder.cli._progress import Steps
from rejoinder.cli._run import (
    baseline_options,
    close_run,
    endpoint_options,
    load_baseline,
    quiet_option,
    read_key,
    read_requests,
    recording,
    request_options,
    resend_option,
    say_choice,
    second_key_option,
    select_option,
    timeout_option,
)
from rejoinder.errors import EXIT_CODES, ExitCode, UsageError
from rejoinder.formatting import plural
from rejoinder.model.tags import Tag
from rejoinder.settings import Budget, parse_budget

if TYPE_CHECKING:
    from rejoinder.conformance.assess import CheckResult
    from rejoinder.conformance.baseline import Baseline
    from rejoinder.conformance.running.engine import CheckProgress
    from rejoinder.model.exchange import Exchange
    from rejoinder.recorder import RunRecorder
    from rejoinder.wire.request_options import RequestOptions


_PLAN: Final = "Test plan"


@click.command(
    "check",
    cls=Page,
    groups=[ENDPOINT, _PLAN, RULES, OUTPUT],
    exit_codes={
        0: "No MUST rule failed.",
        1: "A MUST rule failed, or a case of the official suite (--plan official).",
        2: "Nothing could be tested.",
        3: EXIT_CODES[ExitCode.INCOMPLETE],
        130: EXIT_CODES[ExitCode.INTERRUPTED],
    },
    examples=[
        ("Run the plan quick, about 190 requests.", "rejoinder check http://127.0.0.1:8000"),
        (
            "Cover the whole contract, 8 requests at a time.",
            "rejoinder check http://127.0.0.1:8000 --plan full --concurrency 8",
        ),
        ("Check the rules for event streams only.", "rejoinder check http://127.0.0.1:8000 --select 'SSE-*,EVT-*'"),
        ("Send random requests for ten minutes.", "rejoinder check http://127.0.0.1:8000 --plan fuzz --budget 10min"),
        (
            "Send the official compliance suite of Open Responses.",
            "rejoinder check http://127.0.0.1:8000 --plan official",
        ),
        (
            "Find the limits of the endpoint, with at most 300,000 tokens.",
            "rejoinder check http://127.0.0.1:8000 --limits --budget 300ktokens",
        ),
        ("Accept known failures in CI.", "rejoinder check http://127.0.0.1:8000 --baseline known.toml --quiet"),
    ],
)
@endpoint_options
@second_key_option
@request_options
@timeout_option
@resend_option
@click.option(
    "--plan",
    cls=GroupedOption,
    group=_PLAN,
    type=click.Choice(["smoke", "quick", "full", "official", "fuzz"]),
    default="quick",
    show_default=True,
    help="Test plan: smoke (~17 requests), quick (~190), full (all contract branches), official (the 9 requests of the "
    "Open Responses compliance suite, with its verdicts) or fuzz (random requests until --budget is used up).",
)
@click.option(
    "--concurrency",
    cls=GroupedOption,
    group=_PLAN,
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    metavar="N",
    help="Maximum number of requests in flight. Tests of concurrent requests send up to 6 at a time regardless.",
)
@click.option(
    "--budget",
    cls=GroupedOption,
    group=_PLAN,
    type=parse_budget,
    metavar="LIMITS",
    help="Stop after a number of requests or tokens, or after a time. Examples: 200requests, 50ktokens, 10min, "
    "500requests,1h. Plan fuzz stops after 200requests by default.",
)
@click.option(
    "--limits",
    cls=GroupedOption,
    group=_PLAN,
    is_flag=True,
    help="Also find the largest requests that the endpoint accepts: body size, context, items, tools, names, nesting. "
    "Needs --budget with tokens if the search may send more than 250,000.",
)
@click.option(
    "--reruns",
    cls=GroupedOption,
    group=_PLAN,
    type=click.IntRange(0, 50),
    metavar="N",
    help="How often to rerun each failing case to confirm it. Default: 3, or 0 for plan smoke.",
)
@click.option(
    "--no-confirm",
    cls=GroupedOption,
    group=_PLAN,
    is_flag=True,
    help="Neither confirm failures nor minimise their requests.",
)
@click.option(
    "--seed",
    cls=GroupedOption,
    group=_PLAN,
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Seed for random choices.",
)
@select_option
@click.option(
    "--require",
    cls=GroupedOption,
    group=RULES,
    multiple=True,
    metavar="FEATURES",
    help="Fail if the endpoint does not support these features. Example: streaming,images. "
    "`rejoinder rules --features` lists them.",
)
@click.option(
    "--certify",
    cls=GroupedOption,
    group=RULES,
    is_flag=True,
    help="Run plan full, and fail if the endpoint lacks any feature of the dialect.",
)
@baseline_options
@quiet_option
def command(
    url: str,
    dialect: str,
    api_key_env: str,
    second_key_env: str,
    out: Path | None,
    plan: str,
    select: str,
    require: tuple[str, ...],
    certify: bool,
    baseline: Path | None,
    baseline_strict: bool,
    limits: bool,
    reruns: int | None,
    no_confirm: bool,
    quiet: bool,
    **sending: Any,
) -> int:
    """Send a test plan to the endpoint at URL and check every response against the API contract.

    rejoinder reruns the case of each failure to confirm it, and finds the smallest request that reproduces it. The
    report (report.html, junit.xml) and the run file (run.ndjson) go into the folder --out.
    """
    from rejoinder.conformance.judging.official import PLAN as OFFICIAL
    from rejoinder.conformance.judging.official import load_suite
    from rejoinder.wire.dialect_choice import AUTO

    plan = "full" if certify else plan
    if plan == OFFICIAL and click.get_current_context().get_parameter_source("dialect") is ParameterSource.DEFAULT:
        dialect = load_suite().dialect
    if limits and plan in (OFFICIAL, "fuzz"):
        raise UsageError(f"Plan {plan} cannot search for limits.", "Use --limits with --plan smoke, quick or full.")
    requirements = partial(_requirements, plan=plan, select=select, require=require, certify=certify)
    if dialect != AUTO:
        requirements(dialect)
    expected = load_baseline(baseline, strict=baseline_strict)
    key, second_key = read_key(api_key_env), read_key(second_key_env, "--second-key-env")
    request = read_requests(sending, key, second_key)
    with recording(out) as recorder, Steps(quiet=quiet) as steps:
        result = check_endpoint(
            recorder,
            steps,
            url,
            key=key,
            second_key=second_key,
            request=request,
            dialect=dialect,
            plan_name=plan,
            select=select,
            requirements=requirements,
            baseline=expected,
            strict=baseline_strict,
            limits=limits,
            reruns=0 if no_confirm else reruns,
            **sending,
        )
        recorder.footer(result.exit_code, **result.footer)
    close_run(recorder)
    return result.exit_code


def _requirements(dialect: str, *, plan: str, select: str, require: tuple[str, ...], certify: bool) -> frozenset[str]:
    """Return the features that the endpoint must support; raises :class:`UsageError` for options that do not fit."""
    from rejoinder.conformance.assess import rule_count
    from rejoinder.conformance.judgement import select_rules
    from rejoinder.conformance.judging.official import PLAN as OFFICIAL
    from rejoinder.contract import every_feature, load_dialect, read_features

    spec = load_dialect(dialect)
    required = every_feature(spec) if certify else read_features(require, spec)
    if required and not any(rule.id == "CAP-01" for rule in select_rules(select)):
        raise UsageError("--select leaves out CAP-01, the rule for required features.", "Add CAP-01 to --select.")
    if not rule_count(dialect, select):
        raise UsageError(f'--select "{select}" matches no rule.', "`rejoinder rules` lists the rules.")
    if required and plan in ("fuzz", OFFICIAL):
        raise UsageError(f"Plan {plan} cannot test required features.", "Use --require with --plan quick or full.")
    return required


def check_endpoint(
    recorder: RunRecorder,
    steps: Steps,
    url: str,
    *,
    dialect: str,
    plan_name: str,
    concurrency: int,
    timeout: float,
    resend: bool = False,
    key: str | None = None,
    second_key: str | None = None,
    request: RequestOptions | None = None,
    model: str | None = None,
    budget: Budget | None = None,
    select: str = "*",
    requirements: Callable[[str], frozenset[str]] = lambda _: frozenset(),
    baseline: Baseline | None = None,
    strict: bool = False,
    limits: bool = False,
    seed: int = 0,
    reruns: int | None = None,
) -> CheckResult:
    """Find the endpoint, send the plan, check, confirm, and write everything but the footer to the run file.

    ``requirements`` returns the features that an endpoint of a dialect must support. ``plan_name`` is the name of a
    plan, or ``fuzz``. ``limits`` is whether to search for limits after the plan. ``reruns`` is how often the case of a
    failure is sent again (``None``: as often as the plan defines, 0: nothing is confirmed), ``resend`` whether a
    request is sent once more when its connection is lost before a response.
    """
    from rejoinder.conformance.judgement import broken_rules, select_rules
    from rejoinder.conformance.running.confirm import CONFIRM_BUDGETS
    from rejoinder.conformance.running.fuzz import DEFAULT_BUDGET, most_tokens
    from rejoinder.conformance.running.isolate import ISOLATION_BUDGETS
    from rejoinder.conformance.running.limits import affordable_search
    from rejoinder.conformance.running.plan import Plan, build_plan
    from rejoinder.conformance.running.session import fuzz, run_plan
    from rejoinder.contract import dialect_label, load_dialect

    steps.step(f"Connecting to {url}")
    target = recorder.discover(
        url,
        key=key,
        second_key=second_key,
        request=request,
        model=model,
        dialect=dialect,
        deadline=timeout,
    )
    dialect = target.dialect
    required = requirements(dialect)
    fuzzing = plan_name == "fuzz"
    plan = (
        Plan("fuzz", ())
        if fuzzing
        else build_plan(plan_name, load_dialect(dialect), model=target.model, form=target.form, models=target.models)
    )
    confirm_budget = CONFIRM_BUDGETS["full" if fuzzing else plan_name].with_reruns(reruns)
    isolation_budget = ISOLATION_BUDGETS.get(plan_name, 0)
    search = affordable_search(target, recorder.found, budget) if limits else None
    cases = {case.id: case.intent for case in plan.cases}
    cases = {**(search.intents if search is not None else {}), **cases}
    extra = {"required": sorted(required)} if required else {}
    recorder.header(
        target, url=url, model=model, dialect=dialect, plan=plan.name, seed=seed, cases=cases, select=select, **extra
    )
    model_text = f"model {target.model}" if target.model else "no model in requests"
    steps.say(f"{target.url}, {model_text}, dialect {dialect_label(dialect)}")
    say_choice(steps, target)
    if fuzzing:
        budget = budget or DEFAULT_BUDGET
        tokens = "" if budget.requests is None else f", at most {most_tokens(budget.requests):,} output tokens"
        steps.say(f"Plan fuzz: random requests (seed {seed}) until the budget of {budget} is used up{tokens}")
    else:
        requests = plural(plan.requests, "request")
        more = [f"{plural(isolation_budget, 'request')} to isolate refusals"] if isolation_budget else []
        if confirm_budget.total:
            more.append(f"{plural(confirm_budget.total, 'request')} to confirm and minimise failures")
        also = f", plus up to {' and '.join(more)}" if more else ""
        limited = target.form.max_output_tokens and plan.output_tokens > 0
        tokens = f"with at most {plan.output_tokens:,} output tokens" if limited else "without a limit of output tokens"
        steps.say(f"Plan {plan.name}: {requests} {tokens}{also}")
    if search is not None:
        steps.say(f"Search for limits: {search.cost.sentence}")
    if traits := target.form.traits(load_dialect(dialect).usual_form):
        steps.say(f"Request form: {', '.join(traits)}")
    for warning in target.warnings:
        steps.say(f"Warning: {warning}")
    total = budget.requests if fuzzing and budget is not None else plan.requests
    steps.step("Fuzzing" if fuzzing else "Sending", total, unit="requests")

    chosen = {rule.id for rule in select_rules(select)}
    broken: set[str] = set()

    def count_broken(exchange: Exchange) -> None:
        # For the progress line: only rules over single exchanges, and only those that held until now.
        if Tag.UNJUDGED not in exchange.tags:
            broken.update(broken_rules(exchange, dialect, only=chosen - broken))

    findings = 0

    def found(count: int) -> None:
        nonlocal findings
        findings = count

    later = ""

    def show(progress: CheckProgress) -> None:
        if later:
            return
        notes = [plural(findings, "finding")] if findings else []
        notes += [f"{plural(len(broken), 'MUST rule')} broken"] if broken else []
        notes += [f"{progress.failed:,} without response"] if progress.failed else []
        notes += [f"{progress.refused:,} refused"] if progress.refused else []
        notes += [f"{progress.busy:,} busy"] if progress.busy else []
        steps.update(progress.done, ", ".join(notes))

    def interrupt() -> None:
        steps.say("Interrupted. Checking what was recorded; press Ctrl-C again to quit at once.")

    if fuzzing:
        assert budget is not None
        return fuzz(
            target,
            seed,
            budget,
            recorder.writer,
            concurrency=concurrency,
            deadline=timeout,
            resend=resend,
            select=select,
            baseline=baseline,
            reruns=confirm_budget.reruns,
            on_exchange=count_broken,
            on_progress=show,
            on_found=found,
            on_interrupt=interrupt,
        )

    def further(step: str, total: int, spent: int, note: str = "") -> None:
        nonlocal later
        if later != step:
            steps.step(step, total, unit="requests")
        later = step
        steps.update(spent, note)

    return run_plan(
        target,
        plan,
        recorder.writer,
        concurrency=concurrency,
        budget=budget,
        deadline=timeout,
        resend=resend,
        select=select,
        required=required,
        baseline=baseline,
        strict=strict,
        isolation_budget=isolation_budget,
        confirm_budget=confirm_budget,
        limits=search,
        on_exchange=count_broken,
        on_progress=show,
        on_isolating=lambda spent: further("Isolating refusals", isolation_budget, spent),
        on_limits=lambda spent, note: further(
            "Finding limits", 0 if search is None else search.cost.requests, spent, note
        ),
        on_judging=lambda: steps.step("Checking"),
        on_confirming=lambda spent, note: further("Confirming failures", confirm_budget.total, spent, note),
        on_interrupt=interrupt,
    )

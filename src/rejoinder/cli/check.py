"""``rejoinder check``: hold an endpoint to the contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rejoinder.cli._progress import Steps
from rejoinder.cli._run import (
    baseline_options,
    close_run,
    endpoint_options,
    key_option,
    load_baseline,
    quiet_option,
    read_key,
    recording,
    select_option,
    timeout_option,
)
from rejoinder.errors import UsageError
from rejoinder.model.tags import Tag
from rejoinder.settings import SECOND_KEY_VARIABLE, Budget, parse_budget

if TYPE_CHECKING:
    from rejoinder.conformance.assess import CheckResult
    from rejoinder.conformance.baseline import Baseline
    from rejoinder.conformance.running.engine import CheckProgress
    from rejoinder.model.exchange import Exchange
    from rejoinder.recorder import RunRecorder


@click.command("check")
@endpoint_options
@key_option(
    "--second-key-env",
    SECOND_KEY_VARIABLE,
    "Environment variable that holds the key of another tenant, whom nothing of the first may be shown.",
)
@click.option(
    "--plan",
    type=click.Choice(["smoke", "quick", "full", "fuzz"]),
    default="quick",
    show_default=True,
    help="How much is asked: some 17 requests, some 160, every branch of the contract, or a random search "
    "until the budget ends.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    metavar="N",
    help="Requests in flight at once; 1 is one after the other.",
)
@click.option(
    "--budget",
    type=parse_budget,
    metavar="B",
    help="Stop after 200requests, 50ktokens or 10min; several with commas. The plan fuzz has 200requests by default.",
)
@timeout_option
@select_option
@click.option(
    "--require",
    multiple=True,
    metavar="FEATURES",
    help="Fail when the endpoint lacks one of these: streaming,images ...; `rejoinder rules --features` lists them.",
)
@click.option(
    "--certify",
    is_flag=True,
    help="Send the plan full, and fail when the endpoint lacks any feature that the dialect defines.",
)
@baseline_options
@click.option(
    "--reruns",
    type=click.IntRange(0, 50),
    metavar="N",
    help="How often the case of a failure is sent again, 3 times by default; the plan smoke sends none.",
)
@click.option("--no-confirm", is_flag=True, help="Send nothing again: neither to confirm failures nor to reduce them.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of what is drawn at random.")
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
    reruns: int | None,
    no_confirm: bool,
    quiet: bool,
    **sending: Any,
) -> int:
    r"""Ask the endpoint at URL everything that the plan holds and judge every reply by the contract.

    URL is the base of the API, with or without /v1. Example:

    \b
        rejoinder check http://127.0.0.1:8000 --plan quick
    """
    from rejoinder.conformance.assess import rule_count
    from rejoinder.conformance.judgement import select_rules
    from rejoinder.contract import every_feature, load_dialect, read_features

    spec = load_dialect(dialect)
    required = every_feature(spec) if certify else read_features(require, spec)
    if required and not any(rule.id == "CAP-01" for rule in select_rules(select)):
        raise UsageError("--select leaves out CAP-01, which judges what is required.", "Add CAP-01 to the rules.")
    if not rule_count(dialect, select):
        raise UsageError(f"--select {select!r} selects no rule.", "`rejoinder rules` lists the rules.")
    if required and plan == "fuzz":
        raise UsageError("The plan fuzz cannot tell which features are there.", "Use --require with another plan.")
    expected = load_baseline(baseline, strict=baseline_strict)
    key, second_key = read_key(api_key_env), read_key(second_key_env, "--second-key-env")
    with recording(out) as recorder, Steps(quiet=quiet) as steps:
        result = check_endpoint(
            recorder,
            steps,
            url,
            key=key,
            second_key=second_key,
            dialect=dialect,
            plan_name="full" if certify else plan,
            select=select,
            required=required,
            baseline=expected,
            strict=baseline_strict,
            reruns=0 if no_confirm else reruns,
            **sending,
        )
        recorder.footer(result.exit_code, **result.footer)
    close_run(recorder)
    return result.exit_code


def check_endpoint(
    recorder: RunRecorder,
    steps: Steps,
    url: str,
    *,
    dialect: str,
    plan_name: str,
    concurrency: int,
    timeout: float,
    key: str | None = None,
    second_key: str | None = None,
    model: str | None = None,
    budget: Budget | None = None,
    select: str = "*",
    required: frozenset[str] = frozenset(),
    baseline: Baseline | None = None,
    strict: bool = False,
    seed: int = 0,
    reruns: int | None = None,
) -> CheckResult:
    """Find the endpoint, send the plan, judge, confirm, and write all of it but the footer to the run file.

    ``plan_name`` is a plan's, or ``fuzz``; ``reruns`` says how often the case of a failure is sent again (``None``: as
    often as the plan has it, 0: nothing is confirmed).
    """
    from rejoinder.conformance.judgement import broken_rules, select_rules
    from rejoinder.conformance.running.confirm import CONFIRM_BUDGETS
    from rejoinder.conformance.running.fuzz import DEFAULT_BUDGET, most_tokens
    from rejoinder.conformance.running.plan import Plan, build_plan
    from rejoinder.conformance.running.session import fuzz, run_plan
    from rejoinder.contract import load_dialect

    steps.step(f"Looking for an endpoint at {url}")
    target = recorder.discover(url, key=key, second_key=second_key, model=model, dialect=dialect)
    fuzzing = plan_name == "fuzz"
    plan = Plan("fuzz", ()) if fuzzing else build_plan(plan_name, load_dialect(dialect), model=target.model)
    confirm_budget = CONFIRM_BUDGETS["full" if fuzzing else plan_name].with_reruns(reruns)
    cases = {case.id: case.intent for case in plan.cases}
    extra = {"required": sorted(required)} if required else {}
    recorder.header(target, url=url, model=model, dialect=dialect, plan=plan.name, seed=seed, cases=cases, **extra)
    model_text = f"model {target.model}" if target.model else "no model named"
    steps.say(f"{target.url}, {model_text}, dialect {dialect}")
    if fuzzing:
        budget = budget or DEFAULT_BUDGET
        tokens = "" if budget.requests is None else f", up to {most_tokens(budget.requests)} output tokens"
        steps.say(f"Plan fuzz: random requests of seed {seed} until the budget of {budget} is spent{tokens}")
    else:
        steps.say(f"Plan {plan.name}: up to {plan.requests} requests and {plan.output_tokens} output tokens")
        if confirm_budget.total:
            steps.say(f"Up to {confirm_budget.total} requests more confirm and reduce what fails, if anything does")
    for warning in target.warnings:
        steps.say(f"Note: {warning}")
    total = budget.requests if fuzzing and budget is not None else plan.requests
    steps.step("Searching" if fuzzing else "Asking", total, unit="requests")

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

    confirming = False

    def show(progress: CheckProgress) -> None:
        if confirming:
            return
        counts = [(findings, "findings so far" if findings != 1 else "finding so far")] if fuzzing else []
        counts += [(len(broken), "MUST rules broken" if len(broken) != 1 else "MUST rule broken")]
        counts += [(progress.failed, "without reply"), (progress.refused, "refused")]
        steps.update(progress.done, ", ".join(f"{amount} {what}" for amount, what in counts if amount))

    def interrupt() -> None:
        steps.say("Interrupted: judging what was gathered. Ctrl-C once more quits at once.")

    if fuzzing:
        assert budget is not None
        return fuzz(
            target,
            seed,
            budget,
            recorder.writer,
            concurrency=concurrency,
            deadline=timeout,
            select=select,
            baseline=baseline,
            reruns=confirm_budget.reruns,
            on_exchange=count_broken,
            on_progress=show,
            on_found=found,
            on_interrupt=interrupt,
        )

    def confirm(spent: int, note: str) -> None:
        nonlocal confirming
        if not confirming:
            steps.step("Confirming", confirm_budget.total, unit="requests")
        confirming = True
        steps.update(spent, note)

    return run_plan(
        target,
        plan,
        recorder.writer,
        concurrency=concurrency,
        budget=budget,
        deadline=timeout,
        select=select,
        required=required,
        baseline=baseline,
        strict=strict,
        confirm_budget=confirm_budget,
        on_exchange=count_broken,
        on_progress=show,
        on_judging=lambda: steps.step("Judging"),
        on_confirming=confirm,
        on_interrupt=interrupt,
    )

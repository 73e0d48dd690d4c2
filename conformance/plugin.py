"""The pytest plugin: one item for each rule, judged on one examination of the endpoint.

``pytest --pyargs rejoinder.conformance --rejoinder-url URL`` runs the shipped items; own suites may use the fixtures
``rejoinder_run``, ``rejoinder_target`` and ``rejoinder_ask``. Without the option the plugin does nothing. Under xdist
one worker examines the endpoint and the others read what it recorded.

Only the standard library, pytest and this package's data are imported here; the engine is imported when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from rejoinder.model.exchange import Exchange
    from rejoinder.model.runfile import Run
    from rejoinder.model.verdict import Finding, Verdict

_OPTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("url", {"metavar": "URL", "help": "Base URL of the endpoint to examine, with or without /v1."}),
    ("model", {"metavar": "M", "help": "Model to ask for; by default the first that is listed."}),
    ("dialect", {"metavar": "D", "default": "northstar", "help": "Which specification it is held to."}),
    ("plan", {"metavar": "P", "default": "quick", "help": "smoke, quick or full."}),
    ("select", {"metavar": "RULES", "default": "*", "help": "Rules to judge: SSE-*, ITM-05, ..."}),
    (
        "require",
        {
            "metavar": "FEATURES",
            "action": "append",
            "default": [],
            "help": "Features that must be there: streaming,images ...",
        },
    ),
    ("certify", {"action": "store_true", "help": "Send the plan full; every feature of the dialect must be there."}),
    ("concurrency", {"metavar": "N", "default": 4, "type": int, "help": "Requests in flight at once."}),
    ("budget", {"metavar": "B", "help": "Stop after 200requests, 50ktokens or 10min."}),
    ("timeout", {"metavar": "S", "default": 120.0, "type": float, "help": "Seconds that one request may take."}),
    (
        "api-key-env",
        {"metavar": "NAME", "default": "REJOINDER_API_KEY", "help": "Environment variable that holds the key."},
    ),
    (
        "second-key-env",
        {
            "metavar": "NAME",
            "default": "REJOINDER_SECOND_API_KEY",
            "help": "Environment variable that holds the key of another tenant.",
        },
    ),
    ("baseline", {"metavar": "FILE", "help": "Known failures, which are reported as known and do not fail."}),
    (
        "baseline-strict",
        {"action": "store_true", "help": "Fail when the baseline expects failures that do not occur any more."},
    ),
    ("out", {"metavar": "DIR", "help": "Keep the run file in this folder."}),
)


class RejoinderWarning(UserWarning):
    """A SHOULD rule is not met."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all with the prefix ``--rejoinder-``."""
    group = parser.getgroup("rejoinder", "conformance of a /v1/responses endpoint")
    for name, settings in _OPTIONS:
        group.addoption(f"--rejoinder-{name}", dest=f"rejoinder_{name.replace('-', '_')}", **settings)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that names a rule, and check the options."""
    config.addinivalue_line("markers", "rejoinder_rule(id): the rule of the contract that an item judges")

    file = config.getoption("rejoinder_baseline")
    if file:
        from rejoinder.conformance.baseline import read_baseline
        from rejoinder.errors import BaselineError

        try:
            read_baseline(file)
        except BaselineError as error:
            raise pytest.UsageError(f"rejoinder: {error}") from error
    elif config.getoption("rejoinder_baseline_strict"):
        raise pytest.UsageError(
            "rejoinder: --rejoinder-baseline-strict needs a file; name it with --rejoinder-baseline."
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that asks for ``rejoinder_verdict`` one item for each selected rule, in catalogue order."""
    if "rejoinder_verdict" not in metafunc.fixturenames:
        return
    config = metafunc.config
    if not config.getoption("rejoinder_url"):
        raise pytest.UsageError("rejoinder: name the endpoint to examine with --rejoinder-url URL.")
    from rejoinder.conformance.judgement import select_rules
    from rejoinder.contract import load_dialect
    from rejoinder.model.verdict import Level

    dialect = load_dialect(config.getoption("rejoinder_dialect"))
    rules = [
        rule for rule in select_rules(config.getoption("rejoinder_select")) if dialect.level_of(rule) is not Level.OFF
    ]
    if not rules:
        raise pytest.UsageError(
            f"rejoinder: --rejoinder-select {config.getoption('rejoinder_select')} selects no rule."
        )
    metafunc.parametrize(
        "rejoinder_verdict",
        [pytest.param(rule.id, marks=pytest.mark.rejoinder_rule(rule.id)) for rule in rules],
        ids=[rule.id for rule in rules],
        indirect=True,
        scope="session",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Show a rule that fails only as the baseline expects as ``KNOWN``; it counts among the expected failures."""
    if report.when == "call" and report.skipped and ("verdict", "known") in map(tuple, report.user_properties):
        return "xfailed", "k", ("KNOWN", {"yellow": True})
    return None


@pytest.fixture(scope="session")
def rejoinder_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The recorded and judged examination of the endpoint, made once for the whole session."""
    from filelock import FileLock

    from rejoinder.model.runfile import read_run

    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # a worker of xdist
        shared = shared.parent  # the same folder for all workers of one session
    out = request.config.getoption("rejoinder_out")
    folder = Path(out) if out else shared / "rejoinder"
    done = shared / "rejoinder.done"
    with FileLock(shared / "rejoinder.lock"):
        if not done.exists():
            try:
                _examine(request.config, folder)
            finally:
                done.touch()
    run = read_run(folder)
    if run.footer.get("problem"):
        pytest.exit(f"rejoinder: {run.footer['problem']}", returncode=2)
    return run


def _examine(config: pytest.Config, folder: Path) -> None:
    from rejoinder.conformance.baseline import read_baseline
    from rejoinder.conformance.running.plan import build_plan
    from rejoinder.conformance.running.session import examine
    from rejoinder.contract import every_feature, load_dialect, read_features
    from rejoinder.errors import RejoinderError, TargetError
    from rejoinder.model.runfile import RunWriter
    from rejoinder.recorder import RunRecorder
    from rejoinder.settings import parse_budget

    option = config.getoption
    file, strict = option("rejoinder_baseline"), option("rejoinder_baseline_strict")
    url, dialect = option("rejoinder_url"), option("rejoinder_dialect")
    try:
        spec, certify = load_dialect(dialect), option("rejoinder_certify")
        required = every_feature(spec) if certify else read_features(option("rejoinder_require"), spec)
        baseline = read_baseline(file) if file else None
        with RunWriter(folder / "run.ndjson") as writer:
            recording = RunRecorder(folder, writer, ["pytest", *map(str, config.invocation_params.args)])
            target = recording.discover(
                url,
                key=os.environ.get(option("rejoinder_api_key_env")) or None,
                second_key=os.environ.get(option("rejoinder_second_key_env")) or None,
                model=option("rejoinder_model"),
                dialect=dialect,
            )
            plan = build_plan("full" if certify else option("rejoinder_plan"), spec, model=target.model)
            cases = {case.id: case.intent for case in plan.cases}
            asked = {"required": sorted(required)} if required else {}
            recording.header(target, url=url, model=target.model, dialect=dialect, plan=plan.name, cases=cases, **asked)
            budget = option("rejoinder_budget")
            result = examine(
                target,
                plan,
                writer,
                concurrency=option("rejoinder_concurrency"),
                budget=parse_budget(budget) if budget else None,
                deadline=option("rejoinder_timeout"),
                select=option("rejoinder_select"),
                required=required,
                baseline=baseline,
                strict=strict,
            )
            recording.footer(result.exit_code, **result.footer)
    except TargetError:
        return  # told in the footer, for every worker to read
    except RejoinderError as error:
        pytest.exit(f"rejoinder: {error}", returncode=2)


@pytest.fixture(scope="session")
def rejoinder_target(rejoinder_run: Run) -> dict[str, Any]:
    """The endpoint under examination: ``url`` (of the create endpoint), ``model`` (or ``None``) and ``dialect``."""
    return {name: rejoinder_run.header["target"].get(name) for name in ("url", "model", "dialect")}


@pytest.fixture(scope="session")
def rejoinder_ask(request: pytest.FixtureRequest, rejoinder_target: dict[str, Any]) -> Callable[..., Exchange]:
    """A function that sends a create request of one's own and returns the recorded :class:`Exchange`.

    ``rejoinder_ask(body)`` sends the JSON object ``body`` (or exact bytes) with the key and the time limit of
    the examination; the model of the target is added when the object names none. Nothing that the endpoint does raises.
    """
    import asyncio
    from itertools import count

    from rejoinder.wire.client import Client
    from rejoinder.wire.target import Target

    option = request.config.getoption
    target = Target(rejoinder_target["url"], rejoinder_target["model"])
    key = os.environ.get(option("rejoinder_api_key_env")) or None
    numbers = count(1)

    async def send(body: Any) -> Exchange:
        async with Client(target.url, key=key) as client:
            name = f"own{next(numbers):04d}"
            headers = (("content-type", "application/json"),)
            limit = option("rejoinder_timeout")
            return await client.send("POST", target.path(), body, headers=headers, id=name, case=name, deadline=limit)

    def ask(body: Any) -> Exchange:
        return asyncio.run(send(target.body(**body) if isinstance(body, dict) else body))

    return ask


@pytest.fixture(scope="session")
def rejoinder_verdict(request: pytest.FixtureRequest, rejoinder_run: Run) -> Verdict:
    """The verdict on the rule that the item is for."""
    verdicts = {verdict.rule: verdict for verdict in rejoinder_run.verdicts}
    verdict = verdicts.get(request.param)
    if verdict is None:
        pytest.fail(f"The run has no verdict on {request.param}: {' '.join(rejoinder_run.damage)}", pytrace=False)
    return verdict


def outdated(run: Run, rule: str) -> tuple[list[str], list[str]]:
    """Return what the run says of a rule's entries in the baseline: the unexpected passes, and the stale ones."""
    baseline = run.footer.get("baseline", {})
    passes, stale = (
        [
            f"{entry['rule']}@{entry['case']}: {entry['note']}"
            for entry in baseline.get(name, ())
            if entry["rule"] == rule
        ]
        for name in ("unexpected_passes", "stale")
    )
    return passes, stale


def describe(finding: Finding) -> str:
    """Return a finding in some lines: what, where, expected, actual, how often."""
    evidence = finding.evidence.to_json()
    where = f"event {evidence['event']} ({evidence.get('event_type')})" if "event" in evidence else "the reply"
    lines = [f"{evidence['message']}  [{finding.fingerprint}, {finding.count}x]"]
    lines.append(f"  at {where} of exchange {evidence['exchange']}, {evidence.get('pointer') or 'as a whole'}")
    lines += [f"  {name:<8} {evidence[name]!r}" for name in ("expected", "actual") if name in evidence]
    if finding.known is not None:
        lines.append(f"  known: {' '.join(finding.known.to_json().values())}")
    lines.append(f"  in {', '.join(finding.cases[:5])}{' ...' if len(finding.cases) > 5 else ''}")
    return "\n".join(lines)

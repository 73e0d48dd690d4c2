"""The pytest plugin: one item for each rule, judged on one check run.

``pytest --pyargs rejoinder.conformance --rejoinder-url URL`` runs the shipped items; own suites may use the fixtures
``rejoinder_run``, ``rejoinder_target`` and ``rejoinder_ask``. Without the option the plugin does nothing. Under xdist
one worker finds the endpoint and runs the plan, and the others read what it recorded.

Only the standard library, pytest and this package's data are imported here; the engine is imported when it is used.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import pytest

from rejoinder.formatting import one_line
from rejoinder.settings import RATE_LIMIT, REQUEST_OPTIONS, RESEND, parse_rate

if TYPE_CHECKING:
    from rejoinder.model.exchange import Exchange
    from rejoinder.model.runfile import Run
    from rejoinder.model.verdict import Verdict
    from rejoinder.wire.request_options import RequestOptions
    from rejoinder.wire.target import Target

Result = TypeVar("Result")

_OWN: Final = "own"
"""How the files begin in which rejoinder_ask records, one for each worker, until the session ends."""
_FOLDER: Final = pytest.StashKey[Path]()
_DIALECT: Final = pytest.StashKey[str]()
"""What is shown of the dialect when the session ends."""

_OPTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("url", {"metavar": "URL", "help": "Base URL of the endpoint to check, with or without /v1."}),
    ("model", {"metavar": "M", "help": "Model to test. Default: the first model that the endpoint lists."}),
    (
        "dialect",
        {
            "metavar": "D",
            "default": "northstar",
            "help": "Dialect to check against: northstar (vLLM-style Responses API, default), openai, openresponses, "
            "vllm, a dialect file, or auto to choose the one that fits the endpoint.",
        },
    ),
    (
        "extension",
        {
            "metavar": "DIR",
            "action": "append",
            "default": [],
            "help": "Folder with custom rules, checks and sandbox faults. Repeatable.",
        },
    ),
    (
        "plan",
        {
            "metavar": "P",
            "default": "quick",
            "help": "Test plan: smoke (~17 requests), quick (~190, default) or full (all contract branches).",
        },
    ),
    (
        "select",
        {"metavar": "RULES", "default": "*", "help": "Rules to check, such as SSE-* or ITM-05,USG-01. Default: all."},
    ),
    (
        "require",
        {
            "metavar": "FEATURES",
            "action": "append",
            "default": [],
            "help": "Features that the endpoint must support, such as streaming,images. Repeatable.",
        },
    ),
    ("certify", {"action": "store_true", "help": "Use plan full and require every feature of the dialect."}),
    ("concurrency", {"metavar": "N", "default": 4, "type": int, "help": "Concurrent requests. Default: 4."}),
    ("budget", {"metavar": "B", "help": "Stop after this budget, such as 200requests, 50ktokens or 10min."}),
    ("limits", {"action": "store_true", "help": "Also find the largest requests that the endpoint accepts."}),
    (
        "timeout",
        {"metavar": "S", "default": 120.0, "type": float, "help": "Timeout of one request in seconds. Default: 120."},
    ),
    ("resend", {"action": "store_true", "help": RESEND}),
    (
        "api-key-env",
        {
            "metavar": "NAME",
            "default": "REJOINDER_API_KEY",
            "help": "Environment variable with the API key. Default: REJOINDER_API_KEY.",
        },
    ),
    (
        "second-key-env",
        {
            "metavar": "NAME",
            "default": "REJOINDER_SECOND_API_KEY",
            "help": "Environment variable with the API key of a second tenant, used to test tenant isolation. Default: "
            "REJOINDER_SECOND_API_KEY.",
        },
    ),
    *(
        (
            name.replace("_", "-"),
            {"metavar": row.metavar, "help": f"{row.help} Repeatable.", "action": "append", "default": []}
            if row.multiple
            else {"metavar": row.metavar, "help": row.help},
        )
        for name, row in REQUEST_OPTIONS.items()
    ),
    ("rate-limit", {"metavar": RATE_LIMIT.metavar, "help": RATE_LIMIT.help}),
    (
        "baseline",
        {"metavar": "FILE", "help": "Baseline file of known failures, which are reported as known and do not fail."},
    ),
    (
        "baseline-strict",
        {"action": "store_true", "help": "Fail if an entry of the baseline did not fail or is stale."},
    ),
    ("out", {"metavar": "DIR", "help": "Folder for the run file."}),
)


def _request_options(config: pytest.Config) -> RequestOptions:
    """Return what the options add to every request."""
    from rejoinder.wire.request_options import read_request_options

    rate = config.getoption("rejoinder_rate_limit")
    return read_request_options(
        **{name: config.getoption(f"rejoinder_{name}") for name in REQUEST_OPTIONS},
        rate_limit=parse_rate(rate) if rate else None,
        keys=[os.environ.get(config.getoption(f"rejoinder_{name}")) for name in ("api_key_env", "second_key_env")],
    )


def _dialects(config: pytest.Config) -> list[str]:
    """Return the dialects that may be checked against: the one that the option names, or all for ``auto``."""
    from rejoinder.contract import dialect_names
    from rejoinder.wire.dialect_choice import AUTO

    name = config.getoption("rejoinder_dialect")
    return dialect_names() if name == AUTO else [name]


class RejoinderWarning(UserWarning):
    """A SHOULD rule failed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all with the prefix ``--rejoinder-``."""
    group = parser.getgroup("rejoinder", "conformance of a /v1/responses endpoint")
    for name, settings in _OPTIONS:
        group.addoption(f"--rejoinder-{name}", dest=f"rejoinder_{name.replace('-', '_')}", **settings)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that names a rule, and check the options."""
    config.addinivalue_line("markers", "rejoinder_rule(id): the rule that a test checks")

    file, folders = config.getoption("rejoinder_baseline"), config.getoption("rejoinder_extension")
    if file or folders or config.getoption("rejoinder_url"):
        from rejoinder.conformance.baseline import read_baseline
        from rejoinder.conformance.extending import use_extensions
        from rejoinder.contract import load_dialect
        from rejoinder.errors import RejoinderError

        try:
            use_extensions(folders or None)
            for name in _dialects(config):
                load_dialect(name)
            _request_options(config)
            if file:
                read_baseline(file)
        except RejoinderError as error:
            raise pytest.UsageError(f"rejoinder: {error}") from error
    if config.getoption("rejoinder_baseline_strict") and not file:
        raise pytest.UsageError(
            "rejoinder: --rejoinder-baseline-strict needs a baseline file. Add --rejoinder-baseline FILE."
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that uses ``rejoinder_verdict`` one item for each selected rule, in catalogue order."""
    if "rejoinder_verdict" not in metafunc.fixturenames:
        return
    config = metafunc.config
    if not config.getoption("rejoinder_url"):
        raise pytest.UsageError("rejoinder: The endpoint is missing. Add --rejoinder-url URL.")
    from rejoinder.conformance.judgement import select_rules
    from rejoinder.contract import load_dialect
    from rejoinder.model.verdict import Level

    # Which dialect fits is known once the endpoint was found, which is after the items are collected.
    dialects = [load_dialect(name) for name in _dialects(config)]
    rules = [
        rule
        for rule in select_rules(config.getoption("rejoinder_select"))
        if any(dialect.level_of(rule) is not Level.OFF for dialect in dialects)
    ]
    if not rules:
        raise pytest.UsageError(
            f"rejoinder: --rejoinder-select {config.getoption('rejoinder_select')} matches no rule of "
            f"{' or '.join(dialect.name for dialect in dialects)}. `rejoinder rules` lists them."
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


class _Session:
    """What the fixtures of one session share: its options, and a folder that all workers of xdist see."""

    def __init__(self, request: pytest.FixtureRequest, temporary: pytest.TempPathFactory) -> None:
        self.config = request.config
        self.session = request.session
        worker = getattr(request.config, "workerinput", None)
        base = temporary.getbasetemp()
        self.shared = base if worker is None else base.parent
        self.worker = "" if worker is None else f"-{worker['workerid']}"
        out = self.option("out")
        self.folder = Path(out) if out else self.shared / "rejoinder"
        self.command = ["pytest", *map(str, self.config.invocation_params.args)]

    def option(self, name: str) -> Any:
        return self.config.getoption(f"rejoinder_{name}")

    def key(self, option: str) -> str | None:
        return os.environ.get(self.option(option)) or None

    def once(self, name: str, work: Callable[[], Result]) -> Result:
        """Return what ``work`` returned in whichever worker came first; what ends its session ends all."""
        from filelock import FileLock

        from rejoinder.errors import RejoinderError

        kept = self.shared / f"rejoinder.{name}"
        with FileLock(self.shared / f"{kept.name}.lock"):
            if not kept.exists():
                try:
                    result: Result | RejoinderError = _outside_loop(work)
                except RejoinderError as error:
                    result = RejoinderError(error.message, error.hint)  # without evidence, which need not pickle
                kept.write_bytes(pickle.dumps(result))
            found: Result | RejoinderError = pickle.loads(kept.read_bytes())
        if isinstance(found, RejoinderError):
            self.end(f"rejoinder: {found}", 2)
        return found

    def end(self, message: str, code: int) -> NoReturn:
        """End the session with a message and an exit code.

        A worker of xdist that exits counts as crashed and is replaced. So it asks for the end, which comes with the
        message and exit code 2, and skips the item that cannot be tested.
        """
        if self.worker:
            self.session.shouldstop = message
            pytest.skip(message)
        pytest.exit(message, returncode=code)

    def find(self) -> tuple[Target, tuple[Exchange, ...]]:
        """Return the endpoint, with its keys, and the exchanges that finding it took; it is looked for once."""
        from rejoinder.model.runfile import RunWriter
        from rejoinder.recorder import RunRecorder
        from rejoinder.wire.request_options import RequestOptions

        def look() -> tuple[Target, tuple[Exchange, ...]]:
            file = self.folder / "run.ndjson"
            with RunWriter(file) as writer:  # it holds what was gathered when there is no endpoint
                recorder = RunRecorder(self.folder, writer, self.command)
                target = recorder.discover(
                    self.option("url"),
                    key=self.key("api_key_env"),
                    second_key=self.key("second_key_env"),
                    request=_request_options(self.config),
                    model=self.option("model"),
                    dialect=self.option("dialect"),
                )
            file.unlink()
            # The result is kept in a file, so it must not hold a credential.
            return replace(target, key=None, second_key=None, request=RequestOptions()), recorder.found

        if not self.option("url"):
            self.end("rejoinder: The endpoint is missing. Add --rejoinder-url URL.", 4)
        target, found = self.once("target", look)
        request = _request_options(self.config)
        key, second_key = self.key("api_key_env"), self.key("second_key_env")
        return replace(target, request=request, key=key, second_key=second_key), found

    def check(self) -> None:
        """Send the plan, judge the replies and write the run file."""
        from rejoinder.conformance.baseline import read_baseline
        from rejoinder.conformance.running.endpoint import record_plan
        from rejoinder.contract import every_feature, load_dialect, read_features
        from rejoinder.model.runfile import RunWriter
        from rejoinder.recorder import RunRecorder
        from rejoinder.settings import parse_budget

        target, found = self.find()
        dialect, certify = load_dialect(target.dialect), self.option("certify")
        file, budget = self.option("baseline"), self.option("budget")
        with RunWriter(self.folder / "run.ndjson") as writer:
            record_plan(
                RunRecorder(self.folder, writer, self.command, found=found),
                target,
                "full" if certify else self.option("plan"),
                concurrency=self.option("concurrency"),
                budget=parse_budget(budget) if budget else None,
                deadline=self.option("timeout"),
                resend=self.option("resend"),
                limits=self.option("limits"),
                select=self.option("select"),
                required=every_feature(dialect) if certify else read_features(self.option("require"), dialect),
                baseline=read_baseline(file) if file else None,
                strict=self.option("baseline_strict"),
            )


def _outside_loop(work: Callable[[], Result]) -> Result:
    """Call what starts an event loop; in another thread if a loop runs in this one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.fixture(scope="session")
def _rejoinder_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> _Session:
    session = _Session(request, tmp_path_factory)
    request.config.stash[_FOLDER] = session.folder
    return session


@pytest.fixture(scope="session")
def rejoinder_run(_rejoinder_session: _Session) -> Run:
    """The recorded and judged check run on the endpoint, made once for the whole session."""
    from rejoinder.model.runfile import read_run

    _rejoinder_session.find()
    _rejoinder_session.once("run", _rejoinder_session.check)
    run = read_run(_rejoinder_session.folder)
    config = _rejoinder_session.config
    if word := _about_dialect(run):
        # A worker of xdist has no terminal.
        getattr(config, "workeroutput", {})["rejoinder_dialect"] = config.stash[_DIALECT] = word
    return run


@pytest.fixture(scope="session")
def rejoinder_target(_rejoinder_session: _Session) -> dict[str, Any]:
    """The endpoint: ``url`` (of the create endpoint), ``model`` (or ``None``) and ``dialect``. No plan is sent."""
    target, _ = _rejoinder_session.find()
    return {"url": target.url, "model": target.model, "dialect": target.dialect}


class RequestSender:
    """Sends custom create requests to the endpoint, and records them; see the fixture ``rejoinder_ask``."""

    def __init__(self, target: Target, deadline: float, prefix: str, record: Callable[[Exchange], None]) -> None:
        self._target = target
        self._deadline = deadline
        self._ids = (f"{prefix}{number:04d}" for number in count(1))
        self._record = record

    def __call__(self, body: Any) -> Exchange:
        """Send a body and return the recorded exchange; also inside a running event loop, which waits for it."""
        return _outside_loop(lambda: asyncio.run(self.send(body)))

    async def send(self, body: Any) -> Exchange:
        """Send a body and return the recorded exchange; ``await rejoinder_ask.send(body)`` in async tests.

        An object gets the target's model when it names none, and what ``--rejoinder-extra-body`` adds; ``bytes`` that
        are no JSON object are sent as they are. Nothing that the endpoint does raises.
        """
        from rejoinder.wire.client import Client

        target, name = self._target, next(self._ids)
        async with Client(target.url, key=target.key, options=target.client_options()) as client:
            exchange = await client.send(
                "POST",
                target.path(),
                target.fit(target.body(**body) if isinstance(body, dict) else body, keeps=("input", "stream")),
                headers=(("content-type", "application/json"),),
                id=name,
                case=name,
                deadline=self._deadline,
            )
        self._record(exchange)
        return exchange


@pytest.fixture(scope="session")
def rejoinder_ask(_rejoinder_session: _Session) -> Iterator[RequestSender]:
    """A function that sends one custom create request and returns the recorded :class:`Exchange`.

    ``rejoinder_ask(body)`` sends the JSON object ``body`` (or exact bytes) with the key and the time limit of the
    options; ``await rejoinder_ask.send(body)`` does so in async tests. No plan is sent for it. The exchanges stand in
    the session's run file when it has ended.
    """
    from rejoinder.model.runfile import RunWriter
    from rejoinder.recorder import RunRecorder

    session = _rejoinder_session
    target, found = session.find()
    with RunWriter(session.folder / f"{_OWN}{session.worker}.ndjson") as writer:
        recorder = RunRecorder(session.folder, writer, session.command, found=found)
        recorder.header(target, url=target.url, model=target.model, dialect=target.dialect)
        yield RequestSender(target, session.option("timeout"), f"own{session.worker}", writer.exchange)
        recorder.footer(0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep what a worker of xdist said of the dialect."""
    if word := getattr(node, "workeroutput", {}).get("rejoinder_dialect"):
        node.config.stash[_DIALECT] = word


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show why rejoinder chose the dialect, or which one would fit the endpoint better."""
    if word := config.stash.get(_DIALECT, ""):
        terminalreporter.write_line(f"rejoinder: {word}")


def _about_dialect(run: Run) -> str:
    """Return why rejoinder chose the dialect of a run, or which one would fit better; empty for neither."""
    from rejoinder.wire.dialect_choice import Choice, better_than

    target = run.header.target
    if target.dialect_reason:
        return Choice(target.dialect, target.dialect_reason).sentence
    better = better_than(target.dialect, run.exchanges)
    return better.hint if better is not None else ""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Move what ``rejoinder_ask`` recorded, in whichever worker, into the run file."""
    config = session.config
    out = config.getoption("rejoinder_out")
    folder = Path(out) if out else config.stash.get(_FOLDER, None)
    if folder is not None and not hasattr(config, "workerinput"):
        _move_own(folder)


def _move_own(folder: Path) -> None:
    """Put the exchanges of the files ``own*.ndjson`` before the footer of ``run.ndjson``, which need not be there.

    In the run file of a plan they are tagged as not judged, since its verdicts are not on them.
    """
    from rejoinder.model.tags import Tag

    own, run = sorted(folder.glob(f"{_OWN}*.ndjson")), folder / "run.ndjson"
    if not own:
        return
    alone = not run.exists()
    base = _records(own[0] if alone else run)
    known = {record.get("id") for record in base}
    kept = [record for record in base if record["kind"] != "footer"]
    for record in (record for file in own for record in _records(file) if record["kind"] == "exchange"):
        if record["id"] not in known:
            known.add(record["id"])
            kept.append(record if alone else {**record, "tags": [*record["tags"], Tag.UNJUDGED]})
    kept += [record for record in base if record["kind"] == "footer"]
    whole = run.with_suffix(".part")
    whole.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in kept), "utf-8")
    whole.replace(run)
    for file in own:
        file.unlink()


def _records(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a run file; those that were cut short are left out."""
    found = []
    for line in file.read_text("utf-8").splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


@pytest.fixture(scope="session")
def rejoinder_verdict(request: pytest.FixtureRequest, rejoinder_run: Run) -> Verdict:
    """The verdict on the rule that the item is for."""
    from rejoinder.contract import load_dialect, load_rules
    from rejoinder.model.verdict import Level

    verdicts = {verdict.rule: verdict for verdict in rejoinder_run.verdicts}
    verdict = verdicts.get(request.param)
    if (
        verdict is None
        and load_dialect(rejoinder_run.header.target.dialect).level_of(load_rules()[request.param]) is Level.OFF
    ):
        pytest.skip(f"The dialect {rejoinder_run.header.target.dialect} does not have the rule.")
    if verdict is None:
        pytest.fail(
            f"The run file has no verdict on {request.param}: {one_line(' '.join(rejoinder_run.damage))}", pytrace=False
        )
    return verdict


def outdated(run: Run, rule: str) -> tuple[list[str], list[str]]:
    """Return what the run says of a rule's entries in the baseline: the unexpected passes, and the stale ones."""
    found = run.footer.baseline if run.footer else None
    if found is None:
        return [], []
    passes, stale = (
        [one_line(f"{entry.rule}@{entry.case}: {entry.note}", 400) for entry in entries if entry.rule == rule]
        for entries in (found.unexpected_passes, found.stale)
    )
    return passes, stale

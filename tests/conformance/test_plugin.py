"""The pytest plugin: items, outcomes, xdist, and silence without its option."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rejoinder.contract import load_dialect, load_rules
from rejoinder.model.exchange import Request
from rejoinder.model.runfile import read_run
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level
from rejoinder.sandbox import FAULTS, Sandbox, running
from rejoinder.sandbox.endpoint.reply import JSON_HEADERS, Piece, Reply

pytestmark = pytest.mark.slow(4)

pytest_plugins = ["pytester"]

ITEMS = ("--pyargs", "rejoinder.conformance", "-p", "no:locust", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def clean() -> Iterator[str]:
    with running(Sandbox()) as url:
        yield url


def test_a_clean_endpoint_passes(pytester: pytest.Pytester, clean: str) -> None:
    result = pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", clean, "--rejoinder-plan", "smoke", "-W", "error")
    outcomes = result.parseoutcomes()
    assert result.ret == 0, result.stdout.str()
    assert outcomes["passed"] > 70
    assert "failed" not in outcomes


def test_findings_fail_their_item_and_stand_in_junit(pytester: pytest.Pytester) -> None:
    with running(Sandbox(faults=["sequence-numbers-missing"])) as url:
        result = pytester.runpytest_subprocess(
            *ITEMS,
            "--rejoinder-url",
            url,
            "--rejoinder-plan",
            "smoke",
            "--junitxml",
            "j.xml",
            "--rejoinder-out",
            "kept",
        )
    assert result.ret == 1
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*test_rule[[]EVT-02[]]*", "*sequence_number*"])
    cases = list(ElementTree.parse(pytester.path / "j.xml").iter("testcase"))
    rules = [prop.get("value") for prop in ElementTree.parse(pytester.path / "j.xml").iter("property")]
    assert len(cases) == sum(load_dialect().level_of(rule) is not Level.OFF for rule in load_rules().values())
    assert "EVT-02" in rules
    assert (pytester.path / "kept" / "run.ndjson").exists()


def test_a_should_is_a_warning(pytester: pytest.Pytester) -> None:
    with running(Sandbox(faults=[next(fault.id for fault in FAULTS.values() if fault.breaks == ("ITM-07",))])) as url:
        result = pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", url, "--rejoinder-plan", "smoke")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*RejoinderWarning: ITM-07 (SHOULD)*"])


def test_xdist_examines_once(pytester: pytest.Pytester) -> None:
    sandbox = Sandbox()
    with running(sandbox) as url:
        result = pytester.runpytest_subprocess(
            *ITEMS, "--rejoinder-url", url, "--rejoinder-plan", "smoke", "-n", "2", "--rejoinder-select", "EVT-*,USG-*"
        )
        counts = sandbox.counts
    assert result.ret == 0, result.stdout.str()
    alone = Sandbox()
    with running(alone) as url:
        pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", url, "--rejoinder-plan", "smoke")
        assert counts["started"] == alone.counts["started"]


def test_selection_and_order(pytester: pytest.Pytester, clean: str) -> None:
    result = pytester.runpytest_subprocess(
        *ITEMS, "--rejoinder-url", clean, "--rejoinder-select", "USG-*", "--collect-only", "-q"
    )
    lines = [line for line in result.outlines if "test_rule[" in line]
    wanted = [rule for rule in load_rules().values() if rule.family == "USG"]
    in_force = [rule.id for rule in wanted if load_dialect().level_of(rule) is not Level.OFF]
    assert [line.partition("[")[2] for line in lines] == [f"{rule}]" for rule in in_force]
    assert all(rule.isascii() for rule in load_rules())


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_an_endpoint_that_is_not_there_ends_the_session(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    result = pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", "http://127.0.0.1:9", *options)
    assert result.ret == 2
    shown = result.stdout.str() + result.stderr.str()
    assert shown.count("rejoinder: Cannot connect to 127.0.0.1:9") == 1
    assert "crashed" not in shown
    assert "Traceback" not in shown
    assert "INTERNALERROR" not in shown


@pytest.mark.parametrize("options", [(), ("--rejoinder-url", "http://x", "--rejoinder-select", "NO-*")])
def test_usage_errors_are_reported(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    result = pytester.runpytest_subprocess(*ITEMS, *options)
    assert result.ret not in (0, 1)
    assert "rejoinder: " in result.stdout.str() + result.stderr.str()


def test_other_suites_are_left_alone_and_may_use_the_fixtures(pytester: pytest.Pytester, clean: str) -> None:
    pytester.makepyfile("def test_mine(): pass")
    assert pytester.runpytest_subprocess("-p", "no:locust").ret == 0
    pytester.makepyfile(
        """
        def test_endpoint(rejoinder_run, rejoinder_target):
            assert rejoinder_target["model"] == "parrot"
            assert not [v for v in rejoinder_run.verdicts if v.status == "fail"]
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:locust", "--rejoinder-url", clean, "--rejoinder-plan", "smoke")
    assert result.ret == 0, result.stdout.str()


def test_the_shipped_items_lie_in_the_package() -> None:
    import rejoinder.conformance.plugin as plugin

    assert (Path(plugin.__file__).with_name("test_rules.py")).exists()


def smoke(pytester: pytest.Pytester, url: str, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", url, "--rejoinder-plan", "smoke", *options)


def known(pytester: pytest.Pytester, *rules: str, case: str = "*") -> tuple[str, ...]:
    entries = [f'[[known]]\nrule = "{rule}"\ncase = "{case}"\nreason = "not yet"\n' for rule in rules]
    (pytester.path / "known.toml").write_text("".join(entries))
    return "--rejoinder-baseline", "known.toml"


@pytest.fixture(scope="module")
def broken() -> Iterator[str]:
    with running(Sandbox(faults=["sequence-numbers-missing"])) as url:
        yield url


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_known_failure_is_an_expected_one(pytester: pytest.Pytester, broken: str, workers: str) -> None:
    options = (
        *known(pytester, "EVT-02"),
        "--rejoinder-baseline-strict",
        "-n",
        workers,
        "--junitxml",
        "j.xml",
        "-rx",
        "-v",
    )
    result = smoke(pytester, broken, *options)
    assert result.ret == 0, result.stdout.str()
    assert result.parseoutcomes()["xfailed"] == 1
    result.stdout.fnmatch_lines(["KNOWN *test_rule[[]EVT-02[]] - known failure: not yet"])
    [case] = [c for c in ElementTree.parse(pytester.path / "j.xml").iter("testcase") if "EVT-02" in c.attrib["name"]]
    properties: dict[str, set[str]] = {}
    for entry in case.iter("property"):
        properties.setdefault(entry.attrib["name"], set()).add(entry.attrib["value"])
    assert properties["rule"] == {"EVT-02"}
    assert properties["level"] == {"MUST"}
    assert properties["verdict"] == {"known"}
    assert properties["known"] == {"not yet"}
    assert int(min(properties["judged"])) >= int(min(properties["failed"])) > 0
    assert all(len(mark) == 12 for mark in properties["fingerprint"])


def test_new_cases_of_a_known_failure_fail(pytester: pytest.Pytester, broken: str) -> None:
    result = smoke(pytester, broken, *known(pytester, "EVT-02", case="basic.stream"))
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*test_rule[[]EVT-02[]]*", "*known failure: not yet*"])


def test_an_unexpected_pass_is_reported_and_fails_when_strict(pytester: pytest.Pytester, clean: str) -> None:
    options = known(pytester, "EVT-02")
    result = smoke(pytester, clean, *options, "-rX")
    assert result.ret == 0
    assert result.parseoutcomes()["xpassed"] == 1
    result = smoke(pytester, clean, *options, "--rejoinder-baseline-strict")
    assert result.ret == 1
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*XPASS(strict)*EVT-02@[*]: Tested in *did not fail*"])


def test_a_bad_baseline_ends_the_session(pytester: pytest.Pytester, clean: str) -> None:
    result = smoke(pytester, clean, *known(pytester, "EVT-2"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 'is "EVT-2", which is not a rule' in result.stdout.str() + result.stderr.str()
    assert smoke(pytester, clean, "--rejoinder-baseline-strict").ret not in (0, 1)


def test_one_item_for_each_rule_whatever_runs_them(pytester: pytest.Pytester, broken: str) -> None:
    options = (
        "--pyargs",
        "rejoinder.conformance",
        "-p",
        "no:locust",
        "--rejoinder-url",
        broken,
        "--rejoinder-plan",
        "smoke",
    )
    collected = pytester.runpytest_subprocess(*options, "--collect-only", "-q", "-k", "EVT").outlines
    again = pytester.runpytest_subprocess(*options, "--collect-only", "-q", "-k", "EVT").outlines
    items = [line for line in collected if "test_rule[" in line]
    assert items == [line for line in again if "test_rule[" in line]
    assert len(items) == len(set(items)) > 5
    assert all("EVT-" in item and item.isascii() for item in items)
    spread = pytester.runpytest_subprocess(*options, "-n", "2", "-k", "EVT", "-v")
    ran = {line.split()[-1] for line in spread.outlines if "] " in line and "test_rule[" in line and "%" in line}
    assert {item.rpartition("::")[2] for item in items} == {item.rpartition("::")[2] for item in ran}
    assert spread.parseoutcomes()["failed"] == 1
    last = pytester.runpytest_subprocess(*options, "--lf", "-v")
    assert last.parseoutcomes()["failed"] == 1
    assert "passed" not in last.parseoutcomes()
    last.stdout.fnmatch_lines(["*test_rule[[]EVT-02[]] FAILED*"])


EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "test_my_endpoint.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the documentation is not beside the tests")
def test_the_worked_example_of_the_documentation(pytester: pytest.Pytester, clean: str, broken: str) -> None:
    pytester.makepyfile(test_my_endpoint=EXAMPLE.read_text())
    options = ("-p", "no:locust", "-p", "no:cacheprovider", "-W", "error", "--rejoinder-plan", "smoke")
    result = pytester.runpytest_subprocess(*options, "--rejoinder-url", clean)
    assert result.ret == 0, result.stdout.str()
    assert result.parseoutcomes() == {"passed": 5}
    result = pytester.runpytest_subprocess(*options, "--rejoinder-url", broken)
    assert result.parseoutcomes() == {"passed": 4, "failed": 1}, result.stdout.str()


def run_tests(pytester: pytest.Pytester, url: str, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:locust", "-W", "error", "--rejoinder-url", url, *options)


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_request_of_ones_own_is_one_request(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    pytester.makepyfile(
        """
        import pytest
        from rejoinder.conformance import assert_conforms

        @pytest.mark.parametrize("text", ["one", "two", "three"])
        def test_mine(rejoinder_ask, rejoinder_target, text):
            exchange = rejoinder_ask({"input": text})
            assert exchange.json()["model"] == rejoinder_target["model"] == "parrot"
            assert_conforms(exchange)
        """
    )
    sandbox = Sandbox()
    with running(sandbox) as url:
        result = run_tests(pytester, url, "--rejoinder-out", "kept", *options)
    assert result.ret == 0, result.stdout.str()
    assert sandbox.counts["started"] == 1 + 3  # one finds the endpoint
    run = read_run(pytester.path / "kept")
    mine = [exchange for exchange in run.exchanges if Tag.UNJUDGED not in exchange.tags]
    assert {exchange.request.json()["input"] for exchange in mine} == {"one", "two", "three"}
    assert len({exchange.id for exchange in run.exchanges}) == len(run.exchanges)
    assert [file.name for file in (pytester.path / "kept").iterdir()] == ["run.ndjson"]
    assert not run.damage
    assert not run.truncated


def test_requests_of_ones_own_stand_beside_those_of_the_plan(pytester: pytest.Pytester, clean: str) -> None:
    pytester.makepyfile(
        """
        def test_mine(rejoinder_ask, rejoinder_run):
            assert rejoinder_ask({"input": "mine", "temperature": "hot"}).status == 400
            assert not [verdict for verdict in rejoinder_run.verdicts if verdict.status == "fail"]
        """
    )
    result = run_tests(pytester, clean, "--rejoinder-plan", "smoke", "--rejoinder-out", "kept")
    assert result.ret == 0, result.stdout.str()
    run = read_run(pytester.path / "kept")
    [mine] = [exchange for exchange in run.exchanges if exchange.id.startswith("own")]
    assert Tag.UNJUDGED in mine.tags  # the recorded verdicts are not on it
    assert run.verdicts
    assert not run.truncated


def test_requests_of_ones_own_in_async_tests(pytester: pytest.Pytester, clean: str) -> None:
    pytester.makepyfile(
        """
        import asyncio

        def test_async(rejoinder_ask):
            async def work():
                one, other = await asyncio.gather(*(rejoinder_ask.send({"input": text}) for text in "ab"))
                assert one.status == other.status == rejoinder_ask({"input": "c"}).status == 200
                assert one.id != other.id
            asyncio.run(work())

        def test_bytes(rejoinder_ask):
            assert rejoinder_ask(b'{"input": ').status == 400
        """
    )
    result = run_tests(pytester, clean)
    assert result.ret == 0, result.stdout.str()


def test_fixtures_without_an_endpoint_end_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(rejoinder_ask): rejoinder_ask({})")
    result = run_tests(pytester, "http://127.0.0.1:9", "--rejoinder-out", "kept")
    assert result.ret == 2
    assert "Cannot connect to 127.0.0.1:9" in result.stdout.str() + result.stderr.str()
    footer = read_run(pytester.path / "kept").footer
    assert footer
    assert "Cannot connect" in footer.problem
    result = pytester.runpytest_subprocess("-p", "no:locust")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--rejoinder-url" in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--rejoinder-dialect", "nothern", '"nothern" is not a dialect. Did you mean northstar'),
        ("--rejoinder-extension", "nowhere", "There is no extension folder "),
    ],
)
def test_bad_options_end_the_session(
    pytester: pytest.Pytester, clean: str, option: str, value: str, words: str
) -> None:
    result = smoke(pytester, clean, option, value)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"rejoinder: {words}" in result.stdout.str() + result.stderr.str()


def test_rules_of_an_extension_have_items(pytester: pytest.Pytester, clean: str) -> None:
    pytester.mkdir("acme")
    pytester.mkdir("acme/rules")
    for name, text in {
        "extension.toml": 'name = "acme"\n[families]\nACME = "Acme"\n',
        "rules/acme.toml": '[[rule]]\nid = "ACME-01"\ntitle = "t"\nstatement = "There is a trace."\nlevel = "MUST"\n'
        'features = []\nargument = "a"\n',
        "checks.py": "from rejoinder.conformance import Problem, Subject, check\n"
        "@check('ACME-01', Subject.PLAIN)\ndef traced(view):\n    yield Problem('No trace.')\n",
    }.items():
        (pytester.path / "acme" / name).write_text(text)
    options = ("--rejoinder-extension", "acme", "--rejoinder-select", "ACME-*", "-n", "2")
    result = smoke(pytester, clean, *options)
    assert result.parseoutcomes() == {"failed": 1}, result.stdout.str()
    result.stdout.fnmatch_lines(["*ACME-01 (MUST): There is a trace.*", "*No trace.*"])


class WantsMore(Sandbox):
    """A sandbox that takes only requests with a header, a key in another header, and a field of its own."""

    def handle(self, request: Request) -> Reply:
        headers = {name.lower(): value for name, value in request.headers}
        body = request.json() if request.method == "POST" and request.path.endswith("/responses") else {"metadata": {}}
        complete = (
            headers.get("x-team") == "blue"
            and headers.get("x-tenant-token") == "tenant-token-0123456789"
            and headers.get("api-key") in ("sk-secret-0123456789", "rejoinder-wrong-key")
            and (not isinstance(body, dict) or "metadata" in body)
        )
        if headers.get("api-key") == "rejoinder-wrong-key" or not complete:
            error = {"message": "Not like this.", "type": "authentication_error", "code": None, "param": None}
            data = json.dumps({"error": error}).encode()
            return Reply(401 if complete else 400, JSON_HEADERS, iter([Piece(0.0, data)]))
        return super().handle(request)


def test_what_is_added_to_every_request(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REJOINDER_API_KEY", "sk-secret-0123456789")
    monkeypatch.setenv("TENANT", "tenant-token-0123456789")
    pytester.makepyfile(
        """
        def test_ask(rejoinder_ask):
            exchange = rejoinder_ask({"input": "Hi"})
            assert exchange.status == 200
            assert exchange.request.json()["metadata"] == {"a": "b"}

        def test_run(rejoinder_run):
            assert not [v.rule for v in rejoinder_run.verdicts if v.status == "fail"]
        """
    )
    added = (
        *("--rejoinder-extra-body", '{"metadata": {"a": "b"}}', "--rejoinder-header", "X-Team: blue"),
        *("--rejoinder-header-env", "X-Tenant-Token=TENANT", "--rejoinder-api-key-header", "api-key"),
        *("--rejoinder-rate-limit", "200/s", "--rejoinder-plan", "smoke", "--rejoinder-out", "kept"),
    )
    options = ("-p", "no:locust", "-p", "no:cacheprovider")
    with running(WantsMore()) as url:
        result = pytester.runpytest_subprocess(*options, "-n", "2", "--rejoinder-url", url, *added)
        refused = pytester.runpytest_subprocess(*options, "--rejoinder-url", url, *added[2:])
    assert result.ret == 0, result.stdout.str()
    assert "tenant-token-0123456789" not in (pytester.path / "kept" / "run.ndjson").read_text("utf-8")
    assert refused.ret == 2
    assert "--extra-body" in refused.stdout.str()


def test_what_cannot_be_added_is_an_error_of_usage(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(
        *ITEMS, "--rejoinder-url", "http://127.0.0.1:9", "--rejoinder-header", "Authorization: Bearer x"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--header-env Authorization=VARIABLE" in result.stderr.str()


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_the_dialect_that_fits_is_chosen_and_shown(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    select = ("--rejoinder-select", "RSP-05,SSE-08,PAR-15", "--rejoinder-plan", "smoke")
    with running(Sandbox("openresponses")) as url:
        result = pytester.runpytest_subprocess(
            *ITEMS, *workers, "--rejoinder-url", url, "--rejoinder-dialect", "auto", *select, "--rejoinder-out", "kept"
        )
    assert result.ret == 0, result.stdout.str()
    # PAR-15 is a rule of another dialect.
    assert result.parseoutcomes() == {"passed": 2, "skipped": 1}, result.stdout.str()
    result.stdout.fnmatch_lines(["rejoinder: Dialect openresponses (*): the response object has all 31 fields *"])
    assert read_run(pytester.path / "kept").header.target.dialect == "openresponses"


def test_another_dialect_that_fits_better_is_named(pytester: pytest.Pytester) -> None:
    select = ("--rejoinder-select", "HTTP-03", "--rejoinder-plan", "smoke")
    with running(Sandbox("openresponses")) as url:
        result = pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", url, *select)
    result.stdout.fnmatch_lines(["rejoinder: Hint: * --dialect openresponses fits: openresponses (*"])

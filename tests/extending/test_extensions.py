"""Extensions: rules, checks, faults and cases of others run everywhere, and bad ones are told in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rejoinder import extensions as module
from rejoinder.conformance import use_extensions
from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judgement import broken_rules, select_rules
from rejoinder.conformance.proof.kill import kill_matrix
from rejoinder.conformance.proof.quiet import quiet_matrix
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import load_dialect, load_families, load_features, load_rules
from rejoinder.errors import ExtensionError
from rejoinder.extensions import VARIABLE, extensions, set_extensions
from rejoinder.model.header import ExtensionRecord, ExtensionRule
from rejoinder.model.runfile import read_run
from rejoinder.model.samples import LoadSample
from rejoinder.model.verdict import Level
from rejoinder.reports import render_html
from rejoinder.sandbox import Sandbox, load_faults, load_freedoms, post, running

Write = Callable[..., Path]

CASES = """
from rejoinder.conformance import PlannedCase, RequestSpec


def cases(context, plan):
    body = context.body(input="Where am I?", stream=True)
    yield PlannedCase("acme.route", "A stream says its route.", (RequestSpec("stream", body),))
"""


def rejoinder(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rejoinder", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_rules_checks_and_faults_are_among_the_shipped_ones(extension: Write) -> None:
    before = len(load_rules())
    use_extensions([extension()])
    assert [rule.id for rule in select_rules("ACME-*")] == ["ACME-01", "ACME-02"]
    assert len(load_rules()) == before + 2
    assert load_families()["ACME"] == "Acme gateway"
    assert [check.doc for check in checks_by_rule()["ACME-01"]] == [
        "The header x-acme-trace of every plain reply is looked for."
    ]
    assert load_faults()["acme-untraced"].breaks == ("ACME-01",)
    assert load_dialect("openai").level_of(load_rules()["ACME-01"]) is Level.OFF
    os.environ.pop(module.VARIABLE)
    extensions.cache_clear()
    assert len(load_rules()) == before
    assert "ACME-01" not in checks_by_rule()
    assert "acme-untraced" not in load_faults()


IN_FORCE = (Level.MUST, Level.SHOULD)


def acme_rules(sandbox: Sandbox, dialect: str = "northstar") -> list[str]:
    """Return the rules of the extension that a plain and a streamed reply break."""
    replies = [sandbox.exchange(post({"input": "Hi", "stream": streamed})) for streamed in (False, True)]
    broken = [rule for reply in replies for level in IN_FORCE for rule in broken_rules(reply, dialect, level=level)]
    return [rule for rule in broken if rule.startswith("ACME")]


def test_checks_judge_and_the_sandbox_keeps_the_rules_or_breaks_them(extension: Write) -> None:
    use_extensions([extension()])
    assert acme_rules(Sandbox()) == []
    assert acme_rules(Sandbox(faults=["acme-untraced"])) == ["ACME-01"]
    assert acme_rules(Sandbox(faults=["acme-untraced"]), "openai") == []  # the rule is off there
    assert acme_rules(Sandbox(faults=["acme-unrouted"])) == ["ACME-02"]


def test_the_kill_matrix_proves_the_faults(extension: Write) -> None:
    use_extensions([extension({"cases.py": CASES})])
    rows = list(kill_matrix("smoke", ["northstar"], ["acme-untraced", "acme-unrouted"]))
    assert {row.subject: row.good for row in rows if not row.clean} == {"acme-untraced": True, "acme-unrouted": True}
    assert not [row for row in rows if row.clean and any(rule.startswith("ACME") for rule in row.fired)]


FREEDOMS = """
from rejoinder.sandbox import Freedom
from .names import TRACE

FREEDOMS = [
    Freedom(
        id="acme-long-trace",
        title="Trace ids are long.",
        argument="The gateway's manual limits no length.",
        head=lambda status, headers, _: (status, (*headers, (TRACE, "t" * 500))),
    ),
]
"""


def test_freedoms_are_among_the_shipped_ones(extension: Write) -> None:
    use_extensions([extension({"freedoms.py": FREEDOMS})])
    assert load_freedoms()["acme-long-trace"].argument
    rows = list(quiet_matrix("smoke", ["northstar"], ["acme-long-trace"]))
    assert [(row.freedoms, row.good) for row in rows] == [(("acme-long-trace",), True)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("acme-long", "long", "must have an id that begins with acme-"),
        ("argument=", "dialects=('nowhere',), argument=", 'is for the unknown dialect "nowhere"'),
        ("argument=", "choice=", "has neither sources nor an argument"),
        ("FREEDOMS = [", "FREEDOMS = [7, ", "FREEDOMS must exist and be a list of Freedom"),
    ],
)
def test_a_bad_freedom_is_refused(extension: Write, old: str, new: str, words: str) -> None:
    with pytest.raises(ExtensionError, match=words):
        use_extensions([extension({"freedoms.py": FREEDOMS.replace(old, new)})])


def test_cases_are_part_of_the_plan(extension: Write) -> None:
    use_extensions([extension({"cases.py": CASES})])
    plan = build_plan("smoke", load_dialect("northstar"))
    assert [case.id for case in plan.cases if case.id.startswith("acme.")] == ["acme.route"]


def test_features_of_ones_own(extension: Write) -> None:
    feature = '[acme_tenant]\ntitle = "user names"\nat = "/user"\nexample = { user = "a" }\n'
    rules = '[[rule]]\nid = "ACME-01"\ntitle = "t"\nstatement = "S."\nlevel = "MUST"\n'
    rules += 'features = ["acme_tenant"]\nargument = "a"\nunchecked = "Nobody knows how."\n'
    files = {"features.toml": feature, "rules/acme.toml": rules, "checks.py": None, "faults.py": None}
    use_extensions([extension(files)])
    assert load_features()["acme_tenant"].is_used({"user": "me"})
    assert load_rules()["ACME-01"].features == ("acme_tenant",)


@pytest.mark.slow(3)
def test_a_check_run_and_its_reports(extension: Write, tmp_path: Path) -> None:
    folder, out = extension({"cases.py": CASES}), tmp_path / "out"
    use_extensions([folder])
    with running(Sandbox(faults=["acme-untraced"])) as url:
        done = rejoinder("check", url, "--plan", "smoke", "--extension", folder, "--out", out, "-q")
    assert done.returncode == 1, done.stdout + done.stderr
    run = read_run(out)
    statuses = {verdict.rule: verdict.status.value for verdict in run.verdicts if verdict.rule.startswith("ACME")}
    assert statuses == {"ACME-01": "fail", "ACME-02": "pass"}
    [record] = run.header.extensions
    assert (record.name, record.families) == ("acme", {"ACME": "Acme gateway"})
    assert "acme.route" in {exchange.case for exchange in run.exchanges}

    os.environ.pop(module.VARIABLE)  # from here on the extension is not there
    report = rejoinder("report", out, "--markdown", tmp_path / "report.md", "--html", tmp_path / "report.html")
    assert report.returncode in (0, 1), report.stdout + report.stderr
    page = (tmp_path / "report.html").read_text()
    assert "replies carry a trace id" in page
    assert "Acme gateway" in page
    assert "not in this rejoinder" not in page + (tmp_path / "report.md").read_text()

    replayed = rejoinder("replay", out, "ACME-01", "--out", tmp_path / "replayed")
    assert replayed.returncode == 2
    assert "no rule ACME-01" in replayed.stderr
    assert "the extension acme with --extension" in replayed.stderr
    again = rejoinder("recheck", out, "--out", tmp_path / "again")
    assert "acme" in again.stdout
    assert "not loaded" in again.stdout
    again = rejoinder("recheck", out, "--out", tmp_path / "once-more", "--extension", folder)
    assert "ACME-01" in again.stdout
    assert {verdict.rule for verdict in read_run(tmp_path / "once-more").verdicts} == {v.rule for v in run.verdicts}


@pytest.mark.slow(2)
def test_a_load_run_judges_by_them_in_its_worker_processes(extension: Write, tmp_path: Path) -> None:
    folder, out = extension(), tmp_path / "out"
    rules = folder / "rules" / "acme.toml"
    rules.write_text(rules.read_text().replace("SHOULD", "MUST"))
    use_extensions([folder])
    with running(Sandbox(faults=["acme-unrouted"])) as url:
        options = ("--concurrency", "2", "--requests", "4", "--extension", folder, "--out", out)
        done = rejoinder("load", url, *options)
    assert (out / "run.ndjson").exists(), done.stdout + done.stderr
    run = read_run(out)
    [load] = run.samples_of(LoadSample)
    assert load.rules == {"ACME-02": 4}, done.stdout + done.stderr
    assert run.header.extensions[0].name == "acme"
    os.environ.pop(module.VARIABLE)
    assert "streams name their route" in render_html(run)


@pytest.mark.slow(1)
def test_the_command_line_lists_and_selects_them(extension: Write) -> None:
    folder = extension()
    listed = rejoinder("rules", "--extension", folder).stdout
    assert "ACME  Acme gateway\n  ACME-01  MUST    replies carry a trace id" in listed
    assert "the sandbox fault acme-untraced" in rejoinder("rules", "acme-1", "--extension", folder).stdout
    assert "acme-untraced  (breaks ACME-01)" in rejoinder("sandbox", "--list-faults", "--extension", folder).stdout
    environment = {**os.environ, "REJOINDER_EXTENSION": str(folder)}
    named = subprocess.check_output([sys.executable, "-m", "rejoinder", "rules", "ACME-02"], text=True, env=environment)
    assert "streams name their route" in named


@pytest.fixture
def installed(extension: Write, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A function that makes an extension an installed package with an entry point."""

    def install(changes: dict[str, str | None] | None = None) -> Path:
        folder = extension({"__init__.py": "", **(changes or {})}, "acme_rules")
        info = folder.parent / "acme_rules-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rules\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[rejoinder.extensions]\nacme = acme_rules\n")
        monkeypatch.syspath_prepend(str(folder.parent))
        extensions.cache_clear()
        return folder

    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_rules"]:
        del sys.modules[name]
    extensions.cache_clear()


def test_an_installed_package_is_in_use_by_itself(installed: Callable[..., Path]) -> None:
    folder = installed()
    [found] = use_extensions()
    assert (found.name, found.package, found.folder) == ("acme", "acme_rules", folder)
    assert [check.run.__module__ for check in checks_by_rule()["ACME-01"]] == ["acme_rules.checks"]
    assert len(use_extensions([folder])) == 1  # named as well: it is one all the same


ROW = '[[rule]]\nid = "{id}"\ntitle = "t"\nstatement = "S."\nlevel = "MUST"\nfeatures = [{features}]\nargument = "a"\n'
ONE = ROW.format(id="ACME-01", features="")


def checks(rule: str, before: str = "") -> str:
    lines = (before, "from rejoinder.conformance import Subject, check", f"@check({rule!r}, Subject.PLAIN)")
    return "\n".join([*lines, "def found(view):", "    yield", ""])


def faults(fault: str) -> str:
    return f"from rejoinder.sandbox import Fault\nFAULTS = [{fault}]\n"


BAD: dict[str, tuple[dict[str, str | None], str]] = {
    "a clash with a shipped family": (
        {"extension.toml": 'name = "acme"\n[families]\nSSE = "Mine"\n', "rules/acme.toml": None},
        "extension.toml: rejoinder has a family SSE",
    ),
    "a name that is none": (
        {"extension.toml": 'name = "Acme Inc"\n'},
        'extension.toml, line 1: name is "Acme Inc", which is invalid. The name',
    ),
    "a prefix that is none": (
        {"extension.toml": 'name = "acme"\n[families]\nAcme = "Mine"\n'},
        "extension.toml, line 3: families.Acme is not a prefix of rule ids. Use capital letters and digits",
    ),
    "a feature of somebody else's": (
        {"features.toml": '[routes]\ntitle = "routes"\n'},
        "features.toml: the feature routes must begin with acme_",
    ),
    "a bad feature": ({"features.toml": "[acme_routes]\nname = 1\n"}, "features.toml: invalid row acme_routes: "),
    "a misspelt key": (
        {"extension.toml": 'name = "acme"\nfamilys = 1\n'},
        "extension.toml, line 2: familys is not a known key. Did you mean families?",
    ),
    "no manifest": ({"extension.toml": None}, "has no extension.toml"),
    "bad TOML in the manifest": ({"extension.toml": "name ="}, "extension.toml is not valid TOML: Invalid value (at"),
    "bad TOML in the rules": ({"rules/acme.toml": "[[rule]\n"}, "rules/acme.toml is not valid TOML"),
    "no rules": ({"rules/acme.toml": None}, "rules"),
    "an unknown feature": (
        {"rules/acme.toml": ROW.format(id="ACME-01", features='"streeming"')},
        'rule ACME-01: "streeming" is not a known feature. Did you mean streaming?',
    ),
    "an unknown family": (
        {"rules/acme.toml": ROW.format(id="ACM-01", features="")},
        "rule ACM-01: ids of this file have the form ACME-01",
    ),
    "a file of an unknown family": ({"rules/other.toml": ONE}, "rules/other.toml has the name of no rule family"),
    "a check for a rule that is not there": ({"checks.py": checks("ACME-77")}, "checks.py, line 3: "),
    "a check for a shipped rule": (
        {"checks.py": checks("SSE-01")},
        "there is a check for SSE-01, which is not a rule of this extension",
    ),
    "a rule without a check": (
        {"rules/acme.toml": ONE + ROW.format(id="ACME-02", features=""), "checks.py": checks("ACME-01")},
        "checks.py: ACME-02 has no check. Add one, or",
    ),
    "no checks at all": ({"checks.py": None}, "checks.py: ACME-01 has no check. Add one, or"),
    "an exception while loading": (
        {"checks.py": checks("ACME-01", "1 / 0")},
        "checks.py, line 1: ZeroDivisionError: division by zero",
    ),
    "a syntax error": ({"checks.py": "def broken(:\n"}, "checks.py, line 1: SyntaxError"),
    "an exception in a module that checks import": ({"names.py": "\n\nTRACE = ROUT"}, "names.py, line 3: NameError"),
    "a missing module": (
        {"checks.py": "import not_there\n"},
        "checks.py, line 1: ModuleNotFoundError: No module named 'not_there'",
    ),
    "a fault with an id of somebody else's": (
        {"faults.py": faults("Fault(id='other', title='t', breaks=('ACME-01',))")},
        "the fault other must have an id that begins with acme-",
    ),
    "a fault that breaks no rule that exists": (
        {"faults.py": faults("Fault(id='acme-x', title='t', breaks=('ACME-11',))")},
        "the fault acme-x breaks ACME-11, which is not a rule. Did you mean ACME-01?",
    ),
    "a fault twice": (
        {"faults.py": faults(", ".join(["Fault(id='acme-x', title='t', breaks=('ACME-01',))"] * 2))},
        "the fault acme-x has an id that another fault has",
    ),
    "faults that are none": ({"faults.py": "FAULTS = ['acme-x']\n"}, "FAULTS must exist and be a list of Fault"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_reported_in_one_sentence(extension: Write, name: str) -> None:
    changes, sentence = BAD[name]
    folder = extension(changes)
    with pytest.raises(ExtensionError) as caught:
        use_extensions([folder])
    text = str(caught.value)
    assert sentence in text
    assert str(folder) in text or "acme" in text
    assert "\n" not in text


def test_a_missing_folder(extension: Write, tmp_path: Path) -> None:
    with pytest.raises(ExtensionError, match=r"There is no extension folder .*nowhere"):
        use_extensions([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("manifest", "what"),
    [('name = "acme"\n', "name acme"), ('name = "other"\n[families]\nACME = "Theirs"\n', "family ACME")],
)
def test_two_extensions_that_clash(extension: Write, manifest: str, what: str) -> None:
    one, other = extension(), extension({"extension.toml": manifest}, "other")
    with pytest.raises(ExtensionError, match=f"Two extensions have the {what}: {one} and {other}"):
        use_extensions([one, other])


BAD_CASES = {
    "a shipped id": (CASES.replace("acme.route", "basic.plain"), "no PlannedCase whose id begins with acme."),
    "no case": ("def cases(context, plan):\n    yield 1\n", "1 is no PlannedCase"),
    "an exception": ("def cases(context, plan):\n    yield context.nothing\n", "cases.py, line 2: AttributeError"),
    "an id twice": (CASES + "    yield PlannedCase('acme.route', 'x', ())\n", "the case id acme.route is taken"),
}


@pytest.mark.parametrize("name", BAD_CASES)
def test_bad_cases_are_reported_before_anything_is_sent(extension: Write, name: str) -> None:
    text, sentence = BAD_CASES[name]
    use_extensions([extension({"cases.py": text})])
    with pytest.raises(ExtensionError) as caught:
        build_plan("smoke", load_dialect("northstar"))
    assert sentence in str(caught.value)


def test_the_command_line_reports_it_before_it_sends(extension: Write, tmp_path: Path) -> None:
    folder, sandbox = extension({"checks.py": "raise KeyError('x')\n"}), Sandbox()
    with running(sandbox) as url:
        done = rejoinder("check", url, "--extension", folder, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The extension acme cannot be used: ")
    assert "Traceback" not in done.stderr
    assert sandbox.counts.get("started", 0) == 0


def test_a_rule_that_others_wrote_is_left_out_when_it_cannot_be_read() -> None:
    from rejoinder.contract import read_catalogue

    fields: dict[str, Any] = {
        "title": "t",
        "statement": "s",
        "level": Level.MUST,
        "levels": {},
        "features": [],
        "argument": "a",
    }
    good = ExtensionRule(id="ACME-01", sources=[], unchecked="", takes="", **fields)
    bad = ExtensionRule(id="ACME-02", sources=[{"name": "without a link"}], unchecked="", takes="", **fields)
    rules, families = read_catalogue([ExtensionRecord(name="acme", families={"ACME": "Acme"}, rules=[bad, good])])
    assert families["ACME"] == "Acme"
    assert (rules["ACME-01"].argument, "ACME-02" in rules) == ("a", False)
    assert read_catalogue([])[0] == load_rules()


def test_extensions_that_cannot_be_used_leave_those_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(ExtensionError):
        set_extensions([tmp_path / "missing"])
    assert os.environ[VARIABLE] == ""
    with pytest.raises(OSError, match="too long"):
        set_extensions([tmp_path / ("x" * 5000)])
    assert os.environ[VARIABLE] == ""

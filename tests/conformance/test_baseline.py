"""Baselines: what they expect, what they say of a run, how the file is read, grown and cleared up."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.conformance.baseline import (
    Baseline,
    BaselineEntry,
    BaselineMatcher,
    BaselineStatus,
    EditedBaseline,
    baseline_schema,
    prune,
    read_baseline,
    summarise,
    update,
)
from rejoinder.conformance.judgement import MAX_CASES, judge
from rejoinder.errors import BaselineError
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Finding, Status, Verdict
from rejoinder.toml_file import TomlFile

TODAY = date(2026, 11, 22)


def reply(case: str, total: int, **fields: Any) -> Exchange:
    """Return a plain reply whose token counts add up to 2; the rule USG-02 wants ``total`` to say so."""
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": total}
    body = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": []}
    settings: dict[str, Any] = {"status": 200, "outcome": Outcome.COMPLETE, **fields}
    return Exchange(
        id=f"x-{case}",
        case=case,
        role="plain",
        tags=("valid",),
        request=Request("POST", "/v1/responses", (), b'{"input":"Hi"}'),
        headers=(("content-type", "application/json"),),
        chunks=(Chunk(0.1, json.dumps({**body, "usage": usage}).encode()),),
        started_at=1_760_000_000.0,
        **settings,
    )


def judged(
    exchanges: list[Exchange], *entries: BaselineEntry, today: date = TODAY
) -> tuple[Verdict, BaselineMatcher, BaselineStatus]:
    matcher = BaselineMatcher(Baseline(Path("known.toml"), entries), today)
    [verdict] = judge(exchanges, "northstar", select="USG-02", matcher=matcher)
    return verdict, matcher, matcher.close(exchanges)


def names(entries: tuple[tuple[BaselineEntry, str], ...]) -> list[str]:
    return [entry.name for entry, _ in entries]


BAD = [reply("a.1", 5), reply("a.2", 5), reply("b.1", 5), reply("c.1", 2)]
MARK = judged(BAD)[0].findings[0].fingerprint


def test_what_is_expected_is_known_and_new_cases_still_fail() -> None:
    verdict, _, status = judged(BAD, BaselineEntry("USG-02", "a.*", "seen", link="https://x.example/1"))
    assert verdict.status is Status.FAIL
    new, known = verdict.findings
    assert (new.cases, new.known, new.count) == (["b.1"], None, 1)
    assert known.known is not None
    assert (known.cases, known.known.reason, known.known.link, known.count) == (
        ["a.1", "a.2"],
        "seen",
        "https://x.example/1",
        2,
    )
    assert new.fingerprint == known.fingerprint
    assert Finding.from_json(known.to_json()) == known
    assert names(status.known) == ["USG-02@a.*"]
    assert status.kept


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (BaselineEntry("USG-02", "*", "r"), Status.KNOWN),
        (BaselineEntry("USG-02", "*", "r", fingerprint=MARK), Status.KNOWN),
        (BaselineEntry("USG-02", "*", "r", fingerprint="0" * 12), Status.FAIL),
        (BaselineEntry("USG-01", "*", "r"), Status.FAIL),
        (BaselineEntry("USG-02", "*", "r", expires=TODAY), Status.KNOWN),
        (BaselineEntry("USG-02", "*", "r", expires=date(2026, 11, 21)), Status.FAIL),
        (BaselineEntry("USG-02", "a?1", "r"), Status.FAIL),
    ],
)
def test_what_an_entry_matches(entry: BaselineEntry, status: Status) -> None:
    assert judged(BAD, entry)[0].status is status


def test_entries_match_before_the_list_of_cases_is_cut() -> None:
    many = [reply(f"c.{number:03}", 5) for number in range(MAX_CASES + 10)]
    last = many[-1].case
    verdict, _, status = judged(many, BaselineEntry("USG-02", last, "r"))
    assert [finding.cases for finding in verdict.findings if finding.known] == [[last]]
    assert names(status.known) == [f"USG-02@{last}"]


def test_a_pass_is_reported_unless_it_may_be_chance() -> None:
    passing, flaky = BaselineEntry("USG-02", "c.*", "r"), BaselineEntry("USG-02", "c.1", "r", flaky=True)
    verdict, _, status = judged(BAD[3:], passing, flaky)
    assert verdict.status is Status.PASS
    assert names(status.unexpected_passes) == ["USG-02@c.*"]
    assert "known.toml" in " ".join(status.warnings())
    assert not status.kept


def test_a_case_without_its_rule_is_stale_and_what_did_not_run_says_nothing() -> None:
    refused, broken, other = (
        reply("r.1", 2, status=400),
        reply("s.1", 2, status=500),
        BaselineEntry("SSE-03", "c.1", "r"),
    )
    entries = (
        BaselineEntry("USG-02", "r.1", "r"),
        BaselineEntry("USG-02", "s.1", "r"),
        BaselineEntry("USG-02", "not.sent", "r"),
        other,
    )
    _, _, status = judged([*BAD, refused, broken], *entries)
    assert names(status.stale) == ["USG-02@r.1"]
    assert not status.unexpected_passes


def test_what_expired_says_whether_it_still_fails() -> None:
    past = date(2026, 1, 1)
    _, _, status = judged(
        BAD, BaselineEntry("USG-02", "a.*", "r", expires=past), BaselineEntry("USG-02", "c.1", "r", expires=past)
    )
    assert [note for _, note in status.expired] == [
        "Expired on 2026-01-01; it still fails in 2 cases.",
        "Expired on 2026-01-01; it did not fail in this run.",
    ]
    assert status.kept


@given(st.sets(st.text("ab.-", min_size=1, max_size=6)), st.sets(st.text("ab.-", min_size=1, max_size=6)))
def test_patterns_match_every_failing_case_and_no_clean_one(failing: set[str], clean: set[str]) -> None:
    patterns = [BaselineEntry("USG-02", pattern, "r") for pattern in summarise(failing, clean - failing)]
    assert {case for case in failing | clean if any(pattern.covers(case) for pattern in patterns)} == failing


def test_patterns_are_few() -> None:
    many = [f"item.{letter}" for letter in "abcdef"]
    assert summarise(many, ["basic.plain"]) == ["item.*"]
    assert summarise(many, []) == ["*"]
    assert summarise(["item.a", "x.y"], []) == ["item.a", "x.y"]


def updated(file: Path, exchanges: list[Exchange] = BAD, **words: Any) -> EditedBaseline:
    baseline = read_baseline(file) if file.exists() else Baseline(file)
    matcher = BaselineMatcher(baseline, TODAY)
    verdicts = judge(exchanges, "northstar", select="USG-*", matcher=matcher)
    return update(matcher, verdicts, **{"reason": "seen", **words})


def test_update_writes_what_the_next_run_expects(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    edited = updated(file, link="https://x.example/1", expires=date(2027, 1, 31))
    assert [(change.done, change.name) for change in edited.changes] == [("added", "USG-02@a.1 and 2 more")]
    file.write_text(edited.text)
    baseline = read_baseline(file)
    assert {(entry.case, entry.fingerprint) for entry in baseline.entries} == {
        ("a.1", MARK),
        ("a.2", MARK),
        ("b.1", MARK),
    }
    verdict, _, status = judged(BAD, *baseline.entries)
    assert verdict.status is Status.KNOWN
    assert len(status.known) == 3
    assert not updated(file).changes


def test_update_keeps_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text('# ours\n[[known]]  # one\nreason = "r"\nrule = "USG-02"\ncase = "a.*"\n\n# the end\n')
    text = updated(file).text
    assert text.startswith(file.read_text().rstrip("\n"))
    assert 'case = "b.1"' in text


def test_update_renews_what_expired(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text('[[known]]\nrule = "USG-02"\ncase = "*"\nreason = "old"\nexpires = 2026-01-01\n')
    edited = updated(file, reason="new", expires=date(2027, 1, 1))
    assert [change.done for change in edited.changes] == ["renewed"]
    file.write_text(edited.text)
    [entry] = read_baseline(file).entries
    assert (entry.reason, entry.expires) == ("new", date(2027, 1, 1))


def test_update_marks_what_fails_at_random(tmp_path: Path) -> None:
    assert "flaky = true" in updated(tmp_path / "known.toml", flaky=lambda mark: mark == MARK).text


@pytest.mark.parametrize(
    "words", [{"reason": " "}, {"link": "javascript:alert(1)"}, {"expires": date(2020, 1, 1)}], ids=str
)
def test_update_refuses_words_that_make_no_entry(tmp_path: Path, words: dict[str, Any]) -> None:
    with pytest.raises(BaselineError):
        updated(tmp_path / "known.toml", **words)


def test_prune_takes_out_what_no_longer_fails(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text(
        "# ours\n"
        '[[known]]\nrule = "USG-02"\ncase = ["a.*", "c.1", "not.sent"]\nreason = "r"  # why\n\n'
        '[[known]]\nrule = "USG-02"\ncase = "c.*"\nreason = "fixed"\n\n'
        '[[known]]\nrule = "USG-02"\ncase = "b.1"\nreason = "past"\nexpires = 2026-01-01\n'
    )
    _, matcher, status = judged(BAD, *read_baseline(file).entries)
    matcher.baseline = read_baseline(file)
    edited = prune(matcher, status)
    assert [change.name for change in edited.changes] == ["USG-02@c.1", "USG-02@c.*"]
    assert all("did not fail" in change.why for change in edited.changes)
    file.write_text(edited.text)
    assert [entry.name for entry in read_baseline(file).entries] == [
        "USG-02@a.*",
        "USG-02@not.sent",
        "USG-02@b.1",
    ]
    assert edited.text.startswith("# ours\n")
    assert "# why" in edited.text


def test_what_is_documented_fits_the_schema() -> None:
    docs = Path(__file__).parents[2] / "docs"
    texts = [path.read_text("utf-8") for path in (docs / "baselines").glob("*.toml")]
    blocks = re.findall(
        r"^```toml\n(.*?)^```", (docs / "how-to" / "known-failures.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    texts += [block for block in blocks if "[[known]]" in block]
    assert len(texts) >= 2
    for number, text in enumerate(texts):
        TomlFile(Path(f"{number}.toml"), text, "baseline").check(baseline_schema())  # raises where it is not valid


GOOD = 'rule = "USG-02"\ncase = "*"\nreason = "r"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[known]\n", ["not valid TOML", "line 1"]),
        ("knwon = 1\n", ["line 1", "knwon is not a known key", "Did you mean known?"]),
        ("known = 3\n", ["line 1", "known is 3, expected array", "[[known]]"]),
        ('[[known]]\ncase = "*"\nreason = "r"\n', ["line 1", "known[0].rule is missing", "`rejoinder rules`"]),
        (
            f'[[known]]\n{GOOD}\n[[known]]\nrule = "USG-2"\ncase = "*"\nreason = "r"\n',
            ["line 7", "USG-2", "Did you mean USG-"],
        ),
        (f'[[known]]\n{GOOD}resaon = "r"\n', ["line 5", "known[0].resaon is not a known key", "Did you mean reason?"]),
        (
            '[[known]]\nrule = "USG-02"\ncase = []\nreason = "r"\n',
            ["line 3", "case has 0 entries, expected at least 1"],
        ),
        ('[[known]]\nrule = "USG-02"\ncase = 3\nreason = "r"\n', ["line 3", "case is 3", 'like "content.*"']),
        ('[[known]]\nrule = "USG-02"\ncase = "*"\nreason = " "\n', ["line 4", "reason", "a text"]),
        (f'[[known]]\n{GOOD}fingerprint = "xyz"\n', ["line 5", 'fingerprint is "xyz"', "12 digits"]),
        (f'[[known]]\n{GOOD}link = "javascript:alert(1)"\n', ["line 5", "https://"]),
        (f'[[known]]\n{GOOD}expires = "2027-01-31"\n', ["line 5", "quotes"]),
        (f"[[known]]\n{GOOD}expires = 2027-01-31T00:00:00\n", ["line 5", "a date without quotes like 2027-01-31"]),
        (f"[[known]]\n{GOOD}flaky = 1\n", ["line 5", "flaky"]),
        (f"[[known]]\n{GOOD}[[known]]\n{GOOD}", ["line 5", "repeats", "line 1"]),
        ('known = [{rule = "zzz", case = "*", reason = "r"}]\n', ["line 1", "known[0].rule", "zzz", "rejoinder rules"]),
    ],
)
def test_bad_files_are_told_with_place_and_way_out(tmp_path: Path, text: str, told: list[str]) -> None:
    file = tmp_path / "known.toml"
    file.write_text(text)
    with pytest.raises(BaselineError) as caught:
        read_baseline(file)
    sentence = str(caught.value)
    assert str(file) in sentence
    for word in told:
        assert word in sentence


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="does not exist"):
        read_baseline(tmp_path / "none.toml")
    with pytest.raises(BaselineError, match="Cannot read"):
        read_baseline(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(BaselineError, match="not UTF-8"):
        read_baseline(tmp_path / "b.toml")


def test_an_empty_file_expects_nothing(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("# nothing yet\n")
    assert read_baseline(tmp_path / "b.toml").entries == ()

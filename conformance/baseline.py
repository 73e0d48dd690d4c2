"""Baselines: files that say which failures are known, why, and until when. People review and commit them.

A file is TOML with one table ``[[known]]`` for each entry::

    [[known]]
    rule = "EVT-05"
    case = "content.*"              # or several: ["content.list", "state.*"]; * stands for any characters
    fingerprint = "0123456789ab"    # optional: this defect only, not everything that breaks the rule
    reason = "output_index is missing; fixed in the next release"
    link = "https://example.com/issues/7"    # optional
    expires = 2027-01-31            # optional: the last day on which the entry counts
    flaky = true                    # optional: fails now and then, so that a pass is no surprise

``baseline.schema.json`` describes it. An entry with several cases counts as one for each. :class:`BaselineMatcher` is
what the judge asks; what it learns on the way becomes a :class:`BaselineStatus`, from which reports and :func:`prune`
take what is stale.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judging.registry import Subject
from rejoinder.contract import load_rules
from rejoinder.errors import BaselineError, suggest
from rejoinder.formatting import plural
from rejoinder.input_file import read_text
from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import BaselineResult, BaselineResults
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Finding, Known, Level, Verdict
from rejoinder.toml_file import TomlFile
from rejoinder.validation import Validator

TABLE: Final = "known"
GLOB_FROM: Final = 4
"""At least this number of failing cases without a passing one among them is written as one pattern."""

_HEAD: Final = """\
# Known failures, with reasons and expiry dates, for `rejoinder check --baseline`.
# An entry applies to its rule and case (* matches any characters), and with a fingerprint to one defect only, until it
# expires. `rejoinder baseline update` adds entries, `rejoinder baseline prune` removes stale ones.

"""


@dataclass(frozen=True, slots=True)
class BaselineEntry:
    """What is expected of one rule on cases that match one pattern.

    ``number`` counts the tables of the file from 0; a table with several cases makes several entries. ``line`` is where
    the table begins, 0 when that is unknown. ``fingerprint`` is empty when any defect of the rule is expected.
    """

    rule: str
    case: str
    reason: str
    fingerprint: str = ""
    link: str = ""
    expires: date | None = None
    flaky: bool = False
    number: int = 0
    line: int = 0

    @property
    def name(self) -> str:
        """Rule and case as people write them: ``EVT-05@content.*``."""
        return f"{self.rule}@{self.case}"

    @property
    def known(self) -> Known:
        """What findings that the entry matches carry."""
        return Known(self.reason, self.link, self.expires.isoformat() if self.expires else "")

    def covers(self, case: str) -> bool:
        """Return whether the entry speaks of a case."""
        return re.fullmatch(".*".join(map(re.escape, self.case.split("*"))), case, re.DOTALL) is not None

    def matches(self, rule: str, case: str, fingerprint: str) -> bool:
        """Return whether the entry expects a finding of a rule on a case."""
        return rule == self.rule and self.fingerprint in ("", fingerprint) and self.covers(case)

    def result(self, note: str) -> BaselineResult:
        """Return the entry as the run file holds it, with a sentence on what the run says of it."""
        return BaselineResult(
            rule=self.rule, case=self.case, fingerprint=self.fingerprint, **self.known.to_json(), note=note
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline file that was read."""

    path: Path
    entries: tuple[BaselineEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class BaselineStatus:
    """What a run says of the entries of a baseline, each with a sentence.

    ``known``: it matched findings. ``unexpected_passes``: its rule was judged on its case and did not fail so.
    ``stale``: its case was run, and its rule was never judged on it. ``expired``: its day is past. Entries of which the
    run can say nothing, because their case was not sent or the model declined, are in none.
    """

    file: str
    known: tuple[tuple[BaselineEntry, str], ...] = ()
    stale: tuple[tuple[BaselineEntry, str], ...] = ()
    unexpected_passes: tuple[tuple[BaselineEntry, str], ...] = ()
    expired: tuple[tuple[BaselineEntry, str], ...] = ()

    @property
    def kept(self) -> bool:
        """Whether nothing in the file is out of date: no stale entry and no unexpected pass."""
        return not self.stale and not self.unexpected_passes

    def warnings(self) -> list[str]:
        """Return warnings for the reader of a report, in sentences."""
        notes = []
        for entries, say in (
            (self.unexpected_passes, "{n} did not fail as expected: {names}"),
            (self.stale, "{n} {is_} stale, because the case did not test the rule: {names}"),
            (self.expired, "{n} expired and {is_} ignored: {names}"),
        ):
            if entries:
                one = len(entries) == 1
                names = ", ".join(entry.name for entry, _ in entries[:5])
                more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
                notes.append(
                    say.format(
                        n=f"{plural(len(entries), 'baseline entry', 'baseline entries')}",
                        is_="is" if one else "are",
                        names=f"{names}{more}.",
                    )
                )
        if not self.kept:
            notes.append(
                f"`rejoinder baseline prune` removes stale entries and those that did not fail from {self.file}."
            )
        return notes

    def results(self, *, strict: bool) -> BaselineResults:
        """Return the form for the run file's footer; ``strict`` says whether what is out of date is a failure."""
        lists = {
            name: [entry.result(note) for entry, note in getattr(self, name)]
            for name in ("known", "stale", "unexpected_passes", "expired")
        }
        return BaselineResults(file=self.file, strict=strict, **lists)


class BaselineMatcher:
    """The account that the judge keeps with a baseline while it judges one run.

    ``today`` is the day for which entries count. ``unmatched`` gathers what no live entry expects: the cases by rule
    and fingerprint.
    """

    def __init__(self, baseline: Baseline, today: date) -> None:
        self.baseline = baseline
        self.today = today
        self.unmatched: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.judged: dict[str, frozenset[str]] = {}
        self._unsettled: dict[str, frozenset[str]] = {}
        self._found: dict[BaselineEntry, set[str]] = defaultdict(set)

    @cached_property
    def _by_rule(self) -> Mapping[str, list[BaselineEntry]]:
        table: dict[str, list[BaselineEntry]] = {}
        for entry in self.baseline.entries:
            table.setdefault(entry.rule, []).append(entry)
        return table

    def expired(self, entry: BaselineEntry) -> bool:
        """Return whether an entry's day is past."""
        return entry.expires is not None and entry.expires < self.today

    def known(self, rule: str, case: str, fingerprint: str) -> Known | None:
        """Return what the baseline says of a finding on a case, ``None`` when no live entry expects it."""
        known = None
        for entry in self._by_rule.get(rule, ()):
            if entry.matches(rule, case, fingerprint):
                self._found[entry].add(case)
                if known is None and not self.expired(entry):
                    known = entry.known
        if known is None:
            self.unmatched[rule, fingerprint].add(case)
        return known

    def found(self, entry: BaselineEntry) -> bool:
        """Return whether findings matched the entry, expired or not."""
        return bool(self._found.get(entry))

    def settle(self, rule: str, judged: Iterable[str], unsettled: Iterable[str]) -> None:
        """Note on which cases a rule was judged, and on which nothing could be said because a model declined."""
        self.judged[rule], self._unsettled[rule] = frozenset(judged), frozenset(unsettled)

    def close(self, exchanges: Iterable[Exchange]) -> BaselineStatus:
        """Return the status of all entries after the run whose exchanges were judged."""
        sent: set[str] = set()
        broken: set[str] = set()
        for exchange in exchanges:
            if Tag.UNJUDGED not in exchange.tags:
                # Where a request got no answer worth the name, that a rule was not judged says nothing.
                answered = exchange.status is not None and exchange.status < 500
                (sent if answered else broken).add(exchange.case)
        sent -= broken
        lists: dict[str, list[tuple[BaselineEntry, str]]] = {"known": [], "stale": [], "passes": [], "expired": []}
        for entry in self.baseline.entries:
            found = len(self._found.get(entry, ()))
            judged = sum(map(entry.covers, self.judged.get(entry.rule, ())))
            if self.expired(entry):
                still = f"it still fails in {_cases(found)}" if found else "it did not fail in this run"
                lists["expired"].append((entry, f"Expired on {entry.expires}; {still}."))
            elif found:
                lists["known"].append((entry, f"Failed in {_cases(found)}."))
            elif entry.rule not in self.judged or any(map(entry.covers, self._unsettled[entry.rule])):
                continue
            elif judged:
                if not entry.flaky:
                    lists["passes"].append((entry, f"Tested in {_cases(judged)} and did not fail."))
            elif ran := sum(map(entry.covers, sent)):
                lists["stale"].append((entry, f"{_cases(ran)} ran and did not test the rule."))
        return BaselineStatus(
            str(self.baseline.path),
            tuple(lists["known"]),
            tuple(lists["stale"]),
            tuple(lists["passes"]),
            tuple(lists["expired"]),
        )


def _cases(number: int) -> str:
    return plural(number, "case")


def read_baseline(path: Path | str) -> Baseline:
    """Read and check a baseline file.

    Raises :class:`BaselineError` with file, line and field when it is not there, no TOML, or says what it cannot say.
    """
    path = Path(path)
    return Baseline(path, _entries(path, _text(path)))


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError as error:
        raise BaselineError(
            f"Baseline file {path} does not exist.", "`rejoinder baseline update RUN` creates one from a run."
        ) from error
    except OSError as error:
        raise BaselineError(
            f"Cannot read the baseline file {path}: {error.strerror}.", "Check the path given to --baseline."
        ) from error
    except UnicodeDecodeError as error:
        raise BaselineError(
            f"The baseline file {path} is not UTF-8 at byte {error.start}.", "Save the file as UTF-8."
        ) from error


@cache
def baseline_schema() -> Validator:
    """Return the JSON Schema of baseline files."""
    return Validator(json.loads(files("rejoinder.conformance").joinpath("baseline.schema.json").read_text("utf-8")))


def _entries(path: Path, text: str) -> tuple[BaselineEntry, ...]:
    file = TomlFile(path, text, "baseline file", BaselineError)
    file.check(baseline_schema())
    entries: dict[tuple[str, str, str], BaselineEntry] = {}
    for number, table in enumerate(file.table.get(TABLE, ())):
        for entry in _entries_of(file, number, table):
            twin = entries.setdefault((entry.rule, entry.case, entry.fingerprint), entry)
            if twin is not entry:
                raise file.error(
                    (TABLE, number),
                    f"repeats {entry.name}",
                    f"Remove it, or the first entry in line {twin.line} ({TABLE}[{twin.number}]).",
                )
    return tuple(entries.values())


def _entries_of(file: TomlFile, number: int, table: Mapping[str, Any]) -> list[BaselineEntry]:
    """Return the entries of one table, one for each of its cases."""
    at = (TABLE, number)
    rule, expires, cases = table["rule"].strip(), table.get("expires"), table["case"]
    if rule not in load_rules():
        hint = suggest(rule, load_rules(), "`rejoinder rules` lists the rules.")
        raise file.error((*at, "rule"), f'is "{rule}", which is not a rule', hint)
    if isinstance(expires, str):
        raise file.error((*at, "expires"), f'is the string "{expires}"', "Write the date without quotes: 2027-01-31.")
    return [
        BaselineEntry(
            rule,
            case,
            table["reason"].strip(),
            table.get("fingerprint", ""),
            table.get("link", ""),
            expires,
            table.get("flaky", False),
            number,
            file.line(at),
        )
        for case in dict.fromkeys([cases] if isinstance(cases, str) else cases)
    ]


@dataclass(slots=True)
class BaselineChange:
    """One change to a baseline file: what was done to which entry, and why. ``done`` is ``added``, ``renewed``, ..."""

    done: str
    name: str
    why: str


@dataclass(slots=True)
class EditedBaseline:
    """A baseline file with changes, not yet written."""

    text: str
    changes: list[BaselineChange] = field(default_factory=list)


def update(
    matcher: BaselineMatcher,
    verdicts: Sequence[Verdict],
    *,
    reason: str,
    link: str = "",
    expires: date | None = None,
    must_only: bool = False,
    flaky: Callable[[str], bool] = lambda fingerprint: False,
) -> EditedBaseline:
    """Return the matcher's baseline file with an entry for every finding that none expects.

    ``matcher`` and ``verdicts`` come from one call of the judge. Entries that are there stay as they are, comments and
    order included; expired ones that still match are renewed with reason, link and day of this update. ``must_only``
    leaves broken SHOULD rules out. ``flaky`` says of a fingerprint whether its finding shows only now and then.
    Raises :class:`BaselineError` when the words given cannot stand in a file.
    """
    if not reason.strip():
        raise BaselineError("The reason is empty.", "Give the reason for accepting the failures with --reason.")
    if link and not re.match(r"https?://[^\s/]", link):
        raise BaselineError(f'"{link}" is not a link.', "Links begin with https:// or http://.")
    if expires is not None and expires < matcher.today:
        raise BaselineError(f"The expiry date {expires} has passed.", "Give a later date with --expires.")
    import tomlkit

    path = matcher.baseline.path
    document = tomlkit.parse(_text(path)) if path.exists() else tomlkit.parse(_HEAD)
    tables = document.get(TABLE)
    if tables is None:
        tables = tomlkit.aot()
        document.append(TABLE, tables)
    levels = (Level.MUST,) if must_only else (Level.MUST, Level.SHOULD)
    findings_by_place: dict[tuple[str, str], Finding] = {}
    for verdict in verdicts:
        if verdict.level in levels:
            for finding in verdict.findings:
                if finding.known is None:
                    findings_by_place.setdefault((finding.rule, finding.fingerprint), finding)
    changes: list[BaselineChange] = []
    note = {"reason": reason.strip(), "link": link, "expires": expires}
    renewed: set[int] = set()
    for (rule, mark), finding in findings_by_place.items():
        left = set(matcher.unmatched[rule, mark])
        for entry in matcher.baseline.entries:
            fitting = {case for case in left if entry.matches(rule, case, mark)}
            if not fitting:
                continue
            left -= fitting
            if entry.number not in renewed:
                renewed.add(entry.number)
                table = tables[entry.number]
                for name, value in note.items():
                    if value:
                        table[name] = value
                    else:
                        table.pop(name, None)
                changes.append(BaselineChange("renewed", entry.name, f"expired on {entry.expires}, still fails"))
        if left:
            clean = matcher.judged[rule] - matcher.unmatched[rule, mark]
            # Where a check looks at the whole run, chance says which case stands for what it finds.
            whole_run = all(check.subject is Subject.RUN for check in checks_by_rule()[rule])
            patterns = ["*"] if whole_run else summarise(left, clean)
            table = tomlkit.table()
            table.add(tomlkit.comment(_comment(finding)))
            table["rule"] = rule
            table["case"] = patterns[0] if len(patterns) == 1 else _listed(patterns)
            table["fingerprint"] = mark
            for name, value in note.items():
                if value:
                    table[name] = value
            if flaky(mark):
                table["flaky"] = True
            tables.append(table)
            name = f"{rule}@{patterns[0]}" + (f" and {len(patterns) - 1} more" if len(patterns) > 1 else "")
            changes.append(BaselineChange("added", name, f"{_cases(len(left))}: {_one_line(finding.evidence.message)}"))
    text = tomlkit.dumps(document)
    _entries(path, text)  # what cannot be read again is never written
    return EditedBaseline(text, changes)


def _listed(patterns: Sequence[str]) -> Any:
    import tomlkit

    array = tomlkit.array()
    array.extend(patterns)
    array.multiline(len(patterns) > 3)
    return array


def _comment(finding: Finding) -> str:
    place = " ".join(filter(None, (finding.evidence.event_type, finding.evidence.pointer)))
    return _one_line(f"{finding.evidence.message} {place}".rstrip())


def _one_line(text: str, limit: int = 110) -> str:
    """Return a text of the endpoint as one line of printable ASCII, which no terminal or editor minds."""
    text = " ".join("".join(char if " " <= char <= "~" else "?" for char in " ".join(text.split())).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def summarise(failing: Iterable[str], clean: Iterable[str]) -> list[str]:
    """Return patterns that match all failing cases and no clean one, few and as narrow as their number allows.

    At least :data:`GLOB_FROM` failing cases that begin alike, with no clean case beginning so, become one pattern that
    ends in ``*`` behind a dot or dash; all others stand by name.
    """
    failing, clean = sorted(set(failing)), frozenset(clean)

    def narrow(cases: list[str], prefix: str) -> list[str]:
        if len(cases) < GLOB_FROM:
            return cases
        if not any(case.startswith(prefix) for case in clean):
            return [f"{prefix}*"]
        groups: dict[str, list[str]] = {}
        for case in cases:
            end = re.search("[.-]", case[len(prefix) :])
            groups.setdefault(case[: len(prefix) + end.end()] if end else "", []).append(case)
        return [
            pattern for start, members in groups.items() for pattern in (narrow(members, start) if start else members)
        ]

    return sorted(narrow(failing, ""))


def prune(matcher: BaselineMatcher, status: BaselineStatus) -> EditedBaseline:
    """Return the matcher's baseline file without what the run shows to be out of date.

    Unexpected passes and stale entries go, and expired ones of which nothing was found where they were judged. A case
    leaves the list of its entry; an entry without cases left goes whole. Everything else stays as it is.
    """
    import tomlkit

    path = matcher.baseline.path
    document = tomlkit.parse(_text(path))
    gone = [*status.unexpected_passes, *status.stale]
    gone += [
        (entry, note)
        for entry, note in status.expired
        if not matcher.found(entry) and any(map(entry.covers, matcher.judged.get(entry.rule, ())))
    ]
    leaving: dict[int, set[str]] = defaultdict(set)
    for entry, _ in gone:
        leaving[entry.number].add(entry.case)
    tables = document.get(TABLE, [])
    for number in sorted(leaving, reverse=True):
        case = tables[number]["case"]
        left = [one for one in case if one not in leaving[number]] if isinstance(case, list) else []
        if left:
            for at in range(len(case) - 1, -1, -1):
                if case[at] in leaving[number]:
                    del case[at]
        else:
            del tables[number]
    changes = [
        BaselineChange("removed", entry.name, note) for entry, note in sorted(gone, key=lambda pair: pair[0].number)
    ]
    text = tomlkit.dumps(document)
    _entries(path, text)
    return EditedBaseline(text, changes)

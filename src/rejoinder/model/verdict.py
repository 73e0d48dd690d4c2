"""What a judgement says: levels, statuses, problems, findings and verdicts.

A check looks at exchanges and yields :class:`Problem` values. The judge groups equal problems into a
:class:`Finding` (one thing to fix, with a count and the smallest evidence) and gives every rule one
:class:`Verdict`.
"""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from msgspec import Struct

from rejoinder.formatting import compact_json, plural
from rejoinder.model.exchange import Request, parse_json
from rejoinder.model.script import Step


class Level(StrEnum):
    """How binding a rule is in a dialect (RFC 2119 words). ``MAY`` rules inform; ``OFF`` rules are not run."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"
    OFF = "OFF"


class Status(StrEnum):
    """The verdict on one rule.

    ``fail``: a MUST was broken. ``warn``: a SHOULD was broken. ``known``: one was broken, and a baseline file expects
    all that was found. ``declined``: the model chose otherwise, so nothing can be said.
    ``blocked``: an exchange that the rule needs was refused or failed. ``not_applicable``: nothing in the run exercised
    the rule, or the endpoint refused the feature.
    ``error``: the harness or the network failed. A broken MAY rule passes and carries its findings as information.
    """

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    KNOWN = "known"
    DECLINED = "declined"
    BLOCKED = "blocked"
    NOT_APPLICABLE = "not_applicable"
    ERROR = "error"


class _Absent:
    """The value of a place where nothing is; unlike ``None`` it is not JSON ``null``."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()
MISSING: Final = "(missing)"
"""How an actual value that is absent is shown."""
TOO_LONG: Final = "(a number with thousands of digits)"
"""How an integer is shown that Python refuses to print."""


class Problem(Struct, frozen=True, gc=False):
    """One place where a rule is broken.

    ``message`` is one sentence; ``pointer`` a JSON pointer into the event's data, or into the body when ``event`` is
    ``None``; ``event`` the zero-based number of the event in the stream; ``offset`` the byte offset in the body for
    framing faults; ``kind`` distinguishes problems of one rule when event type and pointer do not, and is part of the
    finding's fingerprint, which never depends on ``message``. ``exchange`` is filled in by the judge unless the check
    looked at a whole case. ``more`` counts further places in the exchange with the same error, which the message names.
    ``others`` are the exchanges that the check compared this one with.
    """

    message: str
    pointer: str = ""
    event: int | None = None
    event_type: str = ""
    expected: Any = ABSENT
    actual: Any = ABSENT
    kind: str = ""
    offset: int | None = None
    exchange: str = ""
    more: int = 0
    others: tuple[str, ...] = ()

    def texts(self, write: Callable[[Any], str] = compact_json) -> dict[str, str]:
        """Return the expected and the actual value as text, by the names ``expected`` and ``actual``.

        ``write`` turns a value that is not a string into text. Strings, phrases among them, have no quotes unless one
        of them could be taken for another value (``"7"``, an empty string). An actual value that is absent beside an
        expected one is :data:`MISSING`; an expected value that the check does not name is left out.
        """
        values = {"expected": self.expected, "actual": self.actual}
        found = {name: value for name, value in values.items() if value is not ABSENT}
        quoted = any(isinstance(value, str) and _needs_quotes(value) for value in found.values())
        texts = {
            name: value if isinstance(value, str) and not quoted else write(value) for name, value in found.items()
        }
        return {**texts, "actual": texts.get("actual", MISSING)} if "expected" in texts else texts

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form; absent values are left out and long ones cut."""
        record: dict[str, Any] = {"message": self.message, "exchange": self.exchange}
        for name, default in _LEFT_OUT.items():
            value = getattr(self, name)
            if value != default:
                record[name] = shorten(value) if default is ABSENT else value
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Problem:
        """Rebuild a problem from :meth:`to_json`'s form."""
        names = ("message", "exchange", *_LEFT_OUT)
        return cls(**{name: record[name] for name in names if name in record})


def _needs_quotes(text: str) -> bool:
    """Return whether a string without quotes could be taken for another value, or not be seen at all."""
    return not text or text != text.strip() or parse_json(text) is not None or text == "null"


_LEFT_OUT: Final = {
    **dict.fromkeys(("pointer", "event_type", "kind"), ""),
    **dict.fromkeys(("event", "offset"), None),
    **dict.fromkeys(("expected", "actual"), ABSENT),
}
"""The fields that a problem's JSON leaves out, with the values for which it does."""


class Reruns(NamedTuple):
    """How often a finding's case was sent again, and how often the finding showed then.

    ``asked`` counts the reruns in which the case got as far as when the finding was made, ``failed`` those of them
    with the finding. ``other`` counts reruns that ended in another way: no reply, a busy endpoint, another status.
    They say nothing of the finding.
    """

    asked: int
    failed: int
    other: int = 0

    @property
    def deterministic(self) -> bool:
        """Whether the finding showed every time."""
        return 0 < self.asked == self.failed

    @property
    def random(self) -> bool:
        """Whether the finding showed at times only; ``failed / asked`` is its rate."""
        return self.failed < self.asked

    @property
    def words(self) -> str:
        """The reruns in a few words."""
        if not self.asked:
            return f"not confirmed: {plural(self.other, 'rerun')} ended in another way"
        apart = f", {self.other} more ended in another way" if self.other else ""
        return f"reproduced in {self.failed} of {plural(self.asked, 'rerun')}{apart}"

    def to_json(self) -> dict[str, int]:
        """Return a JSON-serialisable form."""
        counts = {"asked": self.asked, "failed": self.failed}
        return {**counts, "other": self.other} if self.other else counts


@dataclass(frozen=True, slots=True)
class Minimal:
    """The smallest request that is known to show a finding.

    ``exchange`` is the id of the recorded exchange in which it did; ``requests`` counts the requests that it takes: 1
    when this one is enough, more when others must be sent with it. ``steps`` are all of them in their order; they are
    empty in older run files, and where the request alone is all that it takes. ``fault`` says in one sentence what is
    wrong with the request itself, and is empty when it is valid. ``reduced`` is false for the recorded requests of a
    finding that was not minimised: it occurs at random, or was not confirmed.
    """

    request: Request
    exchange: str = ""
    requests: int = 1
    steps: tuple[Step, ...] = ()
    fault: str = ""
    reduced: bool = True

    @property
    def title(self) -> str:
        """What a reader calls it."""
        words = "request" if self.requests == 1 else "requests"
        return f"minimal {words}" if self.reduced else f"{words} of the case"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        record = {**self.request.to_json(), "requests": self.requests}
        if self.exchange:
            record["exchange"] = self.exchange
        if self.steps:
            record["steps"] = [step.to_json() for step in self.steps]
        if not self.reduced:
            record["reduced"] = False
        return {**record, "fault": self.fault} if self.fault else record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Minimal:
        """Rebuild a minimal request from :meth:`to_json`'s form."""
        steps = tuple(Step.from_json(step) for step in record.get("steps", ()))
        same = {name: record[name] for name in ("exchange", "fault", "reduced") if name in record}
        return cls(Request.from_json(record), requests=record["requests"], steps=steps, **same)


@dataclass(frozen=True, slots=True)
class Known:
    """Why a finding is expected: the words of the baseline entry that matches it.

    ``link`` leads to the defect's issue, ``expires`` is the last day on which the entry counts (ISO 8601); both may be
    empty.
    """

    reason: str
    link: str = ""
    expires: str = ""

    def to_json(self) -> dict[str, str]:
        """Return a JSON-serialisable form; what is empty is left out."""
        return {name: value for name in ("reason", "link", "expires") if (value := getattr(self, name))}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Known:
        """Rebuild the words from :meth:`to_json`'s form."""
        return cls(record["reason"], record.get("link", ""), record.get("expires", ""))


class DefectKey(NamedTuple):
    """What the findings of one defect have in common: its id, the id of its cause, whether a baseline expects it."""

    id: str
    cause: str
    known: bool


@dataclass(slots=True)
class Finding:
    """Equal problems of one rule: how often they occurred, in which cases, and the smallest evidence.

    ``reruns`` and ``minimal`` are ``None`` for a finding whose case was not sent again, or could not be made smaller.
    ``known`` is ``None`` unless a baseline expects it; what is expected in some cases only makes two findings with one
    fingerprint. ``defect`` is the id of the defect that the finding is one place of, see :func:`defect_id`; ``cause``
    that of the defect it follows from, empty for none.
    """

    rule: str
    level: Level
    evidence: Problem
    count: int = 1
    cases: list[str] = field(default_factory=list)
    reruns: Reruns | None = None
    minimal: Minimal | None = None
    known: Known | None = None
    defect: str = ""
    cause: str = ""

    @property
    def group(self) -> DefectKey:
        """What the findings of one defect have in common."""
        return DefectKey(self.defect, self.cause, self.known is not None)

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that stay the same when wording, ids or positions change."""
        return fingerprint(self.rule, self.evidence)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        record: dict[str, Any] = {
            "fingerprint": self.fingerprint,
            "rule": self.rule,
            "level": self.level.value,
            "count": self.count,
            "cases": self.cases,
            "evidence": self.evidence.to_json(),
        }
        if self.reruns is not None:
            record["reruns"] = self.reruns.to_json()
        if self.minimal is not None:
            record["minimal"] = self.minimal.to_json()
        if self.known is not None:
            record["known"] = self.known.to_json()
        record |= {name: value for name in ("defect", "cause") if (value := getattr(self, name))}
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Finding:
        """Rebuild a finding from :meth:`to_json`'s form."""
        return cls(
            rule=record["rule"],
            level=Level(record["level"]),
            evidence=Problem.from_json(record["evidence"]),
            count=record["count"],
            cases=list(record["cases"]),
            reruns=Reruns(**record["reruns"]) if "reruns" in record else None,
            minimal=Minimal.from_json(record["minimal"]) if "minimal" in record else None,
            known=Known.from_json(record["known"]) if "known" in record else None,
            defect=record.get("defect", ""),
            cause=record.get("cause", ""),
        )


@dataclass(slots=True)
class Verdict:
    """The judgement on one rule: its status, how many exchanges it was judged on, and what was found.

    ``reason`` says in one sentence why a rule is not applicable, blocked, declined or in error; ``blocked_by`` is the
    id of the exchange that blocked it. ``defects`` counts for each defect among the findings the exchanges (or cases)
    that show it.
    """

    rule: str
    level: Level
    status: Status
    judged: int = 0
    failed: int = 0
    reason: str = ""
    findings: list[Finding] = field(default_factory=list)
    blocked_by: str = ""
    defects: dict[DefectKey, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        record: dict[str, Any] = {
            "rule": self.rule,
            "level": self.level.value,
            "status": self.status.value,
            "judged": self.judged,
            "failed": self.failed,
            "reason": self.reason,
            "findings": [finding.to_json() for finding in self.findings],
        }
        if self.blocked_by:
            record["blocked_by"] = self.blocked_by
        if self.defects:
            record["defects"] = [{**key._asdict(), "count": count} for key, count in self.defects.items()]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Verdict:
        """Rebuild a verdict from :meth:`to_json`'s form."""
        findings = [Finding.from_json(finding) for finding in record["findings"]]
        same = {name: record[name] for name in ("rule", "judged", "failed", "reason")}
        return cls(
            level=Level(record["level"]),
            status=Status(record["status"]),
            findings=findings,
            blocked_by=record.get("blocked_by", ""),
            defects={
                DefectKey(row["id"], row["cause"], row["known"]): row["count"] for row in record.get("defects", ())
            },
            **same,
        )


_INDEX: Final = re.compile(r"/\d+(?=/|$)")


def masked(pointer: str) -> str:
    """Return a pointer with its array indexes replaced by ``*``."""
    return _INDEX.sub("/*", pointer) if pointer else ""


def place_in_response(pointer: str) -> str:
    """Return a pointer into a response object without the field that holds the object in an event."""
    return pointer.removeprefix("/response") if pointer.startswith("/response/") else pointer


def defect_id(rule: str, problem: Problem, *, fields_are_places: bool = False) -> str:
    """Return twelve hex digits that the findings of one defect share.

    Findings of one rule and kind with one pointer are one defect, whatever the event types, array indexes and
    exchanges. With ``fields_are_places`` the pointer does not matter either.
    """
    pointer = "" if fields_are_places else masked(place_in_response(problem.pointer))
    return _hash("defect", rule, problem.kind, pointer)


def fingerprint(rule: str, problem: Problem) -> str:
    """Return twelve hex digits made of rule, event type, kind, and the pointer with its array indexes masked."""
    return _hash(rule, problem.event_type, problem.kind, masked(problem.pointer))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def shorten(value: Any, limit: int = 2000) -> Any:
    """Return the value with strings over ``limit`` characters cut and containers over ``limit`` replaced by text.

    The mark that replaces the rest says how many characters were left out, so a cut is never taken for the value.
    What is not JSON (NaN, infinities) or nested over 100 levels is replaced by its ``repr``.
    """
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}… ({len(value) - limit} more characters)"
    if isinstance(value, bytes):
        return shorten(value.decode("utf-8", "replace"), limit)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        if isinstance(value, int):
            return TOO_LONG
        return shorten(repr(value), limit)
    except RecursionError:
        return shorten(reprlib.repr(value), limit)
    # Deeper values could be written alone, but not inside the records that hold them.
    return value if len(text) <= limit and not _deeper(value, 100) else shorten(text, limit)


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list, tuple)):
        return False
    if levels == 0:
        return True
    return any(_deeper(child, levels - 1) for child in (value.values() if isinstance(value, dict) else value))

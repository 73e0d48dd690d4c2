"""The tags of exchanges: what the sender of a request knows about it, for the checks.

A tag is a :class:`Tag`, the name of a field that is wrong (:func:`wrong_field`), the kind of its fault
(:func:`with_fault`), or the id of a rule: a request that a case sends for one rule only has it as a tag
(:func:`sent_for`). Run files hold tags as plain strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class Tag(StrEnum):
    """A tag with a fixed meaning."""

    # What the contract says of the request.
    VALID = "valid"
    """The body is valid beyond dispute."""
    BASIC = "basic"
    """No endpoint may refuse it."""
    INVALID = "invalid"
    """It must be refused."""
    EDGE = "edge"
    """It is extreme: it may be refused or answered, but must break nothing."""

    # How the exchange counts.
    UNJUDGED = "unjudged"
    """No verdict takes it into account."""
    BUSY = "busy"
    """The endpoint was busy each time it was sent, so it was never answered."""
    REPEATED = "repeated"
    """The endpoint was busy or gave no reply, and the request was sent again."""
    RERUN = "rerun"
    """It was sent to confirm a finding."""
    REDUCED = "reduced"
    """It was sent to find the smallest request that shows a finding."""
    NARROWED = "narrowed"
    """It was sent to find out what the endpoint refuses in a request that it refused."""

    # Who sent it.
    SECOND_TENANT = "second-tenant"
    """It was sent with the second tenant's key."""
    WRONG_KEY = "wrong-key"
    """It was sent with a key that cannot be right."""

    # What is special about it, for the checks that look for such requests.
    ASKS_REPEAT = "asks-repeat"
    """It requests a canary and nothing else; a model that leaves it out has not shown that it can repeat one."""
    BROKEN = "broken"
    """No parser, however lenient, finds a request in the body."""
    ISOLATION = "isolation"
    """A stream that runs beside others, or alone for comparison, with a canary of its own."""
    TAKEN = "taken"
    """Its request_id was used before."""
    UNKNOWN_FIELD = "unknown-field"
    """It has a field that no version of the API has."""
    UNKNOWN_MODEL = "unknown-model"
    """It names a model that no endpoint has."""
    UNLISTED_MODEL = "unlisted-model"
    """``GET /v1/models`` lists models, but not the one that it names."""
    WRONG_METHOD = "wrong-method"
    """Its method is not allowed at its path."""
    LIMIT_SEARCH = "limit-search"
    """The search for limits sent it, not the plan."""

    # Of load runs.
    BACKGROUND = "background"
    """The reply is that of the last poll of a background response."""
    CANCELLED = "cancelled"
    """The client gave up on purpose, as the workload says."""
    UNOPENED = "unopened"
    """It was not sent: this machine had no file or port left for a connection."""


UNCERTAIN: Final = frozenset({Tag.INVALID, Tag.EDGE})
"""Tags of requests that need not be answered as they ask."""

ON_PURPOSE: Final = frozenset(
    {
        Tag.INVALID,
        Tag.EDGE,
        Tag.BROKEN,
        Tag.TAKEN,
        Tag.UNKNOWN_FIELD,
        Tag.UNKNOWN_MODEL,
        Tag.WRONG_KEY,
        Tag.WRONG_METHOD,
    }
)
"""Tags of requests in which something is wrong or extreme on purpose."""

BOOKKEEPING: Final = frozenset({Tag.UNJUDGED, Tag.REPEATED, Tag.RERUN, Tag.REDUCED, Tag.NARROWED})
"""Tags that say nothing of the request itself."""

_WRONG_FIELD: Final = "param:"


def wrong_field(path: str) -> str:
    """Return the tag of a request whose one fault is in this field (``input[0].type``)."""
    return f"{_WRONG_FIELD}{path}"


def wrong_field_of(tags: Iterable[str]) -> str:
    """Return the field that the tags name as wrong; empty when they name none."""
    return next((tag.removeprefix(_WRONG_FIELD) for tag in tags if tag.startswith(_WRONG_FIELD)), "")


_FAULT: Final = "fault:"


class FaultKind(StrEnum):
    """What is wrong with an invalid body, in the order of the tables; ``label`` as people read it."""

    ROOT = "root"
    MISSING = "missing"
    NULL = "null"
    TYPE = "type"
    VALUE = "value"
    RANGE = "range"
    JSON = "json"
    MEDIA = "media"

    @property
    def label(self) -> str:
        """The kind in a few words."""
        return _LABELS[self]


_LABELS: Final[Mapping[FaultKind, str]] = {
    FaultKind.ROOT: "body that is not an object",
    FaultKind.MISSING: "missing required field",
    FaultKind.NULL: "null in a field that cannot be null",
    FaultKind.TYPE: "wrong JSON type",
    FaultKind.VALUE: "unknown type or enum value",
    FaultKind.RANGE: "value outside its limits",
    FaultKind.JSON: "malformed JSON",
    FaultKind.MEDIA: "content type other than JSON",
}


def with_fault(kind: FaultKind) -> str:
    """Return the tag of a request that is surely invalid by one fault of this kind."""
    return f"{_FAULT}{kind.value}"


def fault_of(tags: Iterable[str]) -> FaultKind | None:
    """Return the kind of fault that the tags name; ``None`` when they name none."""
    names = {f"{_FAULT}{kind.value}": kind for kind in FaultKind}
    return next((names[tag] for tag in tags if tag in names), None)


def sent_for(rule: str) -> str:
    """Return the tag of a request that a case sends for one rule, which the rule's check looks for."""
    return rule

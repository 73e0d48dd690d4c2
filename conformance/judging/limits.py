"""Limits: what is made larger to find them, and what a run shows of each.

A limit is sent by cases of its own (``limits.NAME``), whose requests name their size in their role. So what a run
found can be read from its exchanges, those of a test plan and those of the search of ``--limits`` alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from rejoinder.budgets import KIB, MIB
from rejoinder.conformance.judging.problems import get, is_integer
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.contract import Dialect
from rejoinder.formatting import one_line
from rejoinder.model.error_text import error_text
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.model.footer import LimitResult, LimitStop
from rejoinder.model.tags import Tag
from rejoinder.wire.pacing import BUSY

PREFIX: Final = "limits."
"""What the ids of the cases begin with that look for a limit."""
_WORDS: Final = 160


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something of a request that may be too large.

    ``name`` is that of its case after :data:`PREFIX` and, where the dialect documents a limit, in the dialect's
    ``limits``. ``title`` and ``unit`` (in the plural) are for people. A search starts at ``start`` units, doubles up to
    ``ceiling`` and then halves the interval ``halvings`` times. ``tokens`` is about how many input tokens one unit
    costs at most, ``size`` how many bytes. ``needs`` names a field of the request that the dialect must have.
    ``heard`` is whether every unit reaches the model, so that the input tokens grow with the number of units.
    ``same`` is whether the request is the simplest one as JSON, whatever its size is.
    """

    name: str
    title: str
    unit: str
    start: int
    ceiling: int
    halvings: int = 4
    tokens: float = 0.0
    size: float = 1.0
    needs: str = ""
    heard: bool = False
    same: bool = False

    @property
    def case(self) -> str:
        """The id of its case."""
        return f"{PREFIX}{self.name}"

    def documented(self, dialect: Dialect) -> int | None:
        """Return the limit that the dialect documents, ``None`` for none."""
        found = dialect.request["limits"].get(self.name)
        return found if isinstance(found, int) else None


# A response repeats the schema, two levels of JSON for each of its levels, and no response deeper than
# ``rejoinder.budgets.DEPTH`` is parsed.
_ROWS: Final = (
    Dimension("body", "Request body", "bytes", 64 * KIB, 8 * MIB, 3, same=True),
    Dimension("event", "Echoed text in one event", "characters", 16 * KIB, MIB, 3, size=1.0, needs="user"),
    Dimension("context", "Input", "words", 256, 16 * KIB, 1, tokens=1.3, size=6.0, heard=True),
    Dimension("items", "Input items", "items", 8, 512, tokens=8.0, size=50.0, heard=True),
    Dimension("parts", "Content parts of a message", "parts", 8, 512, tokens=4.0, size=45.0, heard=True),
    Dimension("tools", "Function tools", "tools", 8, 128, tokens=40.0, size=150.0, needs="tools", heard=True),
    Dimension("stop", "Stop sequences", "entries", 2, 64, size=12.0, needs="stop"),
    Dimension("metadata_pairs", "Metadata pairs", "pairs", 8, 1024, 6, size=24.0, needs="metadata"),
    Dimension("metadata_key", "Metadata key", "characters", 32, 16 * KIB, 6, needs="metadata"),
    Dimension("metadata_value", "Metadata value", "characters", 256, 64 * KIB, 6, needs="metadata"),
    Dimension("tool_name", "Name of a function tool", "characters", 32, 4 * KIB, 6, tokens=0.5, needs="tools"),
    Dimension("format_name", "Name of a JSON Schema", "characters", 32, 4 * KIB, 6, needs="text"),
    Dimension("call_id", "call_id of a function call", "characters", 32, 4 * KIB, 6, tokens=0.5),
    Dimension("safety_identifier", "safety_identifier", "characters", 32, 4 * KIB, 6, needs="safety_identifier"),
    Dimension("prompt_cache_key", "prompt_cache_key", "characters", 32, 4 * KIB, 6, needs="prompt_cache_key"),
    Dimension("schema_depth", "Nesting of a JSON Schema", "levels", 4, 40, tokens=15.0, size=80.0, needs="text"),
    Dimension("arguments_depth", "Nesting of call arguments", "levels", 8, 256, tokens=4.0, size=8.0),
)
DIMENSIONS: Final[Mapping[str, Dimension]] = MappingProxyType({row.name: row for row in _ROWS})
"""Everything whose limit is looked for, by name, in the order of reports and of the search."""


def dimensions_of(dialect: Dialect) -> list[Dimension]:
    """Return what has a limit in requests of a dialect."""
    return [row for row in _ROWS if not row.needs or row.needs in dialect.parameters]


def dimension_of(case: str) -> Dimension | None:
    """Return what a case looks for the limit of, ``None`` for any other case."""
    return DIMENSIONS.get(case.removeprefix(PREFIX)) if case.startswith(PREFIX) else None


def role_of_size(size: int) -> str:
    """Return the role of a request with that many units."""
    return role_of(Role.SIZE, size)


def size_of(exchange: Exchange) -> int | None:
    """Return how many units the role of a request names, ``None`` for a request that looks for no limit."""
    name, _, number = exchange.role.rpartition("-")
    return int(number) if name == Role.SIZE and number.isdecimal() else None


def is_accepted(exchange: Exchange) -> bool:
    """Return whether a request got the response that it is about, to its end."""
    return exchange.ok and exchange.outcome is Outcome.COMPLETE


def is_rejected(exchange: Exchange) -> bool:
    """Return whether the endpoint refused a request, failed on it or dropped its connection.

    A busy endpoint, a missing authorisation and what rejoinder stopped itself say nothing of a limit.
    """
    if exchange.status is None or exchange.ok:
        unsent = (Outcome.CANCELLED, Outcome.REFUSED, Outcome.TLS, Outcome.TOO_LARGE, Outcome.COMPLETE)
        return exchange.outcome not in unsent and not exchange.timed_out_connecting
    return exchange.status not in (401, 403, *BUSY)


def sized(exchanges: Iterable[Exchange]) -> dict[str, list[tuple[int, Exchange]]]:
    """Return the requests that look for limits with their sizes, the smallest first, by the name of the dimension."""
    found: dict[str, list[tuple[int, Exchange]]] = {}
    for exchange in exchanges:
        dimension, size = dimension_of(exchange.case), size_of(exchange)
        if dimension is not None and size is not None and Tag.UNJUDGED not in exchange.tags:
            found.setdefault(dimension.name, []).append((size, exchange))
    return {name: sorted(pairs, key=lambda pair: pair[0]) for name, pairs in found.items()}


def measure_limits(exchanges: Sequence[Exchange], dialect: Dialect) -> list[LimitResult]:
    """Return what a run found of each limit, for the footer of its run file."""
    found = sized(exchanges)
    return [result for row in _ROWS if row.name in found for result in _measured(row, found[row.name], dialect)]


def _measured(row: Dimension, pairs: Sequence[tuple[int, Exchange]], dialect: Dialect) -> Iterator[LimitResult]:
    accepted = [(size, exchange) for size, exchange in pairs if is_accepted(exchange)]
    if not accepted and not any(is_rejected(exchange) for _, exchange in pairs):
        return
    largest, proof = accepted[-1] if accepted else (None, None)
    beyond = ((size, exchange) for size, exchange in pairs if is_rejected(exchange) and size > (largest or 0))
    smallest, refused = next(beyond, (None, None))
    if largest is None:
        stop = LimitStop.REFUSED
    elif smallest is not None:
        stop = LimitStop.FOUND
    else:
        searched = any(Tag.LIMIT_SEARCH in exchange.tags for _, exchange in pairs)
        reached = largest >= row.ceiling
        stop = LimitStop.CEILING if reached else LimitStop.BUDGET if searched else LimitStop.PLAN
    yield LimitResult(
        limit=row.name,
        title=row.title,
        unit=row.unit,
        largest=largest,
        smallest=smallest,
        how=_how(refused) if refused is not None else "",
        documented=row.documented(dialect),
        stop=stop,
        accepted=proof.id if proof is not None else "",
        refused=refused.id if refused is not None else "",
    )


def _how(exchange: Exchange) -> str:
    """Return how a request was rejected: its status, media type and the endpoint's own words, or what broke."""
    if exchange.status is None or exchange.ok:
        return one_line(exchange.detail or exchange.outcome.value, _WORDS)
    words = one_line(error_text(exchange, _WORDS), _WORDS)
    media = exchange.content_type
    kind = f" {media}" if media and media != "application/json" else ""
    return f"{exchange.status}{kind}{f': {words}' if words else ''}"


CONTEXT_FIELDS: Final = (("max_model_len",), ("context_length",), ("context_window",))
"""Where ``GET /v1/models`` has the context of a model: ``max_model_len`` in vLLM and SGLang, the others elsewhere."""


def context_lengths(model: Any, fields: Iterable[tuple[str, ...]]) -> list[int]:
    """Return the lengths of a model's context in tokens that a row of ``GET /v1/models`` has at these places."""
    return [length for path in fields if is_integer(length := get(model, *path)) and length > 0]


def context_of(model: Any) -> int | None:
    """Return the context length in tokens that ``GET /v1/models`` has for a model; ``None`` without one."""
    return next(iter(context_lengths(model, CONTEXT_FIELDS)), None)

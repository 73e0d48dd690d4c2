"""How different the values of a strategy are: which branches of a dialect they take, how deep, long and odd they are.

::

    from rejoinder.strategies import request_bodies, variety

    print(variety(request_bodies(dialect="openai"), dialect="openai"))
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from rejoinder.contract import SchemaVariant
from rejoinder.contract.branches import Branches, fits, is_below, split
from rejoinder.contract.nodes import Array, Node, Object, Scalar, Union, request_nodes
from rejoinder.formatting import plural
from rejoinder.strategies.options import AnyDialect
from rejoinder.strategies.profile import named
from rejoinder.strategies.sampling import drawn
from rejoinder.strategies.schema.leaves import ends

__all__ = ["Variety", "measure", "variety"]

_EAST_ASIAN: Final = (("\u1100", "\u11ff"), ("\u3040", "\u9fff"), ("\uac00", "\ud7a3"))
#: Kinds of characters, by what software must do to handle them: a name and a test.
UNICODE: Final[Mapping[str, Callable[[str], bool]]] = {
    "ASCII letters and digits": lambda c: c.isascii() and c.isalnum(),
    "ASCII punctuation": lambda c: c.isascii() and c.isprintable() and not c.isalnum(),
    "control characters": lambda c: unicodedata.category(c) == "Cc",
    "Latin-1": lambda c: "\u00a0" <= c <= "\u00ff",
    "combining marks": lambda c: unicodedata.category(c) in ("Mn", "Mc", "Me"),
    "right-to-left letters": lambda c: unicodedata.bidirectional(c) in ("R", "AL"),
    "direction controls": lambda c: c in "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    "zero-width characters": lambda c: c in "\u200b\u200c\u200d\u2060\ufeff",
    "line and paragraph separators": lambda c: c in "\u2028\u2029\u0085",
    "Han, kana and Hangul": lambda c: any(first <= c <= last for first, last in _EAST_ASIAN),
    "emoji": lambda c: "\U0001f1e6" <= c <= "\U0001faff",
    "beyond the basic plane": lambda c: c > "\uffff",
    "private use and unassigned": lambda c: unicodedata.category(c) in ("Co", "Cn"),
    "lone surrogates": lambda c: "\ud800" <= c <= "\udfff",
}


@dataclass(frozen=True, slots=True)
class Variety:
    """What a number of values have between them.

    ``counts`` has for every branch of the dialect how many values take it, 0 included. ``pairs`` is how many pairs of
    branches occur together in a value, ``possible_pairs`` how many do not exclude each other. ``depths`` (levels of
    nesting), ``sizes`` (bytes of JSON), ``texts`` (characters) and ``lists`` (elements) count what occurs by its
    extent. ``unicode`` has for every kind of character how many values contain it. ``ends`` has for every bound in the
    schema (``max_output_tokens=16``, ``call_id:64`` for lengths) how many values are at it, 0 included.
    """

    draws: int
    counts: Mapping[str, int]
    pairs: int
    possible_pairs: int
    depths: Counter[int]
    sizes: Counter[int]
    texts: Counter[int]
    lists: Counter[int]
    unicode: Mapping[str, int]
    ends: Mapping[str, int]

    @property
    def branches(self) -> int:
        """How many branches some value takes."""
        return sum(count > 0 for count in self.counts.values())

    @property
    def missing(self) -> list[str]:
        """The branches that no value takes, sorted."""
        return sorted(name for name, count in self.counts.items() if not count)

    @property
    def rarest(self) -> int:
        """In how many values the branch occurs that occurs the least."""
        return min(self.counts.values(), default=0)

    @property
    def rows(self) -> dict[str, str]:
        """The measurements as people read them, by their names."""
        at_ends = sum(count > 0 for count in self.ends.values())
        share = _share(self.pairs, self.possible_pairs)
        rows = {
            "branches": f"{self.branches:,} of {len(self.counts):,}",
            "draws with the rarest branch": f"{self.rarest:,} of {self.draws:,}",
            "pairs of branches": f"{self.pairs:,} of {self.possible_pairs:,} ({share})",
            "levels of nesting": _spread(self.depths),
            "bytes of JSON": _spread(self.sizes),
            "lengths of texts": _spread(self.texts),
            "lengths of lists": _spread(self.lists),
            "bounds met exactly": f"{at_ends:,} of {len(self.ends):,}" if self.ends else "the schema has none",
        }
        for name, count in self.unicode.items():
            rows[f"draws with {name}"] = f"{count:,}"
        return rows

    def __str__(self) -> str:
        """Return one line for each measurement, and one for the branches that are missing."""
        lines = [f"{name}: {value}" for name, value in self.rows.items()]
        if self.missing:
            some = ", ".join(self.missing[:10]) + (", ..." if len(self.missing) > 10 else "")
            lines.append(f"{plural(len(self.missing), 'missing branch', 'missing branches')}: {some}")
        return "\n".join(lines)


def variety(
    strategy: SearchStrategy[Any],
    *,
    dialect: AnyDialect | None = None,
    draws: int = 1000,
    seed: int = 0,
    body: Callable[[Any], Any] | None = None,
) -> Variety:
    """Draw ``draws`` values of a strategy of request bodies and return how different they are.

    ``dialect`` is the dialect that branches and bounds are those of, the default one where it is left out. For a
    strategy of parts of a body, ``body`` puts a part into one. The draws are independent of each other, and the same
    for the same seed and version of Hypothesis. A test with ``@given`` gets less variety in as many draws: Hypothesis
    derives about half of them from others. Raises ``hypothesis.errors.InvalidArgument`` for fewer draws than 1.
    """
    if draws < 1:
        raise InvalidArgument(f"draws={draws} is less than 1")
    values = drawn(strategy, draws, seed=seed)
    return measure(values if body is None else map(body, values), dialect=dialect)


def measure(
    bodies: Iterable[Any],
    *,
    dialect: AnyDialect | None = None,
    variant: SchemaVariant = SchemaVariant.GENERATION,
) -> Variety:
    """Return how different request bodies are, wherever they come from; see :func:`variety`.

    A body that is invalid in the ``variant`` of the dialect's request schema takes no branch; the permissive one allows
    unknown fields.
    """
    root = request_nodes(variant, named(None, dialect))
    contract = Branches(root)
    names = sorted(contract.all)
    place = {name: number for number, name in enumerate(names)}
    counts = dict.fromkeys(names, 0)
    together = [bytearray(len(names)) for _ in names]
    bounds = dict.fromkeys(_bounds(root, ""), 0)
    depths, sizes, texts, lists = Counter[int](), Counter[int](), Counter[int](), Counter[int]()
    kinds = dict.fromkeys(UNICODE, 0)
    draws = 0
    for body in bodies:
        draws += 1
        found = sorted(place[name] for name in contract.of(body))
        for number in found:
            counts[names[number]] += 1
        for one, other in combinations(found, 2):
            together[one][other] = 1
        for name in set(_at_bounds(root, body, "")) if bounds else ():
            bounds[name] += 1
        depths[_depth(body)] += 1
        sizes[len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))] += 1
        characters: set[str] = set()
        for value in _values(body):
            if isinstance(value, str):
                texts[len(value)] += 1
                characters.update(value)
            else:
                lists[len(value)] += 1
        for kind, test in UNICODE.items():
            kinds[kind] += any(map(test, characters))
    reached, possible = _pairs(names, together)
    return Variety(draws, counts, reached, possible, depths, sizes, texts, lists, kinds, bounds)


def _pairs(names: list[str], together: list[bytearray]) -> tuple[int, int]:
    """Return how many pairs of branches occur together, and how many could.

    Two branches exclude each other where they need different choices at a place that a body has once.
    """
    once = [name for name in names if "[]" not in split(name)[0] and "{}" not in split(name)[0]]
    needs = [frozenset(split(other) for other in once if other == name or is_below(name, other)) for name in names]
    groups = {need: number for number, need in enumerate(dict.fromkeys(needs))}
    excluded = [[_exclude(one, other) for other in groups] for one in groups]
    group = [groups[need] for need in needs]
    reached = possible = 0
    for one, row in enumerate(together):
        apart = excluded[group[one]]
        for other in range(one + 1, len(names)):
            if not apart[group[other]]:
                possible += 1
                reached += row[other]
    return reached, possible


def _exclude(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    chosen = dict(one)
    # A place has both a value and one of its alternatives.
    return any(path in chosen and chosen[path] != choice and _rival(chosen[path], choice) for path, choice in other)


def _rival(one: str, other: str) -> bool:
    states = {"absent", "null"}
    return "value" not in (one, other) or one in states or other in states


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _values(value: Any) -> Iterator[str | list[Any]]:
    """Yield every text and list in a value; the names of fields are not among them."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _values(inner)
    elif isinstance(value, list):
        yield value
        for inner in value:
            yield from _values(inner)
    elif isinstance(value, str):
        yield value


#: Lengths above this are met in edge cases, not in draws.
_DRAWN: Final = 4096


def _bounds(node: Node, path: str) -> Iterator[str]:
    """Yield a name for every bound below a node that draws may meet."""
    if isinstance(node, Scalar):
        sign = ":" if node.type == "string" else "="
        yield from (f"{path}{sign}{end:g}" for end in ends(node.schema) if sign == "=" or end <= _DRAWN)
    elif isinstance(node, Union):
        for branch in node.alternatives:
            yield from _bounds(branch, path)
    elif isinstance(node, Array):
        yield from (f"{path}:{end}" for end in _extents(node))
        yield from _bounds(node.items, f"{path}[]")
    elif isinstance(node, Object):
        yield from (f"{path}:{end}" for end in _extents(node))
        for item in node.fields:
            yield from _bounds(item.node, f"{path}.{item.name}".lstrip("."))
        if node.extra is not None:
            yield from _bounds(node.extra, f"{path}{{}}")


def _extents(node: Array | Object) -> set[int]:
    return {end for end in (node.smallest or None, node.largest) if end is not None and end <= _DRAWN}


def _at_bounds(node: Node, value: Any, path: str) -> Iterator[str]:
    """Yield the names of the bounds, as :func:`_bounds`, that a value is at."""
    if isinstance(node, Scalar):
        if isinstance(value, str):
            yield from (f"{path}:{end:g}" for end in ends(node.schema) if end == len(value) and end <= _DRAWN)
        elif not isinstance(value, bool):
            yield from (f"{path}={end:g}" for end in ends(node.schema) if end == value)
    elif isinstance(node, Union):
        for branch in node.alternatives:
            if fits(branch, value):
                yield from _at_bounds(branch, value, path)
    elif isinstance(node, Array) and isinstance(value, list):
        yield from (f"{path}:{end}" for end in _extents(node) if end == len(value))
        for inner in value:
            yield from _at_bounds(node.items, inner, f"{path}[]")
    elif isinstance(node, Object) and isinstance(value, dict):
        yield from (f"{path}:{end}" for end in _extents(node) if end == len(value))
        fields = {item.name: item.node for item in node.fields}
        for name, inner in value.items():
            if name in fields:
                yield from _at_bounds(fields[name], inner, f"{path}.{name}".lstrip("."))
            elif node.extra is not None:
                yield from _at_bounds(node.extra, inner, f"{path}{{}}")


def _spread(counted: Counter[int]) -> str:
    """Return the median, the 99th percentile and the largest of what was counted."""
    values = sorted(counted.elements())
    if not values:
        return "none"
    return f"median {values[len(values) // 2]:,}, p99 {values[len(values) * 99 // 100]:,}, largest {values[-1]:,}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"

"""Strategies for the values at the ends of a schema.

A leaf has several alternatives: ordinary values, which shrink towards the plainest one, and rarely the values at the
ends of its bounds and long texts. The alternatives are a list, so that whatever holds the leaf chooses among them with
the same draw that decides whether the value is there at all.

Formats, and patterns that are more than a class of characters, come from hypothesis-jsonschema and Hypothesis. Objects
never do: the object strategy of hypothesis-jsonschema re-reads the schema in every draw.

Unconstrained leaves keep to what every JSON stack takes without a second thought: integers within 32 bits, finite
numbers, text without surrogates. What lies beyond is the business of :mod:`rejoinder.strategies.sets.edge`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, Final, NamedTuple

import jsonschema_rs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from hypothesis_jsonschema import from_schema

from rejoinder.json_copy import copy_json
from rejoinder.strategies._provider import place

Json = None | bool | int | float | str | list[Any] | dict[str, Any]

INT_LIMIT: Final = 2**31 - 1
#: How many characters an ordinary text has at most, and a long one.
_FEW: Final = 4
_SHORT: Final = 80
_LONG: Final = 4096
#: Bounds up to this length are met exactly in drawn texts; larger ones in :mod:`rejoinder.strategies.sets.edge`.
_LONGEST_END: Final = 4096
#: How far from its bounds a number is that is just inside of them.
_STEP: Final = 1e-6
#: Code points of texts: enough of every kind that software handles in its own way, so that all of them are drawn.
_CODE_POINTS: Final[tuple[tuple[int, int], ...]] = (
    (0x00, 0xFF),  # ASCII and Latin-1, with all control characters
    (0x130, 0x131),  # letters whose case depends on the language
    (0x300, 0x30F),  # combining accents
    (0x5D0, 0x5DB),  # Hebrew
    (0x621, 0x62F),  # Arabic
    (0x64B, 0x650),  # Arabic marks
    (0x915, 0x91D),  # Devanagari
    (0x94D, 0x94D),  # ... and what joins its letters
    (0x1100, 0x1105),  # parts of Hangul syllables
    (0x200B, 0x200F),  # zero width, and marks of direction
    (0x2028, 0x202E),  # ends of lines and paragraphs, embedding and overriding of direction
    (0x2066, 0x2069),  # isolation of direction
    (0x3041, 0x304A),  # Hiragana
    (0x4E00, 0x4E0A),  # Han
    (0xAC00, 0xAC05),  # Hangul
    (0xE000, 0xE002),  # private use
    (0xFB01, 0xFB02),  # ligatures
    (0xFDFA, 0xFDFA),  # a ligature that normalises to 18 characters
    (0xFE0F, 0xFE0F),  # variation selector
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFF21, 0xFF25),  # full width
    (0xFFFD, 0xFFFF),  # replacement character and non-characters
    (0x10348, 0x10349),  # Gothic
    (0x1D4B3, 0x1D4B6),  # mathematical letters
    (0x1F1E6, 0x1F1EB),  # regional indicators
    (0x1F3FB, 0x1F3FF),  # tones of skin
    (0x1F466, 0x1F469),  # members of emoji families
    (0x1F600, 0x1F608),  # emoji
    (0x20000, 0x20003),  # Han outside of the basic plane
    (0xE0061, 0xE0065),  # tags
    (0x10FFFF, 0x10FFFF),  # the last code point
)
ALPHABET: Final = "".join(chr(point) for first, last in _CODE_POINTS for point in range(first, last + 1))
#: Names of tools, properties and keys, as every endpoint takes them.
NAMES: Final = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
_CHARACTER_CLASS: Final = re.compile(r"\^(\[(?:[^\]\\]|\\.)+\])(?:([+*])|\{(\d+)(,?)(\d*)\})?\$")


class Alternative(NamedTuple):
    """One way to draw a value: from a strategy, or the constant ``value`` where that is ``None``.

    ``weight`` is how often it is taken, beside the others. ``extreme`` marks values at ends, which shrinking leaves for
    ordinary ones. ``name`` is the field that it belongs to, where several fields are chosen from at once.
    """

    weight: float
    strategy: SearchStrategy[Any] | None
    value: Any = None
    extreme: bool = False
    name: str = ""


def constants(values: tuple[Any, ...]) -> list[Alternative]:
    """Return one alternative for each value, all equally often."""
    return [Alternative(1, None, value) for value in values]


def alternatives(schema: Mapping[str, Any]) -> list[Alternative]:
    """Return how values of a leaf schema are drawn.

    Shrinks towards the empty string, zero and false, or the plainest value that the schema allows.
    """
    kind = schema["type"]
    if kind == "boolean":
        return constants((False, True))
    if kind == "string":
        return _strings(schema)
    return _integers(schema) if kind == "integer" else _numbers(schema)


def scalars(schema: Mapping[str, Any]) -> SearchStrategy[Any]:
    """Values of a leaf schema, ordinary ones and those at the ends of its bounds."""
    return st.one_of([st.just(value) if drawn is None else drawn for _, drawn, value, *_ in alternatives(schema)])


def _strings(schema: Mapping[str, Any]) -> list[Alternative]:
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    if "format" in schema:
        return [Alternative(1, from_schema(dict(schema)))]
    if "pattern" not in schema:
        return _texts(ALPHABET, low, high)
    repeated = _CHARACTER_CLASS.fullmatch(schema["pattern"])
    if repeated:
        characters, sign, least, comma, most = repeated.groups()
        fewest = int(least) if least else 1 if sign == "+" or not sign else 0
        largest = None if sign or (comma and not most) else int(most or least or 1)
        high = largest if high is None else high if largest is None else min(high, largest)
        alphabet = _members(characters)
        if alphabet and (high is None or max(low, fewest) <= high):
            return _texts(alphabet, max(low, fewest), high)
    return [Alternative(1, _matches(schema))]


@cache
def _members(characters: str) -> str:
    """Return the characters of ASCII and of :data:`ALPHABET` that a character class names, as ECMA-262 reads it."""
    pattern = re.compile(characters, re.ASCII)
    return "".join(character for character in ALPHABET if pattern.fullmatch(character))


def _matches(schema: Mapping[str, Any]) -> SearchStrategy[str]:
    """Texts that a pattern is found in. JSON Schema has ECMA-262's ``$``, which no line break may follow."""
    pattern = re.sub(r"(?<!\\)\$$", r"\\Z", schema["pattern"])
    is_valid = jsonschema_rs.Draft202012Validator(dict(schema)).is_valid
    return st.from_regex(pattern, alphabet=st.sampled_from(ALPHABET)).filter(is_valid)


def _texts(alphabet: str, low: int, high: int | None) -> list[Alternative]:
    longest = low + _SHORT if high is None else min(high, low + _SHORT)
    # Most are a few characters long, which costs half as much to draw.
    few = min(longest, low + _FEW)
    found = [Alternative(132 if few < longest else 168, st.text(alphabet, min_size=low, max_size=few))]
    if few < longest:
        found.append(Alternative(36, st.text(alphabet, min_size=low, max_size=longest)))
    if alphabet is ALPHABET:
        found.append(Alternative(16, st.text(min_size=low, max_size=longest), extreme=True))
    if high is None or high > longest:
        # Short lengths are among them, so that a long text shrinks to as few characters as fail.
        lengths = st.integers(low, max(_LONG if high is None else min(high, _LONG), longest + 1))
        found.append(Alternative(1, _filled(alphabet, lengths), extreme=True))
    if high is not None and low < high <= _LONGEST_END:
        # As above: lengths in the lower half are themselves, those in the upper one become the longest two.
        middle = (low + high) // 2
        ends = st.integers(low, high).map(lambda length: length if length <= middle else high - length % 2)
        found.append(Alternative(9, _filled(alphabet, ends), extreme=True))
    return found


def _filled(alphabet: str, lengths: SearchStrategy[int]) -> SearchStrategy[str]:
    """Texts of given lengths, made by repeating a short one: a text of any length costs two choices."""
    return st.builds(repeated, st.text(alphabet, min_size=1, max_size=4), lengths)


def repeated(unit: str, length: int) -> str:
    """Return a text of ``length`` characters that repeats ``unit``."""
    return (unit * (length // len(unit) + 1))[:length]


def _bounds(schema: Mapping[str, Any]) -> tuple[float, float]:
    """Return the smallest and the largest number; where the schema names none, one that every JSON stack takes."""
    step = 1 if schema["type"] == "integer" else 0
    lows = [schema[key] for key in ("minimum",) if key in schema]
    highs = [schema[key] for key in ("maximum",) if key in schema]
    if "exclusiveMinimum" in schema:
        edge = schema["exclusiveMinimum"]
        lows.append(math.floor(edge) + 1 if step else math.nextafter(edge, math.inf))
    if "exclusiveMaximum" in schema:
        edge = schema["exclusiveMaximum"]
        highs.append(math.ceil(edge) - 1 if step else math.nextafter(edge, -math.inf))
    limit = INT_LIMIT if step else 1e6
    low = max(lows) if lows else None
    high = min(highs) if highs else None
    if low is None:
        low = -limit if high is None else min(-limit, high)
    return low, max(limit, low) if high is None else high


def _multiples(low: float, high: float, step: float) -> tuple[int, int]:
    """Return the factors of the first and the last multiple of a step between two numbers; exact for large integers."""
    exact = Fraction(step)
    return math.ceil(Fraction(low) / exact), math.floor(Fraction(high) / exact)


def ends(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the numbers at the bounds that a leaf schema names and those just inside, or the lengths of its texts."""
    if schema["type"] == "string":
        low, high = schema.get("minLength"), schema.get("maxLength")
        lengths = [*([low, low + 1] if low is not None else []), *([high - 1, high] if high is not None else [])]
        return tuple(
            sorted({length for length in lengths if (low or 0) <= length and (high is None or length <= high)})
        )
    low, high = _bounds(schema)
    whole = schema["type"] == "integer"
    step = schema.get("multipleOf", 1 if whole else _STEP)
    found: list[float] = []
    if {"minimum", "exclusiveMinimum"} & schema.keys():
        first = (
            _multiples(low, high, step)[0] * step
            if whole
            else max(low, schema.get("exclusiveMinimum", low - step) + step)
        )
        found += [first, first + step]
    if {"maximum", "exclusiveMaximum"} & schema.keys():
        below = high if whole else min(high, schema.get("exclusiveMaximum", high + step) - step)
        last = _multiples(low, high, step)[1] * step if whole else below
        found += [last - step, last]
    if not whole and "multipleOf" in schema:
        found = []  # floating-point numbers are no exact multiples
    return tuple(sorted({number for number in found if low <= number <= high}))


def _integers(schema: Mapping[str, Any]) -> list[Alternative]:
    low, high = _bounds(schema)
    step = schema.get("multipleOf", 1)
    usual: SearchStrategy[Any]
    if step == int(step):
        multiples = st.integers(*_multiples(low, high, step))
        usual = multiples if step == 1 else multiples.map(int(step).__mul__)
    else:
        usual = from_schema({**schema, "minimum": low, "maximum": high})
    return _with_ends([Alternative(12, usual)], schema)


def _numbers(schema: Mapping[str, Any]) -> list[Alternative]:
    low, high = _bounds(schema)
    if "multipleOf" in schema:
        return [Alternative(1, from_schema({**schema, "minimum": low, "maximum": high}))]
    first, last = max(math.ceil(low), -1000), min(math.floor(high), 1000)
    found = [Alternative(6, st.integers(first, last))] if first <= last else []
    return _with_ends([*found, Alternative(6, st.floats(low, high, allow_nan=False))], schema)


def _with_ends(found: list[Alternative], schema: Mapping[str, Any]) -> list[Alternative]:
    at_ends = ends(schema)
    return [*found, Alternative(4, st.sampled_from(at_ends), extreme=True)] if at_ends else found


_TEXT: Final = st.text(ALPHABET, max_size=_SHORT)
_JSON_LEAVES: Final = (st.none(), st.booleans(), st.integers(-INT_LIMIT, INT_LIMIT), st.floats(-1e6, 1e6), _TEXT)


@st.composite
def _nested(draw: st.DrawFn, inner: SearchStrategy[Json]) -> Json:
    kind = place(draw, 16)
    if kind < 12:
        return draw(_JSON_LEAVES[kind % len(_JSON_LEAVES)])
    values = [draw(inner) for _ in range(place(draw, 4))]
    return values if kind < 14 else {draw(NAMES): value for value in values}


@cache
def json_values(*, depth: int = 3) -> SearchStrategy[Json]:
    """Any small JSON value, with lists and objects in each other up to ``depth``. Shrinks towards ``null``."""
    return _nested(json_values(depth=depth - 1)) if depth else st.one_of(_JSON_LEAVES)


def json_objects() -> SearchStrategy[dict[str, Json]]:
    """Any small JSON object. Shrinks towards the empty object."""
    return st.dictionaries(NAMES, json_values(depth=2), max_size=3)


_LEAF_SCHEMAS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "string"},
    {"type": "boolean"},
    {"type": "integer"},
    {"type": "integer", "minimum": 0, "maximum": 10},
    {"type": "number"},
    {"type": "string", "enum": ["red", "green", "blue"]},
    {"type": "string", "pattern": "^[A-Z]{3}$"},
    {"type": "string", "format": "date"},
    {"type": "array", "items": {"type": "string"}},
    {"type": ["string", "null"]},
)


@st.composite
def json_schemas(draw: st.DrawFn) -> dict[str, Any]:
    """JSON Schemas of an object, as a tool's ``parameters`` or a structured output's ``schema``.

    They keep to what strict mode accepts: every property required, nothing else allowed. Shrinks towards an object
    without properties.
    """
    names = [draw(NAMES) for _ in range(place(draw, 4))]
    properties: dict[str, Any] = {name: _LEAF_SCHEMAS[place(draw, len(_LEAF_SCHEMAS))] for name in names}
    return {
        "type": "object",
        "properties": copy_json(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def arguments(parameters: Mapping[str, Any]) -> SearchStrategy[str]:
    """JSON texts that a model could send as arguments of a tool with these ``parameters`` (see :func:`json_schemas`).

    Shrinks towards the smallest value of every property.
    """
    properties = parameters.get("properties", {})
    return st.fixed_dictionaries({name: from_schema(schema) for name, schema in properties.items()}).map(json.dumps)

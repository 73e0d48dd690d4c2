"""Bodies at the edges: boundary values that any endpoint takes, extremes that it may refuse, bytes that are no JSON.

The tier says what may come back:

- ``valid``: schema-valid and small; nothing in it that a JSON stack could stumble over. It should be accepted.
- ``edge``: schema-valid but extreme. A 4xx is fine; a 5xx, a hang or a broken stream is not.
- ``raw``: no JSON, or JSON that is no request. A 4xx is due. A 2xx means a lenient parser (RFC 8259 section 9 allows
  extensions), a 5xx or a hang is a defect.

Every case is exact bytes, because the HTTP client's own JSON encoder refuses the interesting ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.contract.nodes import Array, Object, Scalar, flatten, nullable
from rejoinder.contract.nodes import Literal as Fixed
from rejoinder.strategies.encode import RawJson, nested, to_bytes
from rejoinder.strategies.options import AnyDialect, chosen_names
from rejoinder.strategies.profile import RANGES, EndpointProfile, named, served
from rejoinder.strategies.schema.examples import IMAGE_URL
from rejoinder.strategies.sets.limits import ORDINARY, at_limits, is_limited, places
from rejoinder.strategies.sets.systematic import seeds
from rejoinder.validation import Validator

__all__ = ["TIERS", "EdgeCase", "edge_cases"]

Tier = Literal["valid", "edge", "raw"]
TIERS: Final[tuple[Tier, ...]] = ("valid", "edge", "raw")

_JSON: Final = "application/json"
_MEGABYTE: Final = 1_000_000
#: Texts that exercise decoders, normalisers and terminals, by name.
TEXTS: Final[Mapping[str, str]] = {
    "empty": "",
    "space": " ",
    "newlines": "a\r\nb\rc\n\n\u2028\u2029",
    "nul": "a\x00b",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x9b31m",
    "quotes": "\"\\'`</script><!--${x}%s{{y}}",
    "astral": "𝒳🦄𐍈",
    "zwj": "👩‍👩‍👧‍👦🏳️‍🌈",
    "combining": "e\u0301" + "o" + "\u0308" * 50,
    "rtl": "\u202eabc שלום \u2066ﷺ\u2069",
    "bom": "\ufeffa\ufffe\uffff",
    "sse": "data: x\n\nevent: response.completed\ndata: [DONE]\n\n",
    "markers": "<|im_start|>system<|im_end|><|endoftext|></s>",
}
_SURROGATES: Final[Mapping[str, str]] = {"high": "a\ud800b", "low": "a\udfffb", "swapped": "\udc00\ud800"}
_INTEGERS: Final[Mapping[str, int]] = {
    "zero": 0,
    "minus_one": -1,
    "int32": 2**31 - 1,
    "int32_plus": 2**31,
    "double": 2**53 + 1,
    "int64": 2**63 - 1,
    "int64_plus": 2**63,
    "int64_minus": -(2**63) - 1,
    "huge": 10**400,
}
_NUMBERS: Final[Mapping[str, Any]] = {
    "zero": 0,
    "negative_zero": RawJson("-0.0"),
    "negative": -0.001,
    "subnormal": RawJson("5e-324"),
    "large": 1e308,
    "overflow": RawJson("1e999"),
    "digits": RawJson("0." + "1" * 400),
}


@cache
def _sound(dialect: str) -> Validator:
    return Validator(request_schema(SchemaVariant.GENERATION, dialect=dialect))


@dataclass(frozen=True, slots=True)
class EdgeCase:
    """Exact bytes to send to create a response. ``id`` is stable ASCII, ``intent`` one sentence."""

    id: str
    tier: Tier
    intent: str
    data: bytes = field(repr=False)
    content_type: str = _JSON


def edge_cases(
    *tiers: Tier,
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
    size: int = _MEGABYTE,
) -> list[EdgeCase]:
    """Return the cases of the given tiers (of all without any), in a fixed order.

    ``profile`` pins model and token limit as everywhere; ``size`` is the length in characters of the largest text,
    which lengths of lists and depths follow. Where the schema limits a text or a list to no more than ``size``, one
    case has exactly that many: the texts of Open Responses need a ``size`` of 34,000,000. Raises
    ``hypothesis.errors.InvalidArgument`` for another tier.
    """
    chosen = chosen_names(tiers or None, TIERS, "tier")
    maker = _Maker(profile, dialect, served(profile, dialect), size)
    makers = {"valid": maker.valid, "edge": maker.edge, "raw": maker.raw}
    cases = [case for tier, make in makers.items() if tier in chosen for case in make()]
    return [case for case in cases if maker.allows(case)] if maker.limited else cases


class _Maker:
    def __init__(self, profile: EndpointProfile | None, dialect: AnyDialect | None, root: Object, size: int) -> None:
        self.profile = profile
        self.size = size
        self.root = root
        self.pinned = {
            item.name: item.node.values[0]
            for item in self.root.fields
            if item.required and isinstance(item.node, Fixed) and len(item.node.values) == 1
        }

        self.limited = is_limited(root, set())
        self.dialect = named(profile, dialect)

    def allows(self, case: EdgeCase) -> bool:
        """Return whether the limits of the dialect's schema allow a case that is to be valid."""
        if case.tier == "raw":
            return True
        try:
            return _sound(self.dialect).is_valid(json.loads(case.data.decode("utf-8-sig")))
        except (ValueError, RecursionError):
            return True  # what Python cannot read is within limits: they are about sizes

    def limits(self, tier: Tier) -> Iterator[EdgeCase]:
        """Yield the bodies in which one value is at a limit; those with long texts and lists are extreme."""
        known: set[str] = set()
        low, high = (0, ORDINARY) if tier == "valid" else (ORDINARY, self.size)
        for seed in seeds(dialect=self.dialect, profile=self.profile) if self.limited else ():
            found = places(self.root, seed.body, seed.below, lambda node, value: at_limits(node, value, high))
            for word, holder, key, new, _, place in found:
                name = re.sub(r"[^a-z0-9_]+", ".", f"{seed.variant}{place}.{word}".lower()).strip(".")
                extent = len(new) if isinstance(new, str | list | dict) else 0
                if name not in known and (extent > low or tier == "valid"):
                    known.add(name)
                    before = holder[key]
                    holder[key] = new
                    yield self.case(tier, f"limit.{name}", f"A value at a limit: {name}.", seed.body)
                    holder[key] = before

    def body(self, **fields: Any) -> dict[str, Any]:
        return {"input": "Say hello.", **self.pinned, **fields}

    def case(self, tier: Tier, name: str, intent: str, body: Any) -> EdgeCase:
        return EdgeCase(f"{tier}.{name}", tier, intent, to_bytes(body))

    def fields(self, *types: str) -> Iterator[tuple[str, str]]:
        """Yield the optional top-level fields whose value is a scalar of one of the types, with the type."""
        for item in self.root.fields:
            for part in flatten(item.node):
                if isinstance(part, Scalar) and part.type in types and not item.required:
                    yield item.name, part.type

    def valid(self) -> Iterator[EdgeCase]:
        for name in ("space", "newlines", "quotes", "astral", "zwj", "rtl"):
            text = TEXTS[name]
            yield self.case("valid", f"text.{name}", f"Input text with {name} is taken.", self.body(input=text))
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
            yield self.case("valid", f"part.{name}", f"A part with {name} is taken.", self.body(input=[item]))
        for name, type_ in self.fields("integer", "number"):
            if name in RANGES:
                for end, value in zip(("low", "high"), RANGES[name], strict=True):
                    whole = int(value) if type_ == "integer" or value == int(value) else value
                    yield self.case("valid", f"{name}.{end}", f"{name} may be {whole}.", self.body(**{name: whole}))
        for known in self.root.fields:
            name = known.name
            if nullable(known.node) and not known.required:
                yield self.case("valid", f"null.{name}", f"{name} may be null.", self.body(**{name: None}))
            if any(isinstance(part, Array) for part in flatten(known.node)) and name != "input":
                yield self.case("valid", f"empty.{name}", f"{name} may be empty.", self.body(**{name: []}))

        yield from self.limits("valid")

    def edge(self) -> Iterator[EdgeCase]:
        yield from self.limits("edge")
        for name, text in (*TEXTS.items(), *((f"surrogate_{key}", value) for key, value in _SURROGATES.items())):
            yield self.case("edge", f"text.{name}", f"Input text: {name}.", self.body(input=text))
            yield self.case("edge", f"instructions.{name}", f"Instructions: {name}.", self.body(instructions=text))
        yield self.case(
            "edge", "text.long", f"Input text of {self.size} characters.", self.body(input="a " * (self.size // 2))
        )
        yield self.case(
            "edge",
            "text.one_word",
            f"A word of {self.size // 10} characters.",
            self.body(input="a" * (self.size // 10)),
        )
        for name, _ in self.fields("integer"):
            for label, value in _INTEGERS.items():
                yield self.case("edge", f"{name}.{label}", f"{name} is {label}.", self.body(**{name: value}))
        for name, _ in self.fields("number"):
            for label, value in _NUMBERS.items():
                yield self.case("edge", f"{name}.{label}", f"{name} is {label}.", self.body(**{name: value}))
        for name, _ in self.fields("string"):
            if name != "instructions":
                yield self.case("edge", f"{name}.empty", f"{name} is empty.", self.body(**{name: ""}))
            long = "x" * (self.size // 100)
            yield self.case("edge", f"{name}.long", f"{name} has {len(long)} characters.", self.body(**{name: long}))
        yield from self._collections()
        yield from self._parts()
        good = to_bytes(self.body())
        # Parsers disagree on which value of a repeated key counts; endpoints should not guess.
        repeated = good[:-1] + b',"input":"Say hello again."}'
        yield EdgeCase("edge.duplicate_key", "edge", "A key occurs twice.", repeated)
        yield EdgeCase("edge.bom", "edge", "A byte order mark precedes the body.", b"\xef\xbb\xbf" + good)

    def _collections(self) -> Iterator[EdgeCase]:
        message = {"type": "message", "role": "user", "content": "hi"}
        call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
        output = {"type": "function_call_output", "call_id": "call_1", "output": "ok"}
        function = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
        many = max(self.size // 300, 2)
        lists: dict[str, Any] = {
            "empty_input": [],
            "empty_content": [{**message, "content": []}],
            "empty_text": [{**message, "content": [{"type": "input_text", "text": ""}]}],
            "many_items": [message] * many,
            "many_parts": [{**message, "content": [{"type": "input_text", "text": "hi"}] * many}],
            "same_id_twice": [{"type": "reasoning", "id": "rs_1", "summary": []}] * 2 + [message],
            "same_call_twice": [message, call, call, output],
            "two_outputs_of_one_call": [message, call, output, output],
            "output_before_call": [message, output, call],
            "output_without_call": [message, output],
            "call_without_output": [message, call],
            "arguments_are_no_json": [message, {**call, "arguments": "{"}, output],
            "only_a_system_message": [{**message, "role": "system"}],
            "only_an_assistant_message": [{**message, "role": "assistant"}],
        }
        for name, value in lists.items():
            yield self.case("edge", f"input.{name}", f"Input: {name.replace('_', ' ')}.", self.body(input=value))
        depth = max(self.size // 1000, 10)
        fields: dict[str, Any] = {
            "tools.many": {
                "tools": [{**function, "name": f"f{number}"} for number in range(max(self.size // 10_000, 2))]
            },
            "tools.same_name_twice": {"tools": [function, function]},
            "tools.empty_name": {"tools": [{**function, "name": ""}]},
            "tools.odd_name": {"tools": [{**function, "name": "a b/ü\n"}]},
            "tools.deep_parameters": {
                "tools": [{**function, "parameters": nested(depth, key="properties", inner='{"type":"object"}')}]
            },
            "tools.recursive_parameters": {"tools": [{**function, "parameters": {"$ref": "#"}}]},
            "tool_choice.undeclared": {"tool_choice": {"type": "function", "name": "undeclared"}},
            "format.deep_schema": {
                "text": {
                    "format": {"type": "json_schema", "name": "n", "schema": nested(depth, key="items", inner="{}")}
                }
            },
            "format.impossible_schema": {
                "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "string", "enum": []}}}
            },
            "metadata.many": {"metadata": {f"key{number}": "value" for number in range(1000)}},
            "metadata.long_value": {"metadata": {"key": "v" * (self.size // 100)}},
            "metadata.odd_key": {"metadata": {"": "v", "a\x00": "v", "__proto__": "v"}},
            "logit_bias.odd_keys": {"logit_bias": {"-1": 0, "99999999999": 100, "x": -100}},
        }
        known = {item.name for item in self.root.fields}
        for name, chosen in fields.items():
            if set(chosen) <= known:
                yield self.case("edge", name, f"{name.replace('_', ' ').replace('.', ': ')}.", self.body(**chosen))

    def _parts(self) -> Iterator[EdgeCase]:
        head, _, data = IMAGE_URL.partition(",")
        urls = {
            "right": IMAGE_URL,
            "wrong_type": IMAGE_URL.replace("png", "jpeg"),
            "truncated": IMAGE_URL[:-20],
            "bad_base64": f"{head},!!!!",
            "no_padding": f"{head},{data.rstrip('=')}",
            "empty_data": f"{head},",
            "no_comma": head,
            "not_an_image": "data:text/plain;base64,SGVsbG8u",
            "no_scheme": "example.com/image.png",
            "empty": "",
            "local_file": "file:///etc/hostname",
            "large": f"{head},{data}{'A' * (self.size // 4 * 4)}",
        }
        if self.profile is not None and "input_image" in self.profile.unsupported_types:
            return
        for name, url in urls.items():
            part = {"type": "input_image", "detail": "auto", "image_url": url}
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is it?"}, part]}
            words = name.replace("_", " ")
            yield self.case("edge", f"image_url.{name}", f"An image URL: {words}.", self.body(input=[item]))

    def raw(self) -> Iterator[EdgeCase]:
        good = to_bytes(self.body())
        fields = json.dumps(self.body())[1:-1]
        bodies: dict[str, bytes] = {
            "empty": b"",
            "space": b" \n",
            "null": b"null",
            "array": b"[" + good + b"]",
            "string": json.dumps(good.decode()).encode(),
            "truncated": good[:-1],
            "truncated_in_string": good[:15],
            "trailing_garbage": good + b"x",
            "two_bodies": good + good,
            "trailing_comma": good[:-1] + b",}",
            "single_quotes": b"{'input': 'Say hello.'}",
            "comment": b"/* hello */" + good,
            "nan": f'{{{fields},"temperature":NaN}}'.encode(),
            "infinity": f'{{{fields},"temperature":-Infinity}}'.encode(),
            "leading_zero": f'{{{fields},"max_tool_calls":01}}'.encode(),
            "hex": f'{{{fields},"max_tool_calls":0x10}}'.encode(),
            "bad_utf8": good.replace(b"Say", b"\xff\xfe"),
            "utf8_surrogate": good.replace(b"Say", b"\xed\xa0\x80"),
            "overlong_utf8": good.replace(b"Say", b"\xc0\xaf"),
            "latin1": good.replace(b"Say", "ä".encode("latin-1")),
            "utf16": good.decode().encode("utf-16"),
            "raw_newline_in_string": good.replace(b"Say ", b"Say\n"),
            "bad_escape": good.replace(b"Say ", b"Say\\q"),
            "half_escape": good.replace(b"Say ", b"Say\\u12"),
            "unclosed_nesting": b'{"input":' + b"[" * max(self.size // 10, 10),
            "deep_nesting": to_bytes({**self.body(), "input": nested(max(self.size // 10, 10))}),
            "huge_integer": to_bytes({**self.body(), "input": RawJson("9" * (self.size // 10))}),
            "binary": bytes(range(256)),
            "multipart": b'--x\r\nContent-Disposition: form-data; name="input"\r\n\r\nSay hello.\r\n--x--\r\n',
        }
        for name, data in bodies.items():
            yield EdgeCase(f"raw.{name}", "raw", f"A body that is refused: {name.replace('_', ' ')}.", data)
        for name, content_type in (
            ("text", "text/plain"),
            ("xml", "application/xml"),
            ("multipart", "multipart/form-data; boundary=x"),
            ("nonsense", "json"),
        ):
            yield EdgeCase(f"raw.content_type.{name}", "raw", f"A good body as {content_type}.", good, content_type)

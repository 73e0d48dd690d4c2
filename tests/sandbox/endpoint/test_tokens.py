"""What the sandbox counts as input: all that its model reads, wherever it is."""

from __future__ import annotations

import base64
import struct
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract.examples import image_url
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox.core import post
from rejoinder.sandbox.endpoint.tokens import IMAGE_TOKENS, count_tokens, tokens

TEXT = "one two three four five six seven eight nine ten"
HELLO = {"role": "user", "content": "Hello."}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


def message(part: Any, role: str = "user") -> Any:
    return {"role": role, "content": [part]}


def returned(said: Any) -> list[Any]:
    return [CALL, {"type": "function_call_output", "call_id": "call_1", "output": said}]


def file(text: str) -> Any:
    data = base64.b64encode(text.encode()).decode()
    return {"type": "input_file", "file_data": f"data:text/plain;base64,{data}"}


def input_tokens(*items: Any, freedoms: tuple[str, ...] = (), **fields: Any) -> int:
    """Return the input tokens that the usage of a response has."""
    body = {"model": "parrot", "input": [*items, HELLO], "max_output_tokens": 16, **fields}
    return int(Sandbox("openai", freedoms=freedoms).exchange(post(body)).json()["usage"]["input_tokens"])


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ([{"role": role, "content": "a"}], [{"role": role, "content": f"a {TEXT}"}])
        for role in ("user", "system", "developer", "assistant")
    ]
    + [
        ([message({"type": "input_text", "text": "a"})], [message({"type": "input_text", "text": f"a {TEXT}"})]),
        (returned("a"), returned(f"a {TEXT}")),
        (returned([{"type": "input_text", "text": "a"}]), returned([{"type": "input_text", "text": f"a {TEXT}"}])),
        ([{**CALL, "arguments": "{}"}], [{**CALL, "arguments": f"{{}} {TEXT}"}]),
        ([message(file("a"))], [message(file(f"a {TEXT}"))]),
        (returned([file("a")]), returned([file(f"a {TEXT}")])),
        (
            [{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a"}]}],
            [{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": f"a {TEXT}"}]}],
        ),
    ],
)
def test_every_item_is_counted(short: list[Any], long: list[Any]) -> None:
    assert input_tokens(*long) == input_tokens(*short) + 10


def test_fields_beside_the_input_are_counted() -> None:
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False, "description": "a"}
    assert input_tokens(instructions=TEXT) == input_tokens() + 10
    assert input_tokens(tools=[{**tool, "description": f"a {TEXT}"}]) == input_tokens(tools=[tool]) + 10


@pytest.mark.parametrize(
    ("freedoms", "each"), [((), IMAGE_TOKENS), (("images-have-few-tokens",), 3), (("images-have-many-tokens",), 1105)]
)
def test_an_image_has_the_same_tokens_everywhere(freedoms: tuple[str, ...], each: int) -> None:
    image = {"type": "input_image", "image_url": image_url(8), "detail": "auto"}
    text = {"type": "input_text", "text": "a"}
    seen = input_tokens({"role": "user", "content": [text, image]}, freedoms=freedoms)
    assert seen - input_tokens(message(text), freedoms=freedoms) == each
    of_tool = input_tokens(*returned([text, image]), freedoms=freedoms)
    assert of_tool - input_tokens(*returned([text]), freedoms=freedoms) == each


def test_a_chain_counts_like_its_turns_in_one_request() -> None:
    sandbox = Sandbox("openai")
    first = sandbox.exchange(post({"model": "parrot", "input": TEXT, "instructions": TEXT})).json()
    second = sandbox.exchange(
        post({"model": "parrot", "input": "And now?", "previous_response_id": first["id"]})
    ).json()
    said = first["output"][0]["content"][0]["text"]
    turns = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": said}]
    body = {"model": "parrot", "input": [*turns, {"role": "user", "content": "And now?"}]}
    whole = sandbox.exchange(post(body)).json()
    assert second["usage"]["input_tokens"] == whole["usage"]["input_tokens"]
    assert second["usage"]["input_tokens_details"]["cached_tokens"] == count_tokens(turns)


@given(st.lists(st.text(max_size=40), max_size=4))
def test_more_items_never_have_fewer_tokens(texts: list[str]) -> None:
    items = [{"role": "user", "content": text} for text in texts]
    counts = [count_tokens(items[:length]) for length in range(len(items) + 1)]
    assert [more - fewer for fewer, more in pairwise(counts)] == [1 + len(tokens(text)) for text in texts]


def test_the_image_is_a_png_of_that_size() -> None:
    data = base64.b64decode(image_url(256).partition(",")[2])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (256, 256)
    place, chunks = 8, dict[bytes, bytes]()
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length]) == (zlib.crc32(name + content),)
        chunks[name] = content
        place += 12 + length
    assert zlib.decompress(chunks[b"IDAT"]) == (b"\0" + b"\xff\0\0" * 256) * 256
    assert len(image_url(256)) < 2000

"""The operations beside create: which dialects define them, and what they take and give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from rejoinder.contract import dialect_names, load_dialect, load_operations, load_schema, requested_operation
from rejoinder.validation import Validator

OPERATIONS = {
    "northstar": ["retrieve", "cancel", "models"],
    "openai": [
        *("retrieve", "cancel", "models", "create_conversation", "retrieve_conversation", "update_conversation"),
        *("delete_conversation", "create_conversation_items", "list_conversation_items"),
        *("retrieve_conversation_item", "delete_conversation_item", "delete", "input_items", "input_tokens", "compact"),
    ],
    "openresponses": ["compact"],
    "vllm": ["retrieve", "cancel", "models", "render"],
}
MESSAGE = {"id": "msg_1", "type": "message", "role": "user", "content": []}
USAGE = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 2,
}
PART = {"type": "input_text", "text": "Hello!"}
SAID = {"id": "msg_1", "type": "message", "role": "user", "status": "completed", "content": [PART]}
CONVERSATION = {"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {"topic": "demo"}}
GOOD = [
    ("create_conversation", "body", {"items": [{"role": "user", "content": "Hello!"}], "metadata": {"topic": "demo"}}),
    ("create_conversation", "body", {"items": None, "metadata": None}),
    ("create_conversation", "reply", CONVERSATION),
    ("create_conversation", "reply", {**CONVERSATION, "metadata": None}),
    ("update_conversation", "body", {"metadata": None}),
    ("delete_conversation", "reply", {"id": "conv_1", "object": "conversation.deleted", "deleted": True}),
    ("create_conversation_items", "query", {"include": ["message.output_text.logprobs"]}),
    ("create_conversation_items", "body", {"items": [{"role": "user", "content": "Hello!"}] * 20}),
    (
        "list_conversation_items",
        "reply",
        {"object": "list", "data": [SAID], "first_id": "msg_1", "last_id": "msg_1", "has_more": False},
    ),
    (
        "list_conversation_items",
        "reply",
        {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False},
    ),
    ("retrieve_conversation_item", "reply", SAID),
    ("delete_conversation_item", "reply", CONVERSATION),
    # The conversation that a request names is another object than the resource.
    ("input_tokens", "body", {"conversation": {"id": "conv_1"}}),
    ("retrieve", "query", {"stream": True, "starting_after": 3, "include": ["reasoning.encrypted_content"]}),
    ("delete", "reply", {"id": "resp_1", "object": "response", "deleted": True}),
    ("delete", "reply", {"id": "resp_1", "object": "response.deleted", "deleted": True}),
    ("input_items", "query", {"limit": 100, "order": "asc", "after": "msg_1"}),
    (
        "input_items",
        "reply",
        {"object": "list", "data": [MESSAGE], "first_id": "msg_1", "last_id": "msg_1", "has_more": False},
    ),
    ("input_tokens", "body", {"model": "m", "input": "x", "tools": [{"type": "apply_patch"}]}),
    ("input_tokens", "reply", {"object": "response.input_tokens", "input_tokens": 7}),
    ("compact", "body", {"model": "m", "input": [{"type": "compaction_trigger"}]}),
    (
        "compact",
        "reply",
        {"id": "c_1", "object": "response.compaction", "created_at": 1, "output": [MESSAGE], "usage": USAGE},
    ),
    (
        "models",
        "reply",
        {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x"}]},
    ),
]
BAD = [
    ("create_conversation", "body", {"items": [{"role": "user", "content": "Hello!"}] * 21}, "/items"),
    ("create_conversation", "reply", {**CONVERSATION, "object": "thread"}, "/object"),
    ("update_conversation", "body", {}, "/metadata"),
    ("update_conversation", "body", {"metadata": {"topic": 7}}, "/metadata/topic"),
    ("create_conversation_items", "body", {}, "/items"),
    ("list_conversation_items", "query", {"limit": 101}, "/limit"),
    ("retrieve_conversation_item", "reply", {**SAID, "status": "done"}, "/status"),
    ("retrieve_conversation_item", "reply", {**SAID, "content": "Hello!"}, "/content"),
    ("delete_conversation_item", "reply", {**CONVERSATION, "object": "conversation.item.deleted"}, "/object"),
    (
        "input_items",
        "reply",
        {"object": "list", "data": [{**MESSAGE, "content": "x"}], "first_id": "", "last_id": "", "has_more": False},
        "/data/0/content",
    ),
    (
        "input_items",
        "reply",
        {
            "object": "list",
            "data": [{"type": "reasoning", "id": "r"}],
            "first_id": "",
            "last_id": "",
            "has_more": False,
        },
        "/data/0/summary",
    ),
    ("input_tokens", "body", {"personality": "x" * 65}, "/personality"),
    (
        "compact",
        "reply",
        {"id": "c", "object": "response.compaction", "created_at": 1, "output": [{"type": "compaction", "id": "c"}]}
        | {"usage": USAGE},
        "/output/0/encrypted_content",
    ),
    ("retrieve", "query", {"starting_after": "x"}, "/starting_after"),
    ("delete", "reply", {"id": "resp_1", "object": "response", "deleted": False}, "/deleted"),
    ("input_items", "query", {"limit": 101}, "/limit"),
    ("input_items", "query", {"limit": 0}, "/limit"),
    ("input_items", "query", {"order": "up"}, "/order"),
    ("input_items", "reply", {"object": "list", "data": [], "first_id": "", "last_id": ""}, "/has_more"),
    ("input_tokens", "body", {"tools": [{"type": "apply_patches"}]}, "/tools/0/type"),
    ("input_tokens", "reply", {"object": "response.input_tokens", "input_tokens": -1}, "/input_tokens"),
    ("compact", "body", {"input": "x"}, "/model"),
]


@pytest.mark.parametrize("name", dialect_names())
def test_operations(name: str) -> None:
    operations = load_operations(name)
    assert list(operations) == OPERATIONS[name]
    assert load_dialect(name).operations == operations
    for key, operation in operations.items():
        assert operation.name == key
        assert operation.method in {"GET", "POST", "DELETE"}
        assert operation.path.startswith("/v1/")
        assert (operation.body is None) or operation.method == "POST"
        for schema in (operation.query, operation.body, operation.reply):
            if schema is not None:
                jsonschema_rs.meta.validate(schema)
                assert "x-from" not in str(schema)
    for key in {"retrieve", "cancel"} & set(operations):
        assert operations[key].reply == load_schema("response", dialect=name)


@pytest.mark.parametrize(("name", "part", "value"), GOOD)
def test_good(name: str, part: str, value: dict[str, Any]) -> None:
    assert Validator(getattr(load_operations("openai")[name], part)).errors(value) == []


@pytest.mark.parametrize(("name", "part", "value", "pointer"), BAD)
def test_bad(name: str, part: str, value: dict[str, Any], pointer: str) -> None:
    errors = Validator(getattr(load_operations("openai")[name], part)).errors(value)
    assert [error.pointer for error in errors] == [pointer]


def test_fields_that_the_request_lacks_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\nbase = "openai"\n[overlay.request]\nremove = ["/properties/instructions"]\n', "utf-8"
    )
    body = load_operations(path)["compact"].body
    assert body is not None
    assert "instructions" not in body["properties"]
    original = load_operations("openai")["compact"].body
    assert original is not None
    assert "instructions" in original["properties"]


def test_refusals() -> None:
    validator = Validator(load_schema("error"))
    assert validator.errors({"error": {"type": "not_found", "message": "m", "param": None, "code": None}}) == []
    assert [error.pointer for error in validator.errors({"error": "m"})] == ["/error"]


OPERATIONS_OF_OPENAI = load_operations("openai").values()


@pytest.mark.parametrize(
    ("method", "path", "name", "ids"),
    [
        ("GET", "/v1/models", "models", {}),
        ("GET", "/v1/responses/resp_1", "retrieve", {"response_id": "resp_1"}),
        ("GET", "/gateway/v1/responses/a%2Fb?stream=true", "retrieve", {"response_id": "a/b"}),
        # The longest path is meant: this is a response with an odd id.
        ("GET", "/v1/responses/models", "retrieve", {"response_id": "models"}),
        ("POST", "/v1/responses/compact", "compact", {}),
        ("POST", "/v1/conversations", "create_conversation", {}),
        ("POST", "/v1/conversations/conv_1", "update_conversation", {"conversation_id": "conv_1"}),
        ("GET", "/conversations/conv_1/items", "list_conversation_items", {"conversation_id": "conv_1"}),
        (
            "DELETE",
            "/v1/conversations/conv_1/items/msg_1",
            "delete_conversation_item",
            {"conversation_id": "conv_1", "item_id": "msg_1"},
        ),
    ],
)
def test_requests_are_for_operations(method: str, path: str, name: str, ids: dict[str, str]) -> None:
    found = requested_operation(OPERATIONS_OF_OPENAI, method, path)
    assert found is not None
    assert (found.operation.name, found.ids) == (name, ids)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/responses"), ("PUT", "/v1/conversations/conv_1"), ("GET", "/v1/responses/"), ("GET", "/")],
)
def test_other_requests_are_for_no_operation(method: str, path: str) -> None:
    assert requested_operation(OPERATIONS_OF_OPENAI, method, path) is None

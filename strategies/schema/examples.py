"""Plausible values: what a well-behaved client would put into a field.

Keyed by field name, because the contract types most of these fields as plain strings. A name that is missing here
gets a value by its type. The values are short, so that requests made of them are cheap, and true to form (arguments
are JSON, images decode), so that an endpoint that reads them finds nothing to complain about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

#: A PNG image of one opaque red pixel.
IMAGE_URL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
#: The text "Hello." as a file.
TEXT_FILE_URL: Final = "data:text/plain;base64,SGVsbG8u"

PARAMETERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

#: The levels of fields, the most plausible first. A field with several gives a deterministic set several cases.
VALUES: Final[Mapping[str, tuple[Any, ...]]] = {
    "annotations": ({"readOnlyHint": True},),
    "approve": (True, False),
    "arguments": (json.dumps({"city": "Paris"}),),
    "background": (False,),
    "bytes": (80,),
    "code": ("print(6 * 7)",),
    "command": ("echo",),
    "commands": ("echo hello",),
    "container_id": ("cntr_0001",),
    "definition": ("start: /[a-z]+/",),
    "diff": ("@@ -1 +1 @@\n-hello\n+hallo\n",),
    "display_height": (768,),
    "display_width": (1024,),
    "encrypted_content": ("gAAAAABo",),
    "end_index": (5,),
    "exit_code": (0,),
    "file_data": (TEXT_FILE_URL,),
    "file_id": ("file_0001",),
    "file_url": ("https://example.com/note.txt",),
    "filename": ("note.txt",),
    "id": ("id_0001",),
    "image_url": (IMAGE_URL,),
    "input_schema": (dict(PARAMETERS),),
    "instructions": ("Answer in one word.",),
    "keys": ("CTRL",),
    "logprob": (-0.1,),
    "logs": ("42",),
    "max_output_length": (1000,),
    "max_output_tokens": (16,),
    "max_tool_calls": (1,),
    "model": ("example-model",),
    "name": ("get_weather",),
    "output": ("22 degrees",),
    "parameters": (dict(PARAMETERS),),
    "path": ("notes.txt",),
    "pattern": ("hello",),
    "priority": (0,),
    "queries": ("weather in Paris",),
    "query": ("weather in Paris",),
    "refusal": ("I can't help with that.",),
    "result": (IMAGE_URL.partition(",")[2],),
    "schema": (dict(PARAMETERS),),
    "score": (0.5,),
    "server_label": ("weather",),
    "stream": (False,),
    "temperature": (1,),
    "text": ("Say hello.",),
    "timeout_ms": (1000,),
    "title": ("Example",),
    "tools": ({"type": "function", "name": "get_weather"},),
    "top_k": (40,),
    "top_logprobs": (1,),
    "top_p": (1,),
    "url": ("https://example.com/",),
    "working_directory": ("/tmp",),
}
#: Lists that are empty in an ordinary request although they must be there.
EMPTY_FIRST: Final = frozenset({"annotations", "pending_safety_checks"})
_BY_TYPE: Final[Mapping[str, tuple[Any, ...]]] = {
    "string": ("Hello.",),
    "integer": (1,),
    "number": (1,),
    "boolean": (True, False),
}
#: Literals that go first where several are allowed.
_PREFERRED: Final = ("completed", "user", "auto", "success")

#: Beginnings of item ids that clients and servers know; other types take the initials of their name.
_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "reasoning": "rs",
    "web_search_call": "ws",
    "file_search_call": "fs",
    "code_interpreter_call": "ci",
    "computer_call": "cu",
    "image_generation_call": "ig",
    "custom_tool_call": "ctc",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
}


def levels(field: str, type_: str) -> tuple[Any, ...]:
    """Return the plausible values of a scalar field, the most plausible first; never empty, always of the type."""
    values = tuple(value for value in VALUES.get(field, ()) if _is(value, type_))
    return values or _BY_TYPE[type_]


def preferred(values: tuple[Any, ...]) -> list[Any]:
    """Return the literals with the most plausible first."""
    return sorted(values, key=lambda value: _PREFERRED.index(value) if value in _PREFERRED else len(_PREFERRED))


def id_prefix(type_: str) -> str:
    """Return how ids of items of this type begin: ``fc`` for ``function_call``."""
    return _PREFIXES.get(type_) or "".join(word[0] for word in type_.split("_"))


def _is(value: Any, type_: str) -> bool:
    if isinstance(value, bool):
        return type_ == "boolean"
    if type_ == "number":
        return isinstance(value, int | float)
    return isinstance(value, str if type_ == "string" else int) and type_ != "boolean"

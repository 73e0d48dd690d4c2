"""Items of the input as the endpoint lists them: with an id, a type, and content in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rejoinder.sandbox.endpoint.tokens import Json

_STATUS: Final = "completed"
_LEFT_OUT: Final = {"tool_search_call": {"execution": "client"}, "tool_search_output": {"execution": "client"}}
"""Fields that input items may leave out and listed ones have, with what they are then, by type."""


def listed(item: Json, new_id: Callable[[], str]) -> Json:
    """Return an input item as it is listed; ``new_id`` makes the id of one that has none.

    A message gets its type, and a text as its content becomes a part. Messages, calls and outputs get a status, and
    tool searches the side that executes them.
    """
    identity = item.get("id") or new_id()
    # An item reference may have any other fields, a role among them.
    if item.get("type") not in (None, "message") or not {"role", "content"} <= item.keys():
        kind = str(item.get("type"))
        status = {"status": item.get("status") or _STATUS} if kind.endswith(("_call", "_output")) else {}
        return {**_LEFT_OUT.get(kind, {}), **item, "id": identity, **status}
    content = item["content"]
    if isinstance(content, str):
        spoken = item["role"] == "assistant"
        content = (
            [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
            if spoken
            else [{"type": "input_text", "text": content}]
        )
    return {**item, "id": identity, "type": "message", "status": item.get("status") or _STATUS, "content": content}

"""Items of the input as the endpoint lists them: with an id, a type, and content in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rejoinder.sandbox.endpoint.tokens import Json

_STATUS: Final = "completed"


def listed(item: Json, new_id: Callable[[], str]) -> Json:
    """Return an input item as it is listed; ``new_id`` makes the id of one that has none.

    A message gets its type, and a text as its content becomes a part. Messages, calls and outputs get a status.
    """
    identity = item.get("id") or new_id()
    # An item reference may have any other fields, a role among them.
    if item.get("type") not in (None, "message") or not {"role", "content"} <= item.keys():
        has_status = str(item.get("type")).endswith(("_call", "_output"))
        return {**item, "id": identity, **({"status": item.get("status") or _STATUS} if has_status else {})}
    content = item["content"]
    if isinstance(content, str):
        spoken = item["role"] == "assistant"
        content = (
            [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
            if spoken
            else [{"type": "input_text", "text": content}]
        )
    return {**item, "id": identity, "type": "message", "status": item.get("status") or _STATUS, "content": content}

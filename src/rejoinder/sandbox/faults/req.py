"""Faults of requests: valid forms that are refused although the endpoint takes what they are forms of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Final

from rejoinder.sandbox.endpoint.lenient import mended
from rejoinder.sandbox.endpoint.reply import ApiError, Reply, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Fault, FaultList, RequestHook, Visit, input_items, refuse_items

FAULTS: Final = FaultList(
    Fault(
        id="invalid-bodies-mended",
        title="Of an invalid body, what can be used is answered.",
        breaks=("REQ-10",),
        parsed=mended,
    )
)


def _refuse(test: Callable[[Json, RequestInfo], bool]) -> RequestHook:
    """Return a hook that refuses requests for which a test is true."""

    def hook(body: Json, info: RequestInfo) -> Json:
        if test(body, info):
            raise ApiError(400, "This form of the request is not supported.", code="unsupported_value")
        return body

    return hook


_refuse_item = partial(refuse_items, "This form of an item")


def _parts(item: Json, field: str = "content") -> list[Json]:
    content = item.get(field)
    return [part for part in content if "type" in part] if isinstance(content, list) else []


def _in_a_row(body: Json, kind: Callable[[Json], Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the kinds of each two neighbouring items."""
    kinds = [kind(item) for item in input_items(body)]
    yield from pairwise(kinds)


@FAULTS.add("message-type-demanded", "REQ-01", hook="request", through=_refuse_item, dialects=("northstar", "openai"))
def _no_type(item: Json) -> bool:
    """A message without type is refused."""
    return "type" not in item


@FAULTS.add("tool-description-demanded", "REQ-01", hook="request", through=_refuse)
def _no_description(body: Json, _: RequestInfo) -> bool:
    """A function tool without description is refused."""
    tools = body.get("tools") or []
    return any(tool["type"] == "function" and "description" not in tool for tool in tools)


@FAULTS.add(
    "computer-output-status-demanded",
    "REQ-01",
    hook="request",
    through=_refuse_item,
    dialects=("northstar",),
    not_in=("vllm",),
)
def _no_output_status(item: Json) -> bool:
    """The output of a computer call without status is refused."""
    return item.get("type") == "computer_call_output" and "status" not in item


@FAULTS.add("image-detail-demanded", "REQ-01", hook="request", through=_refuse_item, dialects=("openresponses",))
def _no_detail(item: Json) -> bool:
    """An image without detail is refused."""
    return any(part["type"] == "input_image" and "detail" not in part for part in _parts(item))


@FAULTS.add("example-image-refused", "REQ-09", hook="request", through=_refuse_item, dialects=("northstar", "openai"))
def _image_of_examples(item: Json) -> bool:
    """An image without detail, as official examples have it, is refused."""
    return _no_detail(item)


@FAULTS.add("message-status-refused", "REQ-02", hook="request", through=_refuse_item)
def _message_status(item: Json) -> bool:
    """A user message with status is refused."""
    return bool(item.get("role") == "user" and item.get("status"))


@FAULTS.add("call-item-id-refused", "REQ-02", hook="request", through=_refuse_item)
def _call_with_id(item: Json) -> bool:
    """A function call with id is refused."""
    return bool(item.get("type") == "function_call" and item.get("id"))


@FAULTS.add("null-description-refused", "REQ-03", hook="request", through=_refuse)
def _null_description(body: Json, _: RequestInfo) -> bool:
    """A function tool with null as description is refused."""
    return any(tool.get("description", "") is None for tool in body.get("tools") or [])


@FAULTS.add("null-in-action-refused", "REQ-03", hook="request", through=_refuse_item, dialects=("openai",))
def _null_in_action(item: Json) -> bool:
    """An item with null inside its action is refused."""
    action = item.get("action")
    return isinstance(action, dict) and None in action.values()


@FAULTS.add("second-message-refused", "REQ-04", hook="request", through=_refuse)
def _two_messages(body: Json, _: RequestInfo) -> bool:
    """Two user messages in a row are refused."""
    return ("user", "user") in _in_a_row(body, lambda item: item.get("role"))


@FAULTS.add("second-answer-refused", "REQ-04", hook="request", through=_refuse)
def _two_answers(body: Json, _: RequestInfo) -> bool:
    """Two assistant messages in a row are refused."""
    return ("assistant", "assistant") in _in_a_row(body, lambda item: item.get("role"))


@FAULTS.add("second-call-refused", "REQ-04", hook="request", through=_refuse)
def _two_calls(body: Json, _: RequestInfo) -> bool:
    """Two function calls in a row are refused."""
    return ("function_call", "function_call") in _in_a_row(body, lambda item: item.get("type"))


@FAULTS.add("second-tool-refused", "REQ-04", hook="request", through=_refuse)
def _two_tools(body: Json, _: RequestInfo) -> bool:
    """A second tool is refused."""
    return len(body.get("tools") or []) > 1


@FAULTS.add("second-part-refused", "REQ-04", hook="request", through=_refuse_item)
def _two_parts(item: Json) -> bool:
    """A second text part of a message is refused."""
    return len([part for part in _parts(item) if part["type"] == "input_text"]) > 1


@FAULTS.add("string-content-refused", "REQ-05", hook="request", through=_refuse_item)
def _string_content(item: Json) -> bool:
    """A user message with type and a string as content is refused."""
    return bool(item.get("role") == "user" and "type" in item and isinstance(item["content"], str))


@FAULTS.add("output-message-refused", "REQ-05", hook="request", through=_refuse_item)
def _output_message(item: Json) -> bool:
    """An assistant message in the form of an output message is refused."""
    return any(part["type"] == "output_text" for part in _parts(item))


@FAULTS.add("output-parts-refused", "REQ-05", hook="request", through=_refuse_item)
def _output_parts(item: Json) -> bool:
    """A tool output as list of parts is refused."""
    return item.get("type") == "function_call_output" and isinstance(item["output"], list)


@FAULTS.add("output-image-refused", "REQ-06", hook="request", through=_refuse_item)
def _output_image(item: Json) -> bool:
    """An image in a tool output is refused."""
    return any(part["type"] == "input_image" for part in _parts(item, "output"))


@FAULTS.add("second-image-refused", "REQ-09", hook="request", through=_refuse_item)
def _two_images(item: Json) -> bool:
    """A second image of a message is refused."""
    return len([part for part in _parts(item) if part["type"] == "input_image"]) > 1


@FAULTS.add("developer-message-refused", "REQ-06", hook="request", through=_refuse_item)
def _developer_message(item: Json) -> bool:
    """A developer message is refused."""
    return item.get("role") == "developer"


@FAULTS.add("leading-space-refused", "REQ-07", hook="request", through=_refuse)
def _leading_space(_: Json, info: RequestInfo) -> bool:
    """JSON that begins with whitespace is refused."""
    return not info.request.body.startswith(b"{")


@FAULTS.add("escaped-letters-refused", "REQ-07", hook="request", through=_refuse)
def _escaped_letters(_: Json, info: RequestInfo) -> bool:
    """A field name with an escaped letter is not found."""
    return b'"input"' not in info.request.body and "input" in info.body


@FAULTS.add("raw-utf8-refused", "REQ-07", hook="request", through=_refuse)
def _raw_utf8(_: Json, info: RequestInfo) -> bool:
    """JSON with unescaped characters beyond ASCII is refused."""
    return not info.request.body.isascii()


@FAULTS.add("fields-in-order", "REQ-07", hook="request", through=_refuse)
def _in_order(_: Json, info: RequestInfo) -> bool:
    """max_output_tokens behind input is refused."""
    names = list(info.body)
    wanted = ("max_output_tokens", "input")
    return all(name in names for name in wanted) and names.index(wanted[0]) > names.index(wanted[1]) and len(names) < 4


@FAULTS.add("zero-fraction-refused", "REQ-08", hook="request", through=_refuse)
def _zero_fraction(_: Json, info: RequestInfo) -> bool:
    """An integer with a zero fraction is refused."""
    return isinstance(info.body.get("max_output_tokens"), float)


@FAULTS.add("large-page-refused", "REQ-11", hook="override", dialects=("openai",))
def _large_page(visit: Visit) -> Reply | None:
    """A page of 100 input items is refused."""
    if visit.info.operation == "input_items" and visit.query.get("limit") == "100":
        raise ApiError(400, "limit must be below 100.", param="limit", code="invalid_value")
    return None

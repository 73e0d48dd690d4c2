"""Faults of the fields that repeat the request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Fault, FaultList, ResponseHook, changed, in_response, set_to, with_field


def _where_sent(name: str, value: Any) -> ResponseHook:
    """Return a hook that sets a field of the response to a value wherever the request set it."""

    def hook(response: Json, _: str, info: RequestInfo) -> None:
        if info.body.get(name) is not None:
            response[name] = value

    return hook


def _where_not_sent(name: str, value: Any) -> ResponseHook:
    def hook(response: Json, _: str, info: RequestInfo) -> None:
        if info.operation == "create" and info.body.get(name) is None:
            response[name] = value

    return hook


def _metadata(change: Callable[[dict[str, str]], dict[str, str]]) -> ResponseHook:
    return in_response(changed("metadata", change))


def _said_to_be_stored(response: Json, _: str, info: RequestInfo) -> None:
    if info.operation == "create" and info.body.get("store") is not False:
        response["store"] = True


class _Sticky:
    """Keeps the instructions of responses for those that continue them; knows the last 1,000."""

    def __init__(self) -> None:
        self.known: OrderedDict[str, str] = OrderedDict()

    def response(self, response: Json, _: str, info: RequestInfo) -> None:
        if info.operation != "create":
            return
        previous = str(info.body.get("previous_response_id"))
        if response["instructions"] is None and previous in self.known:
            response["instructions"] = self.known[previous]
        if response["instructions"] is not None:
            self.known[response["id"]] = response["instructions"]
            if len(self.known) > 1000:
                self.known.popitem(last=False)


_STICKY: Final = _Sticky()


FAULTS: Final = FaultList(
    with_field("instructions-not-echoed", "The instructions of responses are null.", "ECH-01", "instructions", None),
    with_field("tools-not-echoed", "The tools of responses are empty.", "ECH-01", "tools", []),
    Fault(
        id="tool-choice-echoed-as-auto",
        title='tool_choice of responses is always "auto".',
        breaks=("ECH-01",),
        response=_where_sent("tool_choice", "auto"),
    ),
    Fault(
        id="parallel-calls-echoed-as-true",
        title="parallel_tool_calls of responses is always true.",
        breaks=("ECH-01",),
        response=_where_sent("parallel_tool_calls", True),
    ),
    with_field(
        "previous-id-not-echoed", "previous_response_id of responses is null.", "ECH-01", "previous_response_id", None
    ),
    with_field(
        "temperature-echoed-as-default",
        "temperature of responses is 1, whatever was sent.",
        "ECH-02",
        "temperature",
        1.0,
    ),
    Fault(
        id="top-p-echoed-as-string",
        title="top_p of responses is a string.",
        breaks=("ECH-02",),
        response=in_response(changed("top_p", str)),
    ),
    with_field(
        "max-output-tokens-not-echoed", "max_output_tokens of responses is null.", "ECH-03", "max_output_tokens", None
    ),
    Fault(
        id="truncation-by-default",
        title='The default of truncation is "auto".',
        breaks=("ECH-04",),
        dialects=("northstar", "openai"),
        response=_where_not_sent("truncation", "auto"),
    ),
    Fault(
        id="metadata-shortened",
        title="Metadata values are cut to four characters.",
        breaks=("ECH-05",),
        response=_metadata(lambda metadata: {name: value[:4] for name, value in metadata.items()}),
    ),
    Fault(
        id="metadata-lost",
        title="The metadata of responses is empty.",
        breaks=("ECH-05",),
        response=_metadata(lambda metadata: {}),
    ),
    Fault(
        id="metadata-added-to",
        title="The metadata of responses has an added pair.",
        breaks=("ECH-10",),
        response=_metadata(lambda metadata: {**metadata, "trace": "1"}),
    ),
    with_field(
        "service-tier-changed",
        "The service_tier of responses is flex, whatever was requested.",
        "ECH-06",
        "service_tier",
        "flex",
    ),
    Fault(
        id="store-echoed-as-true",
        title="store of responses is true, whatever was sent.",
        breaks=("ECH-07",),
        dialects=("openresponses",),
        response=in_response(set_to("store", True)),
    ),
    Fault(
        id="no-tools-chosen-by-default",
        title='The default of tool_choice is "none", although the request has tools.',
        breaks=("ECH-04",),
        dialects=("northstar", "openresponses"),
        response=_where_not_sent("tool_choice", "none"),
    ),
    Fault(
        id="instructions-carried-over",
        title="Responses inherit the instructions of the response that they continue.",
        breaks=("ECH-09",),
        response=_STICKY.response,
    ),
)


@FAULTS.add("tools-echoed-without-parameters", "ECH-01", hook="response", through=in_response)
def _poor_tools(response: Json) -> None:
    """The parameters of tools in responses are empty."""
    response["tools"] = [
        {**tool, "parameters": {}} if tool["type"] == "function" else tool for tool in response["tools"]
    ]


@FAULTS.add("schema-not-echoed", "ECH-01", hook="response", dialects=("northstar", "openai"))
def _schema_lost(response: Json, _: str, __: RequestInfo) -> None:
    """The schema of text.format in responses is null."""
    shape = response["text"]["format"]
    if shape["type"] == "json_schema":
        response["text"] = {**response["text"], "format": {**shape, "schema": None}}


@FAULTS.add("effort-not-echoed", "ECH-01", hook="response", through=in_response)
def _effort_lost(response: Json) -> None:
    """reasoning.effort of responses is null."""
    response["reasoning"] = {**response["reasoning"], "effort": None}


@FAULTS.add("hosted-tools-coerced", "ECH-01", hook="response", dialects=("northstar", "openai"))
def _coerced(response: Json, _: str, info: RequestInfo) -> None:
    """Hosted tools come back as functions."""
    tools = response.get("tools")
    if info.operation == "create" and isinstance(tools, list):
        response["tools"] = [
            tool
            if tool["type"] in ("function", "custom")
            else {"type": "function", "name": tool["type"], "description": None, "parameters": None, "strict": None}
            for tool in tools
        ]


@FAULTS.add("store-disabled-quietly", "ECH-07", hook="request", response=_said_to_be_stored)
def _quietly_unstored(body: Json, info: RequestInfo) -> Json:
    """Responses have store true, but nothing is stored."""
    return body if info.body.get("background") is True else {**body, "store": False}


@FAULTS.add("null-refused", "ECH-08", hook="request")
def _nulls_refused(body: Json, _: RequestInfo) -> Json:
    """Optional fields with value null are refused."""
    for name, value in body.items():
        if value is None:
            raise ApiError(400, f"{name}: null is not of type string.", param=name, code="invalid_type")
    return body


@FAULTS.add("null-taken-for-zero", "ECH-08", hook="response")
def _null_is_zero(response: Json, _: str, info: RequestInfo) -> None:
    """A temperature of null means 0."""
    if "temperature" in info.body and info.body["temperature"] is None:
        response["temperature"] = 0.0

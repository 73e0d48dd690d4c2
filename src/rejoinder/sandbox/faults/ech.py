"""Faults of what a response repeats of its request, and of what it counts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError, Occasion
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import FINAL, STREAMED, Fault, at_end, ended, in_response, items_of, set_to

Hook = Callable[[Json, str, Occasion], None]


def _where_sent(name: str, value: Any) -> Hook:
    """Return a hook that sets a field of the response to a value wherever the request set it."""

    def hook(response: Json, _: str, occasion: Occasion) -> None:
        if occasion.body.get(name) is not None:
            response[name] = value

    return hook


def _where_not_sent(name: str, value: Any) -> Hook:
    def hook(response: Json, _: str, occasion: Occasion) -> None:
        if occasion.operation == "create" and occasion.body.get(name) is None:
            response[name] = value

    return hook


def _schema_lost(response: Json, _: str, __: Occasion) -> None:
    shape = response["text"]["format"]
    if shape["type"] == "json_schema":
        response["text"] = {**response["text"], "format": {**shape, "schema": None}}


def _poor_tools(response: Json) -> None:
    response["tools"] = [
        {**tool, "parameters": {}} if tool["type"] == "function" else tool for tool in response["tools"]
    ]


def _effort_lost(response: Json) -> None:
    response["reasoning"] = {**response["reasoning"], "effort": None}


def _metadata(change: Callable[[dict[str, str]], dict[str, str]]) -> Hook:
    return in_response(lambda response: response.__setitem__("metadata", change(response["metadata"])))


def _quietly_unstored(body: Json, occasion: Occasion) -> Json:
    return body if occasion.body.get("background") is True else {**body, "store": False}


def _said_to_be_stored(response: Json, _: str, occasion: Occasion) -> None:
    if occasion.operation == "create" and occasion.body.get("store") is not False:
        response["store"] = True


def _nulls_refused(body: Json, _: Occasion) -> Json:
    for name, value in body.items():
        if value is None:
            raise ApiError(400, f"{name}: null is not of type string.", param=name, code="invalid_type")
    return body


def _null_is_zero(response: Json, _: str, occasion: Occasion) -> None:
    if "temperature" in occasion.body and occasion.body["temperature"] is None:
        response["temperature"] = 0.0


class _Sticky:
    """Keeps the instructions of responses for those that continue them; knows the last 1,000."""

    def __init__(self) -> None:
        self.known: OrderedDict[str, str] = OrderedDict()

    def response(self, response: Json, _: str, occasion: Occasion) -> None:
        if occasion.operation != "create":
            return
        previous = str(occasion.body.get("previous_response_id"))
        if response["instructions"] is None and previous in self.known:
            response["instructions"] = self.known[previous]
        if response["instructions"] is not None:
            self.known[response["id"]] = response["instructions"]
            if len(self.known) > 1000:
                self.known.popitem(last=False)


_STICKY: Final = _Sticky()

_ECH = (
    Fault(
        id="instructions-not-echoed",
        title="The instructions of responses are null.",
        breaks=("ECH-01",),
        response=in_response(set_to("instructions", None)),
    ),
    Fault(
        id="tools-not-echoed",
        title="The tools of responses are empty.",
        breaks=("ECH-01",),
        response=in_response(set_to("tools", [])),
    ),
    Fault(
        id="tools-echoed-without-parameters",
        title="The parameters of echoed tools are empty.",
        breaks=("ECH-01",),
        response=in_response(_poor_tools),
    ),
    Fault(
        id="tool-choice-echoed-as-auto",
        title="tool_choice of responses is auto, whatever was sent.",
        breaks=("ECH-01",),
        response=_where_sent("tool_choice", "auto"),
    ),
    Fault(
        id="parallel-calls-echoed-as-true",
        title="parallel_tool_calls of responses is true, whatever was sent.",
        breaks=("ECH-01",),
        response=_where_sent("parallel_tool_calls", True),
    ),
    Fault(
        id="previous-id-not-echoed",
        title="previous_response_id of responses is null.",
        breaks=("ECH-01",),
        response=in_response(set_to("previous_response_id", None)),
    ),
    Fault(
        id="schema-not-echoed",
        title="The schema of an echoed format is null.",
        breaks=("ECH-01",),
        response=_schema_lost,
    ),
    Fault(
        id="effort-not-echoed",
        title="reasoning.effort of responses is null.",
        breaks=("ECH-01",),
        response=in_response(_effort_lost),
    ),
    Fault(
        id="temperature-echoed-as-default",
        title="temperature of responses is 1, whatever was sent.",
        breaks=("ECH-02",),
        response=in_response(set_to("temperature", 1.0)),
    ),
    Fault(
        id="top-p-echoed-as-string",
        title="top_p of responses is a string.",
        breaks=("ECH-02",),
        response=in_response(lambda response: response.__setitem__("top_p", str(response["top_p"]))),
    ),
    Fault(
        id="max-output-tokens-not-echoed",
        title="max_output_tokens of responses is null.",
        breaks=("ECH-03",),
        response=in_response(set_to("max_output_tokens", None)),
    ),
    Fault(
        id="truncation-by-default",
        title="truncation of responses is auto where nothing was sent.",
        breaks=("ECH-04",),
        response=_where_not_sent("truncation", "auto"),
    ),
    Fault(
        id="metadata-shortened",
        title="Values of metadata are cut to four characters.",
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
        title="The metadata of responses has a pair that was not sent.",
        breaks=("ECH-05",),
        response=_metadata(lambda metadata: {**metadata, "trace": "1"}),
    ),
    Fault(
        id="service-tier-changed",
        title="The service_tier of responses is flex, whatever was asked for.",
        breaks=("ECH-06",),
        response=in_response(set_to("service_tier", "flex")),
    ),
    Fault(
        id="store-disabled-quietly",
        title="Nothing is stored, and responses say that they are.",
        breaks=("ECH-07",),
        request=_quietly_unstored,
        response=_said_to_be_stored,
    ),
    Fault(
        id="store-echoed-as-true",
        title="store of responses is true, whatever was sent.",
        breaks=("ECH-07",),
        response=in_response(set_to("store", True)),
    ),
    Fault(
        id="null-refused",
        title="An optional field that is null is refused.",
        breaks=("ECH-08",),
        request=_nulls_refused,
    ),
    Fault(
        id="null-taken-for-zero",
        title="A temperature of null is taken for 0.",
        breaks=("ECH-08",),
        response=_null_is_zero,
    ),
    Fault(
        id="instructions-carried-over",
        title="The instructions of a response hold for those that continue it.",
        breaks=("ECH-09",),
        response=_STICKY.response,
    ),
)


# Usage


def _usage(do: Callable[[Json], None]) -> Hook:
    """Return a hook that changes the usage of finished responses."""

    def change(response: Json) -> None:
        if isinstance(response.get("usage"), dict):
            do(response["usage"])

    return at_end(change)


def _more_input(tokens: int) -> Callable[[Json], None]:
    def change(usage: Json) -> None:
        usage["input_tokens"] += tokens
        usage["total_tokens"] += tokens

    return change


def _no_details(usage: Json) -> None:
    del usage["input_tokens_details"], usage["output_tokens_details"]


def _detail(details: str, name: str, value: Callable[[Json], int]) -> Callable[[Json], None]:
    return lambda usage: usage[details].__setitem__(name, value(usage))


def _limit_passed(response: Json) -> None:
    if response["status"] == "incomplete":
        response["usage"]["output_tokens"] += 5
        response["usage"]["total_tokens"] += 5


def _fresh_only(response: Json, place: str, occasion: Occasion) -> None:
    """Count only the last word of the input where a response continues another."""
    if place in FINAL and ended(response) and occasion.body.get("previous_response_id") and response.get("usage"):
        usage = response["usage"]
        usage["input_tokens"] = 1
        usage["input_tokens_details"] = {**usage["input_tokens_details"], "cached_tokens": 0}
        usage["total_tokens"] = 1 + usage["output_tokens"]


def _uneven_turns(usage: Json) -> None:
    usage["input_tokens_details"]["input_tokens_per_turn"] = [usage["input_tokens"], 1]


def _reasoning_uncounted(response: Json) -> None:
    if any(item["type"] == "reasoning" for item in items_of(response)) and response.get("usage"):
        response["usage"]["output_tokens_details"] = {"reasoning_tokens": 0}


_USG = (
    Fault(
        id="usage-details-missing",
        title="Usage has no details.",
        breaks=("USG-04",),
        response=_usage(_no_details),
    ),
    Fault(
        id="more-cached-than-input",
        title="More tokens were cached than there were.",
        breaks=("USG-05",),
        response=_usage(_detail("input_tokens_details", "cached_tokens", lambda usage: int(usage["input_tokens"]) + 1)),
    ),
    Fault(
        id="more-reasoning-than-output",
        title="More tokens went into reasoning than were output.",
        breaks=("USG-05",),
        response=_usage(
            _detail("output_tokens_details", "reasoning_tokens", lambda usage: int(usage["output_tokens"]) + 1)
        ),
    ),
    Fault(
        id="reasoning-not-counted",
        title="reasoning_tokens is 0 in spite of reasoning.",
        breaks=("USG-06",),
        response=at_end(_reasoning_uncounted),
    ),
    Fault(
        id="limit-passed",
        title="A response that was cut has more output tokens than were allowed.",
        breaks=("USG-07",),
        response=at_end(_limit_passed),
    ),
    Fault(
        id="input-counted-more-when-streamed",
        title="A streamed request has three more input tokens.",
        breaks=("USG-08",),
        when=STREAMED,
        response=_usage(_more_input(3)),
    ),
    Fault(
        id="history-not-counted",
        title="The input tokens of a response that continues another leave out the history.",
        breaks=("USG-09",),
        response=_fresh_only,
    ),
    Fault(
        id="turns-do-not-add-up",
        title="The counts of turns add up to more than the total.",
        breaks=("USG-10",),
        dialects=("northstar",),
        response=_usage(_uneven_turns),
    ),
    Fault(
        id="counting-disagrees",
        title="Usage counts five more input tokens than the input_tokens operation.",
        breaks=("USG-11",),
        response=_usage(_more_input(5)),
    ),
)

FAULTS: Final = (*_ECH, *_USG)

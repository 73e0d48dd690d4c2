"""Faults of what the model hears."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError, Reply, RequestInfo, reply_with
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import CONCURRENT, Condition, Fault, FaultList, RequestHook, Visit, as_if, unheard

# Texts longer than this are cut by the faults that cut long inputs.
_LONG: Final = 6000
_CUT_TO: Final = 4000


def _items(body: Json) -> list[Json]:
    """Return the input as items."""
    given = body["input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _of_items(change: Callable[[list[Json]], list[Json]]) -> RequestHook:
    """Return a hook that changes the items of a list input; a string is left as it is."""

    def hook(body: Json, _: RequestInfo) -> Json:
        return body if isinstance(body["input"], str) else {**body, "input": change(list(body["input"]))}

    return hook


def _each(change: Callable[[Json], Json]) -> RequestHook:
    return _of_items(lambda items: [change(item) for item in items])


def _without(test: Callable[[Json], bool]) -> RequestHook:
    """Return a hook that leaves out items, but never the last user message."""

    def change(items: list[Json]) -> list[Json]:
        last = max((i for i, item in enumerate(items) if item.get("role") == "user"), default=-1)
        return [item for i, item in enumerate(items) if i == last or not test(item)]

    return _of_items(change)


def _of_content(change: Callable[[list[Any]], list[Any]], *roles: str) -> RequestHook:
    """Return a hook that changes the content lists of messages with one of these roles (any when none is given)."""

    def one(item: Json) -> Json:
        fits = "role" in item and (not roles or item["role"] in roles)
        return {**item, "content": change(item["content"])} if fits and isinstance(item.get("content"), list) else item

    return _each(one)


def _no_system_amid(items: list[Json]) -> list[Json]:
    """Leave out system and developer messages that follow another message."""
    return [item for i, item in enumerate(items) if i == 0 or item.get("role") not in ("system", "developer")]


def _one_part(parts: list[Any]) -> list[Any]:
    """Keep the last part only, which holds the question."""
    return parts[-1:]


def _text_before_images(parts: list[Any]) -> list[Any]:
    """Leave out the part that directly follows an image."""
    behind = {i + 1 for i, part in enumerate(parts) if part.get("type") == "input_image"}
    kept = [part for i, part in enumerate(parts) if i not in behind]
    return kept if any(part.get("text") for part in kept) else parts


def _no_files(parts: list[Any]) -> list[Any]:
    kept = [part for part in parts if part.get("type") != "input_file"]
    return kept or parts


def _no_file_output(output: Any) -> Any:
    if not isinstance(output, list):
        return output
    return [part for part in output if part.get("type") != "input_file"] or ""


def _output_changed(kind: str, change: Callable[[Any], Any]) -> RequestHook:
    return _each(lambda item: {**item, "output": change(item["output"])} if item.get("type") == kind else item)


def _first_of_list(output: Any) -> Any:
    return output[:1] if isinstance(output, list) else output


def _paired_in_order(items: list[Json]) -> list[Json]:
    """Give each output to the oldest call that waits for one, whatever its call_id."""
    waiting: list[Any] = []
    changed = []
    for item in items:
        if item.get("type") == "function_call":
            waiting.append(item.get("call_id"))
        elif item.get("type") == "function_call_output" and waiting:
            item = {**item, "call_id": waiting.pop(0)}
        changed.append(item)
    return changed


def _merged(items: list[Json]) -> list[Json]:
    """Keep the last of the items that share type and call_id."""
    last = {
        (item.get("type"), item["call_id"]): i for i, item in enumerate(items) if isinstance(item.get("call_id"), str)
    }
    kept = set(last.values())
    return [item for i, item in enumerate(items) if not isinstance(item.get("call_id"), str) or i in kept]


def _middle_lost(items: list[Json]) -> list[Json]:
    """Keep the first items and the last ones of a long list."""
    return items if len(items) < 16 else [*items[:4], *items[-6:]]


def _window(items: list[Json]) -> list[Json]:
    """Keep the last items of a long list."""
    return items if len(items) < 16 else items[-10:]


def _cut_text(change: Callable[[str], str]) -> RequestHook:
    def one(item: Json) -> Json:
        content = item.get("content")
        long = "role" in item and isinstance(content, str) and len(content) > _LONG
        return {**item, "content": change(str(content))} if long else item

    return _each(one)


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of user messages in any body, also one that is not valid."""
    given = body.get("input")
    if isinstance(given, str):
        yield given
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and item.get("role") == "user" and isinstance(item.get("content"), str):
            yield item["content"]


def _hearing(foreign: Callable[[RequestInfo], Mapping[str, Any]]) -> RequestHook:
    """Return a hook that puts the user messages of another request before those of this one."""

    def hook(body: Json, info: RequestInfo) -> Json:
        heard = [{"role": "user", "content": text} for text in _texts(foreign(info))]
        return {**body, "input": [*heard, *_items(body)]} if heard else body

    return hook


# Dialects whose inputs may hold custom tools and hosted ones.
_WIDE: Final = ("northstar", "openai")


def _lost(id: str, title: str, rule: str, request: RequestHook, *, counted: str = "", **fields: Any) -> Fault:
    """Return the fault; ``counted`` is the rule on ``input_tokens`` that it breaks as well."""
    return Fault(id=id, title=title, breaks=(rule, *filter(None, [counted])), request=request, **fields)


def _role_lost(role: str) -> Fault:
    return _lost(
        f"{role}-messages-dropped",
        f'Messages with role "{role}" do not reach the model.',
        "MEM-02",
        _without(lambda item: item.get("role") == role),
        counted="USG-15",
    )


def _kind_lost(id: str, kind: str, what: str, rule: str, **fields: Any) -> Fault:
    return _lost(
        id, f"{what} in the input does not reach the model.", rule, _without(lambda i: i.get("type") == kind), **fields
    )


FAULTS: Final = FaultList(
    Fault(
        id="instructions-dropped",
        title="instructions come back but do not reach the model.",
        breaks=("MEM-01", "USG-15"),
        **unheard("instructions"),
    ),
    _lost(
        "system-message-replaces-instructions",
        "instructions do not reach the model if the input has a system message.",
        "MEM-01",
        as_if(instructions=None),
        response=unheard("instructions")["response"],
        when=Condition(
            "only with a system message",
            lambda info: any(
                isinstance(item, dict) and item.get("role") == "system"
                for item in (info.body["input"] if isinstance(info.body.get("input"), list) else ())
            ),
        ),
    ),
    _role_lost("system"),
    _role_lost("developer"),
    _lost(
        "earlier-user-messages-dropped",
        "Only the last user message of the input reaches the model.",
        "MEM-02",
        _without(lambda item: item.get("role") == "user"),
    ),
    _lost(
        "system-messages-amid-dropped",
        "System and developer messages in the middle of the input do not reach the model.",
        "MEM-02",
        _of_items(_no_system_amid),
    ),
    _lost(
        "parts-but-last-dropped",
        "Only the last part of a message reaches the model.",
        "MEM-03",
        _of_content(_one_part),
        counted="USG-15",
    ),
    _lost(
        "text-behind-image-dropped",
        "Text after an image does not reach the model.",
        "MEM-03",
        _of_content(_text_before_images),
    ),
    _lost(
        "earlier-answers-dropped",
        "Assistant messages in the input do not reach the model.",
        "MEM-04",
        _without(lambda item: item.get("role") == "assistant"),
        counted="USG-15",
    ),
    _lost(
        "output-text-parts-dropped",
        "Only the first part of an assistant message reaches the model.",
        "MEM-04",
        _of_content(lambda parts: parts[:1], "assistant"),
    ),
    _lost(
        "tool-outputs-dropped",
        "Outputs of function calls are accepted but do not reach the model.",
        "MEM-05",
        _output_changed("function_call_output", lambda _: ""),
        counted="USG-16",
    ),
    _lost(
        "custom-outputs-dropped",
        "Outputs of custom tools are accepted but do not reach the model.",
        "MEM-05",
        _output_changed("custom_tool_call_output", lambda _: ""),
        dialects=_WIDE,
    ),
    _lost(
        "output-parts-but-first-dropped",
        "Only the first part of a list output reaches the model.",
        "MEM-05",
        _output_changed("function_call_output", _first_of_list),
    ),
    _lost(
        "outputs-paired-in-order",
        "Outputs are matched to calls by order, not by call_id.",
        "MEM-06",
        _of_items(_paired_in_order),
    ),
    _lost(
        "items-merged-by-call-id",
        "Only the last call and output with the same call_id reach the model.",
        "MEM-07",
        _of_items(_merged),
    ),
    _lost(
        "middle-of-history-dropped",
        "The middle of a long history does not reach the model.",
        "MEM-08",
        _of_items(_middle_lost),
    ),
    _lost(
        "start-of-history-dropped",
        "The start of a long history does not reach the model.",
        "MEM-08",
        _of_items(_window),
    ),
    _lost(
        "long-text-cut-at-end",
        "The end of a long text does not reach the model.",
        "MEM-09",
        _cut_text(lambda text: text[:_CUT_TO]),
    ),
    _lost(
        "long-text-cut-at-start",
        "The start of a long text does not reach the model.",
        "MEM-09",
        _cut_text(lambda text: text[-_CUT_TO:]),
    ),
    _lost(
        "long-text-cut-in-the-middle",
        "The middle of a long text does not reach the model.",
        "MEM-09",
        _cut_text(lambda text: text[: _CUT_TO // 2] + text[-_CUT_TO // 2 :]),
    ),
    _lost(
        "files-dropped",
        "Files are accepted but do not reach the model.",
        "MEM-10",
        _of_content(_no_files),
        counted="USG-20",
    ),
    _lost(
        "file-outputs-dropped",
        "Files in tool outputs do not reach the model.",
        "MEM-10",
        _output_changed("function_call_output", _no_file_output),
    ),
    _lost(
        "refusals-dropped",
        "Refusals in the input do not reach the model.",
        "MEM-11",
        _of_content(
            lambda parts: [p for p in parts if p.get("type") != "refusal"] or [{"type": "output_text", "text": ""}]
        ),
    ),
    _kind_lost(
        "shell-outputs-dropped",
        "shell_call_output",
        "The output of a shell",
        "MEM-11",
        dialects=_WIDE,
        not_in=("vllm",),
    ),
    _kind_lost("mcp-calls-dropped", "mcp_call", "A call of an MCP server", "MEM-11", dialects=_WIDE, not_in=("vllm",)),
    _kind_lost("reasoning-dropped", "reasoning", "Reasoning", "MEM-12"),
    _lost(
        "cross-talk",
        "The user messages of a concurrent request reach the model.",
        "MEM-13",
        _hearing(lambda info: info.others[-1]),
        when=CONCURRENT,
    ),
    _lost(
        "previous-request-heard",
        "The user messages of the previous request reach the model.",
        "MEM-13",
        _hearing(lambda info: info.previous),
    ),
)


@FAULTS.add("deleted-can-be-continued", "MEM-14", hook="override", dialects=("openai",))
def _hidden_not_deleted(visit: Visit) -> Reply | None:
    """Deleted responses can be continued."""
    stored = visit.stored
    if visit.info.operation != "response" or stored is None:
        return None
    if stored.hidden:
        raise ApiError(404, "There is no such response.", code="response_not_found")
    if visit.method != "DELETE":
        return None
    stored.hidden = True  # kept for those that continue it
    return reply_with({"id": stored.response["id"], "object": "response", "deleted": True})


@FAULTS.add("instructions-heard-in-next-turn", "MEM-15", "USG-23", hook="on_store")
def _instructions_kept(stored: Stored, _: Store, info: RequestInfo) -> None:
    """The instructions of earlier turns reach the model."""
    instructions = info.body.get("instructions")
    if isinstance(instructions, str) and instructions:
        stored.context = [{"type": "message", "role": "system", "content": instructions}, *stored.context]


@FAULTS.add("references-dropped", "MEM-16", hook="referenced", not_in=("vllm",))
def _unread(found: Json | None, _: RequestInfo) -> Json | None:
    """Item references are accepted, but their items do not reach the model."""
    return None if found is None else {"type": "message", "role": "user", "content": ""}

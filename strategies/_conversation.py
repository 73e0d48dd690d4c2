"""Putting items into an order in which a client could have sent them.

A tool's output belongs after its call and names it, ids are unique, and the model is left something to answer.
Endpoints that look at such things would otherwise refuse a body for a reason that has nothing to do with the branch
under test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from rejoinder.json_copy import copy_json
from rejoinder.strategies.schema.examples import id_prefix

Item = dict[str, Any]

_OUTPUT: Final = "_output"
#: The one answer whose type is not its question's with ``_output`` behind it.
_ANSWERS: Final[Mapping[str, str]] = {"mcp_approval_response": "mcp_approval_request"}
#: The one answer that names its call in its own id.
_NAMES_CALL_IN_ID: Final = "local_shell_call_output"


def called_by(type_: str) -> str:
    """Return the type of the item that an item of this type answers, or the empty string."""
    return _ANSWERS.get(type_) or (type_.removesuffix(_OUTPUT) if type_.endswith(_OUTPUT) else "")


def user_message(text: str, *, typed: bool = False) -> Item:
    """Return the simplest message of a user, with ``type`` where it is ``typed``."""
    return {**({"type": "message"} if typed else {}), "role": "user", "content": text}


def arrange(
    items: Iterable[Item],
    example: Callable[[str], Item | None],
    *,
    complete: bool = True,
    prompt: str = "Say hello.",
    typed: bool = False,
) -> list[Item]:
    """Return the items as a conversation.

    ``example`` gives an item of a type (``None`` if there is none). Every answer is preceded by its question; with
    ``complete`` every question also gets its answer. The conversation begins with a user's message and ends with one
    unless the last given item is an answer or a user's message already; these have ``type`` if ``typed``. Ids and call
    ids are rewritten to be unique and consistent; those that are null stay null.
    """
    result = [copy_json(item) for item in items]
    result = _with_questions(result, example)
    pairs = _pairs(result)
    given_pairs = len(pairs)
    if complete:
        answered = {id(question) for _, question in pairs}
        for question in [item for item in result if _asks(item) and id(item) not in answered]:
            answer = copy_json(example(_answer_to(str(question["type"]))))
            if answer is not None:
                result.append(answer)
                pairs.append((answer, question))
    if not result or result[0].get("role") not in ("user", "system", "developer"):
        result.insert(0, user_message(prompt, typed=typed))
    last = result[-1]
    asked_for = len(pairs) == given_pairs and called_by(str(last.get("type")))
    if last.get("role") != "user" and not asked_for:
        result.append(user_message("Continue.", typed=typed))
    _number(result, pairs)
    return result


def _asks(item: Item) -> bool:
    """Whether an item waits for an answer. A call whose id is null does not: no answer could name it."""
    has_id = item.get("call_id") is not None
    return not called_by(str(item.get("type"))) and (has_id or item.get("type") in _ANSWERS.values())


def _answer_to(type_: str) -> str:
    return next((answer for answer, question in _ANSWERS.items() if question == type_), type_ + _OUTPUT)


def _with_questions(items: list[Item], example: Callable[[str], Item | None]) -> list[Item]:
    """Insert a question before every answer that has none."""
    result: list[Item] = []
    waiting: Counter[str] = Counter()
    for item in items:
        type_ = str(item.get("type"))
        question = called_by(type_)
        if question and not waiting[question]:
            follow_up = copy_json(example(question))
            if follow_up is not None:
                result.append(follow_up)
                waiting[question] += 1
        if question:
            waiting[question] -= 1
        elif _asks(item):
            waiting[type_] += 1
        result.append(item)
    return result


def _pairs(items: list[Item]) -> list[tuple[Item, Item]]:
    """Return every answer with the earliest unanswered question before it."""
    pairs = []
    waiting: dict[str, list[Item]] = {}
    for item in items:
        type_ = str(item.get("type"))
        question = called_by(type_)
        if question and waiting.get(question):
            pairs.append((item, waiting[question].pop(0)))
        elif _asks(item):
            waiting.setdefault(type_, []).append(item)
    return pairs


def _number(items: list[Item], pairs: list[tuple[Item, Item]]) -> None:
    """Give items and calls unique ids, in place, and write the calls' ids into their answers."""
    for index, item in enumerate(items, 1):
        type_ = item.get("type")
        if isinstance(item.get("id"), str) and isinstance(type_, str) and type_ != "item_reference":
            item["id"] = f"{id_prefix(type_)}_{index:04}"
        if item.get("call_id") is not None:
            item["call_id"] = f"call_{index:04}"
    for answer, question in pairs:
        if "approval_request_id" in answer:
            answer["approval_request_id"] = question["id"]
        elif answer.get("call_id") is not None:
            answer["call_id"] = question["call_id"]
        elif answer.get("type") == _NAMES_CALL_IN_ID and "call_id" not in answer:
            answer["id"] = question["call_id"]

"""What the parrot hears and says: the texts of an input, and their tokens."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

_TOKEN: Final = re.compile(r"\s*\S{1,12}|\s+\Z")

# Texts of items that are not messages, by type: the fields that hold a string or a list of content parts.
_ITEM_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "function_call": ("name", "arguments"),
    "function_call_output": ("output",),
    "custom_tool_call": ("name", "input"),
    "custom_tool_call_output": ("output",),
    "local_shell_call_output": ("output",),
    "shell_call_output": ("output",),
    "apply_patch_call_output": ("output",),
    "mcp_call": ("arguments", "output"),
    "mcp_approval_response": ("reason",),
    "code_interpreter_call": ("code", "outputs"),
    "file_search_call": ("results",),
    "computer_call_output": ("output",),
}
# What the parrot repeats of only when it is asked for code words: reasoning would grow with every turn.
_INNER_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {"reasoning": ("summary", "content")}
_PART_TEXTS: Final = ("text", "refusal", "logs", "stdout", "stderr")
_PART_NAMES: Final[Mapping[str, str]] = {
    "input_image": "[image]",
    "computer_screenshot": "[screenshot]",
    "image": "[image]",
}


IMAGE_TOKENS: Final = 85
"""Tokens of an image, whatever its size."""

# What the parrot is asked for, in the last user message.
_OK_ONLY: Final = re.compile(r"\bwith OK only\b")
_RESULT_OF: Final = re.compile(r"\bWhat did (\w+) return for (\w+)\?")
_CODE_WORDS_ONLY: Final = re.compile(r"\bcode words?\b(?=.*\bonly\b)|\bonly\b(?=.*\bcode words?\b)", re.DOTALL)
_CODE_WORD: Final = re.compile(r"\b[a-z]{3,}-\d{4}\b")


@dataclass(frozen=True, slots=True)
class Segment:
    """One text of the input. ``annotations`` are those of the part; ``new_part`` requests a separate output part.

    ``is_image`` says that the text stands for an image.
    """

    text: str
    annotations: tuple[Json, ...] = ()
    new_part: bool = False
    is_image: bool = False


def tokens(text: str) -> list[str]:
    """Split a text into tokens that join to it again.

    A token is a word of up to 12 code points with the white space before it; no code point is ever split.
    """
    return _TOKEN.findall(text)


def segments(items: Sequence[Mapping[str, Any]], instructions: str | None = None) -> list[Segment]:
    """Return the texts that the parrot repeats, in order: the instructions, then the texts of every item.

    A text that is already part of an earlier one is left out (else the replies of a conversation would grow
    exponentially), unless it carries annotations.
    """
    last_user = max((i for i, item in enumerate(items) if item.get("role") == "user"), default=-1)
    result: list[Segment] = []
    heard = ""
    if instructions:
        result.append(Segment(instructions))
        heard = instructions
    for index, item in enumerate(items):
        for position, segment in enumerate(_item_segments(item)):
            if not segment.text or (segment.text in heard and not segment.annotations):
                continue
            new_part = index == last_user and 0 < position < 4
            result.append(Segment(segment.text, segment.annotations, new_part, segment.is_image))
            heard = f"{heard}\n{segment.text}"
    return result


def count_tokens(items: Iterable[Mapping[str, Any]], image_tokens: int = IMAGE_TOKENS) -> int:
    """Return the number of tokens of the items: those of their texts and images, and one for each item."""
    return sum(
        1 + sum(image_tokens if heard.is_image else len(tokens(heard.text)) for heard in _all_segments(item))
        for item in items
    )


def count_tool_tokens(tools: Iterable[Any]) -> int:
    """Return the number of tokens of tool definitions, which the model reads as JSON."""
    return sum(len(tokens(json.dumps(tool, ensure_ascii=False))) for tool in tools)


def last_user_text(items: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user message, or the empty string."""
    for item in reversed(items):
        if item.get("role") == "user":
            return text_of(item.get("content"))
    return ""


def text_of(content: Any) -> str:
    """Return the text of a content: a string, a part or a list of parts."""
    return "\n".join(segment.text for segment in _content_segments(content))


def direct_answer(question: str, items: Sequence[Mapping[str, Any]], others: Iterable[str]) -> str | None:
    """Return the answer to a question that the parrot understands, ``None`` for any other.

    It answers OK if the question demands only that, what a call returned ("What did look_up return for Oslo?"), and the
    code words of all it heard (a noun, a hyphen and four digits) if the question demands only code words.
    ``others`` are the texts that it heard besides the items.
    """
    if _OK_ONLY.search(question):
        return "OK."
    call = _RESULT_OF.search(question)
    if call is not None:
        return _result_of(call[1], call[2], items)
    if not _CODE_WORDS_ONLY.search(question):
        return None
    texts = [*others, *(text for item in items for text in _all_texts(item))]
    return " ".join(dict.fromkeys(_CODE_WORD.findall("\n".join(texts)))) or "I know no code word."


def _result_of(name: str, argument: str, items: Sequence[Mapping[str, Any]]) -> str:
    """Return what the last call with that name and argument got: the output that follows it under its call_id."""
    waiting: dict[Any, bool] = {}
    result = "Nothing."
    for item in items:
        if item.get("type") == "function_call":
            waiting[item.get("call_id")] = item.get("name") == name and argument in str(item.get("arguments"))
        elif item.get("type") == "function_call_output" and waiting.pop(item.get("call_id"), False):
            result = " ".join(_all_texts(item))
    return result


def _all_texts(item: Mapping[str, Any]) -> Iterator[str]:
    return (segment.text for segment in _all_segments(item))


def _all_segments(item: Mapping[str, Any]) -> Iterator[Segment]:
    yield from _item_segments(item)
    for name in _INNER_TEXTS.get(str(item.get("type")), ()):
        yield from _content_segments(item.get(name))


def _item_segments(item: Mapping[str, Any]) -> Iterator[Segment]:
    if "role" in item:
        yield from _content_segments(item.get("content"))
        return
    for name in _ITEM_TEXTS.get(str(item.get("type")), ()):
        yield from _content_segments(item.get(name))


def _content_segments(content: Any) -> Iterator[Segment]:
    if isinstance(content, str):
        yield Segment(content)
    elif isinstance(content, Mapping):
        yield from _part_segments(content)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, Mapping):
                yield from _part_segments(part)


def _part_segments(part: Mapping[str, Any]) -> Iterator[Segment]:
    kind = str(part.get("type"))
    if kind in _PART_NAMES:
        yield Segment(_PART_NAMES[kind], is_image=True)
    elif kind == "input_file":
        yield Segment(f"[file {part['filename']}]" if part.get("filename") else "[file]")
        yield Segment(_file_text(part.get("file_data")))
    annotations = part.get("annotations")
    citations = tuple(a for a in annotations if isinstance(a, dict)) if isinstance(annotations, list) else ()
    for name in _PART_TEXTS:
        if isinstance(part.get(name), str):
            yield Segment(part[name], citations)


def _file_text(data: Any) -> str:
    """Return the text of a file that came as a data URL of text in base64, the empty string for any other."""
    if not isinstance(data, str) or not data.startswith("data:text/plain;base64,"):
        return ""
    try:
        return base64.b64decode(data.partition(",")[2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""

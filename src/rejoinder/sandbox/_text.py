"""What the parrot hears and says: the texts of an input, and their tokens."""

from __future__ import annotations

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
_PART_TEXTS: Final = ("text", "refusal", "logs", "stdout", "stderr")
_PART_NAMES: Final[Mapping[str, str]] = {
    "input_image": "[image]",
    "computer_screenshot": "[screenshot]",
    "image": "[image]",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One text of the input. ``annotations`` are those of the part; ``new_part`` asks for an own part in the reply."""

    text: str
    annotations: tuple[Json, ...] = ()
    new_part: bool = False


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
            result.append(Segment(segment.text, segment.annotations, new_part))
            heard = f"{heard}\n{segment.text}"
    return result


def count_tokens(items: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of tokens of the items: those of their texts, and one for each item."""
    return sum(1 + sum(len(tokens(segment.text)) for segment in _item_segments(item)) for item in items)


def last_user_text(items: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user message, or the empty string."""
    for item in reversed(items):
        if item.get("role") == "user":
            return "\n".join(segment.text for segment in _item_segments(item))
    return ""


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
        yield Segment(_PART_NAMES[kind])
    elif kind == "input_file":
        yield Segment(f"[file {part['filename']}]" if part.get("filename") else "[file]")
    annotations = part.get("annotations")
    kept = tuple(a for a in annotations if isinstance(a, dict)) if isinstance(annotations, list) else ()
    for name in _PART_TEXTS:
        if isinstance(part.get(name), str):
            yield Segment(part[name], kept)

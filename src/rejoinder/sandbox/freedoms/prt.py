"""Freedoms of content parts."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import every_part, only
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite
from rejoinder.sandbox.freedoms.citations import OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS, TZAFON_RESPONSE


def _as_output_text(part: Json) -> None:
    part.update(type="output_text", annotations=[])


def _taken_back(body: Json, _: RequestInfo) -> Json:
    """Read the own reasoning items as the contract has them."""
    given = body.get("input")
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and item.get("type") == "reasoning" and isinstance(item.get("content"), list):
            parts = [part for part in item["content"] if isinstance(part, dict) and "text" in part]
            item["content"] = [{"type": "reasoning_text", "text": part["text"]} for part in parts]
    return body


FREEDOMS: Final = FreedomList(
    Freedom(
        id="part-extra-fields",
        title="Content parts have fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, TZAFON_RESPONSE, OPENRESPONSES_EXTENSIONS),
        **every_part(lambda part: part.update(language=None, token_ids=[])),
    ),
    Freedom(
        id="reasoning-as-output-text",
        title="The content of reasoning items consists of output_text parts.",
        dialects=("openresponses",),
        sources=(
            cite("openresponses", "Reasoning, the example"),
            cite("openresponses-openapi", "ReasoningBody.content"),
        ),
        parsed=_taken_back,
        **every_part(only("reasoning_text", _as_output_text)),
    ),
)

"""Content parts with annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rejoinder.conformance.running.case import ROOMY, CaseContext, PlannedCase, plain_and_streamed, user

_CITED: Final[Mapping[str, Any]] = {
    "type": "message",
    "role": "assistant",
    "id": "msg_1",
    "status": "completed",
    "content": [
        {
            "type": "output_text",
            "text": "Oslo is in Norway.",
            "annotations": [
                {
                    "type": "url_citation",
                    "url": "https://example.org/oslo",
                    "title": "Oslo",
                    "start_index": 0,
                    "end_index": 4,
                },
                {"type": "file_citation", "file_id": "file_1", "filename": "norway.txt", "index": 0},
            ],
        }
    ],
}


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the case of the plan ``full``."""
    if plan == "full":
        yield plain_and_streamed(
            "content.annotations",
            "An earlier answer with citations, to be said again.",
            context.body(input=[_CITED, *user("Say it again, with your sources.")], max_output_tokens=ROOMY),
        )

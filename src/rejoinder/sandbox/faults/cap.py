"""Faults of required features."""

from __future__ import annotations

from functools import partial
from typing import Final

from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import FaultList, refuse_items

FAULTS: Final = FaultList()


@FAULTS.add("images-refused", "CAP-01", hook="request", through=partial(refuse_items, "An image"))
def _shows_image(item: Json) -> bool:
    """Images are refused."""
    content = item.get("content")
    return isinstance(content, list) and any(part.get("type") == "input_image" for part in content)

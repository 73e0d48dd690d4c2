"""Faults of features that an endpoint must have."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Fault, FaultList, refuse_items


def _shows_image(item: Json) -> bool:
    content = item.get("content")
    return isinstance(content, list) and any(part.get("type") == "input_image" for part in content)


FAULTS: Final = FaultList(
    Fault(
        id="images-refused",
        title="Images are refused.",
        breaks=("CAP-01",),
        request=refuse_items("An image", _shows_image),
    )
)

"""Freedoms of request parameters."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.freedom import Freedom, FreedomList, cite

FREEDOMS: Final = FreedomList(
    Freedom(
        id="request-id-not-used",
        title="The endpoint ignores request_id and gives every response its own id.",
        dialects=("northstar",),
        sources=(
            cite("tzafon", "src/tzafon/types/response_create_params.py, request_id, without a sentence about the id"),
        ),
        parsed=lambda body, _: {name: value for name, value in body.items() if name != "request_id"},
    ),
)

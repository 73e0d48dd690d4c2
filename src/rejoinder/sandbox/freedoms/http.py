"""Freedoms of HTTP statuses."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.fault import with_status
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite

FREEDOMS: Final = FreedomList(
    Freedom(
        id="unsupported-method-is-501",
        title="The endpoint returns status 501 for a method that it does not know.",
        sources=(cite("rfc9110", "section 9.1, Overview", "#section-9.1"),),
        error=with_status(501, "method_not_allowed"),
    ),
    Freedom(
        id="malformed-json-is-422",
        title="The endpoint refuses a body that is not JSON with status 422.",
        sources=(cite("rfc9110", "section 15.5.21, 422 Unprocessable Content", "#section-15.5.21"),),
        choice="status for malformed JSON",
        error=with_status(422, "invalid_json"),
    ),
)

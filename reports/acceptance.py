"""The states of contract branches and features: their signs and what they mean, the same in every part and format."""

from __future__ import annotations

from typing import Final

from rejoinder.model.footer import Acceptance

STATES: Final = {
    Acceptance.SEEN: ("pass", "A request that contains it was accepted, and a response shows its effect."),
    Acceptance.ACCEPTED: ("pass", "A request that contains it was accepted. No response shows an effect."),
    Acceptance.BROKEN: ("warn", "A request that contains it was accepted, but a MUST rule that needs it failed."),
    Acceptance.IGNORED: ("warn", "A request that contains it was accepted, but a rule shows that it has no effect."),
    Acceptance.REFUSED: ("warn", "A request with it was refused. The same request without it was accepted."),
    Acceptance.PART: (
        "warn",
        "It lies inside a branch that was refused or failed alone, so no request can contain it without that branch.",
    ),
    Acceptance.SERVER_ERROR: (
        "fail",
        "A request with it got a 5xx status or a failed response. The same request without it was accepted.",
    ),
    Acceptance.TOGETHER: (
        "untested",
        "Every request that contains it was refused or failed, and also contained something else that was not "
        "accepted.",
    ),
    Acceptance.UNPROVEN: (
        "untested",
        "No request that contains it got a complete response: interrupted, timed out, cut, busy or unauthorized.",
    ),
    Acceptance.NOT_SENT: ("untested", "No request of this run contains it."),
}
"""The sign and the meaning of each state, in the order in which states are listed and drawn."""

WORST_FIRST: Final = (
    Acceptance.SERVER_ERROR,
    Acceptance.REFUSED,
    Acceptance.PART,
    Acceptance.IGNORED,
    Acceptance.BROKEN,
    Acceptance.TOGETHER,
    Acceptance.UNPROVEN,
    Acceptance.NOT_SENT,
    Acceptance.ACCEPTED,
    Acceptance.SEEN,
)

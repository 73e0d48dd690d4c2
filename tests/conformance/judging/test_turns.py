"""What statuses say of what was sent."""

from __future__ import annotations

import pytest

from rejoinder.conformance.judging.turns import is_answer, is_broken, is_refusal, is_rejected


@pytest.mark.parametrize(
    ("status", "refuses", "broken"),
    [
        (0, False, False),
        (200, False, False),
        (399, False, False),
        (400, True, False),
        # Not being let in, being slow, too large or too often says nothing of what was sent.
        (401, False, False),
        (402, True, False),
        (403, False, False),
        (404, True, False),
        (408, False, False),
        (413, False, False),
        (422, True, False),
        (429, False, False),
        (499, True, False),
        (500, False, True),
        # Lacking something, or being busy, is not broken.
        (501, False, False),
        (502, False, True),
        (503, False, False),
        (599, False, True),
    ],
)
def test_a_status_refuses_or_tells_of_a_broken_server_or_neither(status: int, refuses: bool, broken: bool) -> None:
    assert (is_refusal(status), is_broken(status)) == (refuses, broken)
    assert is_rejected(status) == (refuses or broken)
    assert is_answer(status) == (refuses or broken or status == 200)

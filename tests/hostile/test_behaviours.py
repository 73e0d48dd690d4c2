"""What the hostile endpoint can do is broad, and each behaviour has a cause of its own."""

from __future__ import annotations

from collections import Counter

import tests.hostile.behaviours  # noqa: F401 - registers them
from tests.hostile.endpoint import BEHAVIOURS


def test_every_group_has_ten_behaviours_with_causes_of_their_own() -> None:
    groups = Counter(behaviour.group for behaviour in BEHAVIOURS.values())
    assert len(groups) >= 14
    assert min(groups.values()) >= 10
    causes = Counter(behaviour.cause for behaviour in BEHAVIOURS.values())
    assert [cause for cause, count in causes.items() if count > 1] == []

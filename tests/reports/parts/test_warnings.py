"""What a reader is warned of."""

from __future__ import annotations

from typing import Any

from rejoinder.model.runfile import Run
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.warnings import PART as WARNINGS


def test_warnings_come_from_the_run_and_from_its_file(checked: Run, forms: Any, section: Any) -> None:
    checked.damage = ["line 3: broken", "line 9: broken"]
    expected = [
        "2 lines of the run file could not be read: line 3: broken, line 9: broken.",
        "GET /v1/models answered 404.",
    ]
    assert read_report(checked)[WARNINGS] == expected
    assert forms(WARNINGS, checked)[1] == ["", *(f"  ! {sentence}" for sentence in expected)]
    assert section(checked, '<section class="warnings"', "</section>") == " ".join(expected)
    assert checked.footer is not None
    checked.damage, checked.footer.warnings = [], []
    assert read_report(checked).get(WARNINGS) is None

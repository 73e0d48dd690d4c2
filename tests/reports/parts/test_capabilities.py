"""What the endpoint can do."""

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.model.footer import AbilityResult, Acceptance, FeatureEvidence, FeatureResult
from rejoinder.model.runfile import Run
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.capabilities import PART as CAPABILITIES


@pytest.fixture
def able(checked: Run) -> Run:
    def feature(name: str, state: Acceptance, title: str = "", *evidence: Any) -> FeatureResult:
        found = (
            FeatureEvidence(**dict(zip(("exchange", "status", "words"), evidence, strict=True))) if evidence else None
        )
        return FeatureResult(feature=name, title=title, state=state, evidence=found)

    assert checked.footer is not None
    checked.footer.capabilities = [
        feature("streaming", Acceptance.SEEN, "Streams", "x1", 200, "seen"),
        feature("tools", Acceptance.REFUSED, "", "", 400, ""),
        feature("images", Acceptance.NOT_SENT),
        feature("files", Acceptance.SERVER_ERROR),
    ]
    shown = {"repeats": False, "calls": True, "follows_schema": None}
    checked.footer.abilities = {name: AbilityResult(shown=value, exchange=None) for name, value in shown.items()}
    return checked


def test_features_are_counted_by_state_and_told_with_their_evidence(able: Run, table: Any, forms: Any) -> None:
    found = read_report(able)[CAPABILITIES]
    assert found.brief == "1 effect seen, 1 refused, 1 server error, 1 not sent"
    assert found.lacking == "server error: files; refused: tools"
    assert table(able, 'id="capabilities"') == [
        ["Feature", "State", "Evidence"],
        ["streaming Streams", "effect seen", "x1 · status 200 · seen"],
        ["tools required", "refused", "status 400"],
        ["images", "not sent", ""],
        ["files", "server error", ""],
    ]
    markdown, terminal = forms(CAPABILITIES, able)
    missed = "The model did not repeat a canary"
    assert markdown[0] == f"Features: {found.brief}. {missed}\\."
    assert markdown[4:7] == [
        "| `tools` (required) | refused | status 400 |",
        "| `images` | not sent |  |",
        "| `files` | server error |  |",
    ]
    assert " ".join(" ".join(terminal).split()) == f"features {found.brief} {found.lacking}. {missed}."

"""A badge for a README: the JSON that an endpoint badge is drawn from."""

from __future__ import annotations

import json
from typing import Final

from rejoinder.formatting import plural
from rejoinder.model.runfile import Run
from rejoinder.reports._model import JUDGED, Tone, view

_COLOURS: Final = {
    Tone.FAIL: "red",
    Tone.KNOWN: "yellowgreen",
    Tone.WARN: "yellowgreen",
    Tone.ERROR: "lightgrey",
    Tone.INFO: "brightgreen",
    Tone.DECLINED: "lightgrey",
    Tone.NA: "lightgrey",
    Tone.PASS: "brightgreen",
    Tone.NONE: "lightgrey",
}


def render_badge(run: Run) -> str:
    """Return the run's verdict as the JSON that shields.io and its like draw an endpoint badge from."""
    seen = view(run)
    failed = seen.counts.get(Tone.FAIL, 0)
    judged = sum(seen.counts.get(tone, 0) for tone in JUDGED)
    if failed:
        message = f"{failed:,} of {plural(judged, 'rule')} broken"
    elif seen.tone in (Tone.PASS, Tone.WARN) and judged:
        known, warned = seen.counts.get(Tone.KNOWN, 0), seen.counts.get(Tone.WARN, 0)
        told = [f"{known:,} known to fail"] if known else []
        told += [plural(warned, "warning")] if warned else []
        message = f"{plural(judged, 'rule')} judged, {' and '.join(told) or 'all hold'}"
    else:
        message = seen.headline.lower()
    badge: dict[str, object] = {
        "schemaVersion": 1,
        "label": f"responses API ({seen.dialect})" if seen.dialect else "responses API",
        "message": message,
        "color": _COLOURS[seen.tone],
    }
    if seen.tone is Tone.ERROR:
        badge["isError"] = True
    return json.dumps(badge, ensure_ascii=False) + "\n"

"""What stands out in a load and no figure alone says."""

from __future__ import annotations

from typing import Final, NamedTuple

from rejoinder.formatting import format_percent, format_seconds, plural
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.load import PART as LOAD

_STALL: Final = 10
"""A gap of so many times the median is called a stall, if it is a noticeable one."""
_STALL_LEAST: Final = 0.1
_COALESCED: Final = 1.5


class Insight(NamedTuple):
    """Something about the run that a figure alone does not say; ``severity`` is that of its sign."""

    severity: str
    text: str


def read(report: ReportModel) -> list[Insight] | None:
    """Return what stands out in a run, the worst first."""
    load, total = report.get(LOAD), report.run.load
    if load is None:
        return None
    insights = []
    if total is not None and total.cross_talk:
        text = f"{plural(total.cross_talk, 'answer shows', 'answers show')} the token of another request"
        insights.append(Insight("fail", f"Cross-talk: {text}. The endpoint mixes answers up."))
    elif total is not None and total.settings.get("canaries") is True and load.ok:
        insights.append(Insight("pass", "No cross-talk: no answer showed the token of another request."))
    if total is not None and load.judged is not None:
        share = format_percent(*load.judged)
        text = f"The rules judged {load.judged[0]:,} of {plural(load.judged[1], 'answer')} ({share})"
        whole = load.judged[0] == load.judged[1]
        rest = "." if whole else ", the others by order, end and token alone."
        most = total.unjudged_bound
        if not whole and most is not None:
            rest += (
                f" Going by those that were judged, at most {format_percent(most, 1.0)} of the others break one (99 %)."
            )
        insights.append(Insight("pass" if whole else "info", f"{text}{rest}"))
    latencies = report.get(LATENCIES)
    gaps = latencies.find("itl") if latencies else None
    if gaps is not None and (median := gaps.quantile(0.5)) and gaps.values.longest is not None:
        limit = max(_STALL * median, _STALL_LEAST)
        stalls = gaps.values.above(limit)
        if stalls:
            share = format_percent(stalls, gaps.n)
            text = f"{plural(stalls, 'gap')} of {gaps.n:,} ({share}) took more than {format_seconds(limit)}"
            about = f"{format_seconds(gaps.values.longest)} the longest, {format_seconds(median)} the median"
            insights.append(Insight("warn", f"Stalls: {text}; {about}."))
    if censored := load.counts.get(RequestOutcome.CENSORED, 0):
        were = plural(censored, "request was", "requests were")
        insights.append(Insight("info", f"{were} still running at the end; they count neither as errors nor as good."))
    together = total.self_check.coalescing if total else None
    if together is not None and together >= _COALESCED:
        text = f"{together:.2g} content events came to a receive: gaps are those between receives, not between tokens."
        insights.append(Insight("info", f"Coalesced: {text}"))
    return sorted(insights, key=lambda insight: ("fail", "warn", "info", "pass").index(insight.severity)) or None


PART: Final = Part(__name__, Area.LOAD, 205, read)

"""Observations on a load that no single figure shows."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from rejoinder.formatting import format_percent, format_seconds, plural, value_of
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.insights.insight import Insight
from rejoinder.reports.parts.insights.tokens import token_insights
from rejoinder.reports.parts.insights.waits import connection_insights, pause_insights, retry_insights
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.terminal_text import wrap

_STALL: Final = 10
"""The multiple of the median from which a noticeable gap is a stall."""
_STALL_LEAST: Final = 0.1
_COALESCED: Final = 1.5


def read(report: ReportModel) -> list[Insight] | None:
    """Return what stands out in a run, the worst first."""
    load, total = report.get(LOAD), report.run.load
    if load is None:
        return None
    insights = []
    if total is not None and total.cross_talk:
        text = f"{plural(total.cross_talk, 'response contains', 'responses contain')} the canary of another request"
        insights.append(Insight("fail", f"Cross-talk: {text}."))
    elif total is not None and total.settings.get("canaries") is True and load.ok:
        insights.append(Insight("pass", "No cross-talk: no response contains the canary of another request."))
    if total is not None and load.judged is not None:
        share = format_percent(*load.judged)
        text = f"{load.judged[0]:,} of {plural(load.judged[1], 'response')} ({share}) checked against all rules"
        whole = load.judged[0] == load.judged[1]
        rest = "." if whole else ", the rest for event order, terminal event and canary only."
        most = total.unjudged_bound
        if not whole and most is not None and total.unjudged:
            share = "" if total.unjudged_voided is None else format_percent(total.unjudged_voided, total.unjudged)
            rest += (
                f" By this random sample, broken rules void {share} of the rest, at most {format_percent(most, 1.0)} "
                "(99 % confidence). Goodput, errors and rates allow for it."
                if share
                else " It cannot be known how many of the rest succeeded."
            )
        insights.append(Insight("pass" if whole else "info", f"{text}{rest}"))
    latencies = report.get(LATENCIES)
    gaps = latencies.find("itl") if latencies else None
    if gaps is not None and (median := value_of(gaps.quantile(0.5))) and gaps.values.longest is not None:
        limit = max(_STALL * median, _STALL_LEAST)
        stalls = gaps.values.above(limit)
        if stalls:
            share = format_percent(stalls, gaps.n)
            text = f"{stalls:,} of {plural(gaps.n, 'inter-token gap')} ({share}) exceeded {format_seconds(limit)}"
            about = f"median {format_seconds(median)}, maximum {format_seconds(gaps.values.longest)}"
            insights.append(Insight("warn", f"Stalls: {text} ({about})."))
    if censored := load.counts.get(RequestOutcome.CENSORED, 0):
        were = plural(censored, "request was", "requests were")
        text = (
            f"{were} still running when the run ended early: counted neither as succeeded nor as failed."
            if load.ended_early
            else f"{were} still running at the end, after the drain time (--drain): counted as failed."
        )
        insights.append(Insight("info" if load.ended_early else "warn", text))
    ends = latencies.find("e2e") if latencies else None
    if ends is not None and (unended := ends.values.unended):
        have = plural(unended, "request has", "requests have")
        text = f"{have} no end. They count as longer than they were waited for, so figures with ≥ are lower bounds."
        insights.append(Insight("info", text))
    together = total.self_check.coalescing if total else None
    if together is not None and together >= _COALESCED:
        text = f"{together:.2g} content events per network read on average, so ITL is the time between reads."
        insights.append(Insight("info", f"Coalesced events: {text}"))
    if total is not None:
        insights += token_insights(total)
    if latencies is not None:
        insights += retry_insights(latencies)
        if total is not None:
            insights += [*pause_insights(total, latencies), *connection_insights(total, latencies)]
    return sorted(insights, key=lambda insight: ("fail", "warn", "info", "pass").index(insight.severity)) or None


def terminal(insights: list[Insight], report: ReportModel, width: int) -> list[Text]:
    """Return the observations without which the figures of the terminal would mislead."""
    lines: list[Text] = []
    for insight in insights:
        if insight.terminal:
            lines += wrap(insight.text, width, " " * 6)
    return lines


def markdown(insights: list[Insight], report: ReportModel, room: int) -> list[str]:
    """Return the same observations as a list."""
    lines = [f"- {escape(insight.text)}" for insight in insights if insight.terminal]
    return [*lines, ""] if lines else []


PART: Final = Part(
    __name__, Area.LOAD, 205, read, markdown=markdown, markdown_order=255, terminal=terminal, terminal_order=255
)

"""The verdict on the whole run: a headline of a few words and some sentences, with the rules counted by verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.contract import load_dialect
from rejoinder.errors import RejoinderError
from rejoinder.formatting import join_list, one_line, plural
from rejoinder.model.verdict import Level
from rejoinder.reports.defects import count_defects
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.baseline import PART as BASELINE
from rejoinder.reports.parts.conformance_under_load import PART as CONFORMANCE
from rejoinder.reports.parts.contract import PART as CONTRACT
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.load import LoadSummary, load_figures
from rejoinder.reports.parts.search import PART as SEARCH
from rejoinder.reports.parts.suite import PART as SUITE
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.rules import JUDGED, Severity, catalogue, partial_reason
from rejoinder.reports.terminal_text import wrap


class RunVerdict(NamedTuple):
    """The verdict on a run: its severity, a headline of a few words, some sentences.

    ``problem`` is what the run says hindered it, empty when nothing did.
    """

    severity: Severity
    headline: str
    sentence: str
    problem: str


def read(report: ReportModel) -> RunVerdict:
    """Return the verdict on the whole run."""
    return RunVerdict(*_verdict(report), one_line(report.run.problem, 500))


Said = tuple[Severity, str, *tuple[str, ...]]
"""The severity, the headline, and the sentences, of which some may be empty."""


def _verdict(report: ReportModel) -> tuple[Severity, str, str]:
    severity, headline, *sentences = _said(report)
    return severity, _capital(headline), " ".join(map(_capital, filter(None, sentences)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _said(report: ReportModel) -> Said:
    """Return the verdict in parts."""
    run, counts, load = report.run, Counter(report.counts), report.get(LOAD)
    checked = sum(counts[severity] for severity in JUDGED)
    musts = sum(rule.level == "MUST" and rule.severity in JUDGED for rule in report.rules)
    lost = sum(rule.level == "MUST" and rule.severity is Severity.WARN for rule in report.rules)
    under_load = _load_sentence(load)
    if failed := counts[Severity.FAIL]:
        defects = plural(count_defects(report.defects, report.rules).defects, "defect")
        sentence = f"{defects}: {failed:,} of {max(musts, failed):,} MUST rules checked failed."
        return Severity.FAIL, "Does not conform", sentence, _also(counts, lost), _suite(report), under_load
    baseline = report.get(BASELINE)
    if baseline and baseline.outdated and not run.interrupted:
        entries = plural(len(baseline.outdated), "fixed or stale entry", "fixed or stale entries")
        return (
            Severity.FAIL,
            "Baseline is out of date",
            f"The strict baseline has {entries}.",
            _also(counts, lost),
            under_load,
        )
    suite = report.get(SUITE)
    if suite and suite.failed and not run.interrupted:
        cases = plural(len(suite.failed), "case")
        passed = _passed(counts, musts, lost, checked) if checked else "No rule was checked."
        return Severity.FAIL, f"{cases} of the official suite failed", passed, _also(counts, lost), _untested(report)
    if checked:
        passed = _passed(counts, musts, lost, checked)
        if load is not None and (load.intolerable or load.missed):
            what = load.failed_text if load.intolerable else load.missed_text
            return Severity.FAIL, f"Conforms, but under load {what}", passed, _also(counts, lost), under_load
        partial = partial_reason(run)
        if run.incomplete:
            return Severity.ERROR, "Inconclusive", partial, passed, _also(counts, lost), under_load
        if counts[Severity.ERROR]:
            return Severity.ERROR, "Inconclusive", partial, passed, _also(counts, lost), under_load
        if counts[Severity.KNOWN]:
            return Severity.WARN, "No new failures", partial, passed, _also(counts, lost), under_load
        if partial:
            severity = Severity.WARN if counts[Severity.WARN] else Severity.PASS
            return severity, _selected(counts, checked), partial, _also(counts, lost), under_load
        if blocked := counts[Severity.BLOCKED]:
            headline = f"No failures, {plural(blocked, 'rule')} blocked"
            return Severity.WARN, headline, passed, _also(counts, lost), under_load
        if counts[Severity.WARN]:
            return Severity.WARN, "Conforms, with warnings", passed, _also(counts, lost), _untested(report), under_load
        passed = f"{checked:,} of {plural(checked, 'rule')} checked passed."
        return Severity.PASS, "Conforms", passed, _suite(report), _untested(report), under_load
    if load is not None and load.started:
        return _said_of_load(report, load)
    if run.load is not None and (run.interrupted or run.load.incomplete):  # such as in its warm-up
        how = "Interrupted" if run.interrupted else "Incomplete"
        return Severity.ERROR, f"{how}: nothing was measured", partial_reason(run)
    problem = one_line(run.problem, 500)
    if counts[Severity.ERROR]:
        rules = plural(len(report.rules), "rule")
        return Severity.ERROR, "Nothing could be checked", problem or f"Errors prevented the check of {rules}."
    if report.rules:
        return Severity.NONE, "Nothing was checked", problem or "No rule applies to the responses of the endpoint."
    return Severity.ERROR, "Nothing was tested", problem or "The run file has no verdicts and no measurements."


def _said_of_load(report: ReportModel, load: LoadSummary) -> Said:
    """Return the same for a run that is a load and nothing else; what a search found comes first."""
    said = _said_of_figures(report, load)
    search = report.get(SEARCH)
    if search is None or search.cut:
        if load.found_none:
            none, _, why = load.found_none.partition(". ")
            return Severity.FAIL, none.removesuffix("."), why, f"{said[1]}.", *said[2:]
        return said
    severity = Severity.WARN if said[0] is Severity.PASS and search.unconfirmed else said[0]
    severity = Severity.FAIL if load.found_none else severity
    at = f"At {search.chosen}" if search.chosen else "In the chosen step"
    return severity, search.headline, search.detail, f"{at}: {said[1]}.", *said[2:]


def _said_of_figures(report: ReportModel, load: LoadSummary) -> Said:
    """Return the same without the result of a search."""
    figures = ", ".join(load_figures(load, report.get(LATENCIES)))
    partial = partial_reason(report.run) if report.run.incomplete and load.whole else ""
    rest = (partial, f"{figures}." if figures else "", load.others_text, load.missed_sentence, load.caution)
    if load.aborted:
        return Severity.FAIL, "Ended early", load.aborted, f"{load.succeeded_text}.", *rest
    if load.intolerable:
        found = report.get(CONFORMANCE)
        rules = found.voiding if found and load.only_nonconforming else []
        broken = f" ({join_list(rules, 3)})" if rules else ""
        return Severity.FAIL, f"{load.failed_text}{broken}", *rest
    if load.missed:
        changed = f"{load.changes_text}: " if load.changes else ""
        return Severity.FAIL, f"{changed}{load.missed_text}", f"{load.succeeded_text}.", *rest
    if not load.whole:
        return Severity.ERROR, "Inconclusive", "The run was cut short.", f"{load.succeeded_text}.", *rest
    if partial:
        word = "Interrupted" if report.run.interrupted else "Incomplete"
        return Severity.ERROR, f"{word}: {load.succeeded_text}", *rest
    severity = Severity.WARN if load.caution or load.slower else Severity.PASS
    if load.changes_text:
        return severity, load.changes_text, f"{load.succeeded_text}.", *rest
    return severity, load.succeeded_text, *rest


def _selected(counts: Counter[Severity], checked: int) -> str:
    """Return how many rules of a selection passed."""
    passed = checked - counts[Severity.WARN]
    if passed == checked:
        return f"{plural(checked, 'selected rule')} passed"
    return f"{passed:,} of {plural(checked, 'selected rule')} passed"


def _passed(counts: Counter[Severity], musts: int, lost: int, checked: int) -> str:
    """Return how many rules passed, given that no MUST rule failed unexpectedly and ``lost`` of them warn."""
    if counts[Severity.KNOWN]:
        return f"No new failures in {plural(checked, 'rule')} checked."
    if musts:
        return f"{musts - lost:,} of {musts:,} MUST rules checked passed."
    return f"{checked - counts[Severity.WARN]:,} of {checked:,} rules checked passed."


def _also(counts: Counter[Severity], lost: int) -> str:
    """Return in a sentence what else happened to rules; empty when nothing did. ``lost`` MUST rules warn."""
    warned, errors, blocked = counts[Severity.WARN], counts[Severity.ERROR], counts[Severity.BLOCKED]
    parts = [plural(counts[Severity.KNOWN], "known failure")] if counts[Severity.KNOWN] else []
    parts += [f"{plural(lost, 'MUST rule')} lost a connection once, which no rerun confirmed"] if lost else []
    parts += [f"{plural(warned - lost, 'SHOULD rule')} failed"] if warned > lost else []
    parts += [f"{plural(errors, 'rule')} could not be checked"] if errors else []
    if blocked:
        parts.append(f"{plural(blocked, 'rule')} blocked, because a request that they need was refused or failed")
    return f"Also: {', '.join(parts)}." if parts else ""


def _untested(report: ReportModel) -> str:
    """Return in a sentence how many rules the plan did not test; empty when it tested all that apply."""
    untested = report.counts.get(Severity.UNTESTED, 0)
    plan = f"Plan {one_line(report.run.header.plan, 40)}" if report.run.header.plan else "The run"
    return f"{plan} did not test {plural(untested, 'rule')}." if untested else ""


def _suite(report: ReportModel) -> str:
    """Return in a sentence how the official suite ended; empty for a run of another plan."""
    suite = report.get(SUITE)
    return f"Official suite: {suite.brief}." if suite else ""


def _load_sentence(load: LoadSummary | None) -> str:
    """Return how the requests of a load ended, for a run that has rules as well."""
    if load is None or not load.started:
        return ""
    sentences = [f"Under load, {load.succeeded_text}.", load.missed_sentence, load.caution]
    return " ".join(filter(None, sentences))


def _coverage(report: ReportModel, dialect: str) -> tuple[int, int]:
    """Return how many of the dialect's rules were checked, and how many it has (0: not known)."""
    try:
        level_of = load_dialect(dialect).level_of
    except RejoinderError:  # a run of an unknown dialect is still worth a report
        return 0, 0
    force = {rule.id for rule in catalogue(report.run)[0].values() if level_of(rule) is not Level.OFF}
    return len({rule.id for rule in report.rules if rule.severity in JUDGED} & force), len(force)


def page_values(verdict: RunVerdict, report: ReportModel) -> dict[str, Any]:
    """Return what the page shows beside the verdict: how much was checked, and the contract in a sentence."""
    contract = report.get(CONTRACT)
    judged, in_force = _coverage(report, report[TARGET].dialect)
    return {"judged": judged, "in_force": in_force, "contract": contract.sentence if contract else ""}


def markdown(verdict: RunVerdict, report: ReportModel, room: int) -> list[str]:
    """Return the headline and the sentences."""
    return [f"## {verdict.severity.emoji} {escape(verdict.headline)}", "", escape(verdict.sentence), ""]


def terminal(verdict: RunVerdict, report: ReportModel, width: int) -> list[Text]:
    """Return the headline and the sentences."""
    severity = verdict.severity
    return [
        Text.assemble((f"{severity.sign} {verdict.headline}", f"bold {severity.style}")),
        *wrap(verdict.sentence, width),
    ]


PART: Final = Part(__name__, Area.FIRST, 10, read, markdown=markdown, terminal=terminal, page_values=page_values)

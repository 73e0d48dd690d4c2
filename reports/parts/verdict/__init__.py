"""The verdict on the whole run: a headline of a few words and a sentence, with the rules counted by verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.contract import load_dialect
from rejoinder.errors import RejoinderError
from rejoinder.formatting import format_percent, join_list, one_line, plural
from rejoinder.model.verdict import Level
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.baseline import PART as BASELINE
from rejoinder.reports.parts.contract import PART as CONTRACT
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.load import LoadSummary
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.rules import JUDGED, Severity, catalogue
from rejoinder.reports.terminal_text import wrap

_MEASURED: Final = {
    "SUSPECT": "The generator was strained or something was lost; take the figures with care.",
    "CLIENT-BOUND": "The generator, not the endpoint, may have set the figures.",
}


class RunVerdict(NamedTuple):
    """The verdict on a run: its severity, a headline of a few words, a sentence.

    ``problem`` is what the run says hindered it, empty when nothing did.
    """

    severity: Severity
    headline: str
    sentence: str
    problem: str


def read(report: ReportModel) -> RunVerdict:
    """Return the verdict on the whole run."""
    return RunVerdict(*_verdict(report), one_line(report.run.problem, 500))


def _verdict(report: ReportModel) -> tuple[Severity, str, str]:
    run, counts, load = report.run, Counter(report.counts), report.get(LOAD)
    judged = sum(counts[severity] for severity in JUDGED)
    tail = _load_sentence(load)
    if counts[Severity.FAIL]:
        broken = plural(counts[Severity.FAIL], "MUST rule is", "MUST rules are")
        sentence = f"{broken} broken, of {judged:,} that were judged{_also(counts)}."
        return Severity.FAIL, "Does not conform", f"{sentence} {tail}".strip()
    baseline = report.get(BASELINE)
    if baseline and baseline.outdated and not run.interrupted:
        entries = plural(len(baseline.outdated), "entry of it no longer fails", "entries of it no longer fail")
        sentence = f"The baseline must be kept up to date, and {entries}{_also(counts)}."
        return Severity.FAIL, "The baseline is out of date", f"{sentence} {tail}".strip()
    if judged:
        if load is not None and (load.intolerable or load.missed):
            sentence = f"{_none_broken(counts)} in {judged:,} that were judged{_also(counts)}."
            what = "not every request under load" if load.intolerable else "misses objectives under load"
            return Severity.FAIL, f"Conforms, but {what}", f"{sentence} {tail}"
        if run.truncated or run.interrupted:
            sentence = (
                f"The run was cut short. {_none_broken(counts)} so far, in {judged:,} that were judged{_also(counts)}."
            )
            return Severity.ERROR, "Not settled", f"{sentence} {tail}".strip()
        if counts[Severity.ERROR]:
            left = plural(counts[Severity.ERROR], "rule")
            sentence = f"{_none_broken(counts)}, but {left} could not be judged{_also(counts, errors=False)}."
            return Severity.ERROR, "Not settled", f"{sentence} {tail}".strip()
        if counts[Severity.KNOWN]:
            sentence = f"{_none_broken(counts)}, of {judged:,} that were judged{_also(counts)}."
            return Severity.WARN, "No new failure", f"{sentence} {tail}".strip()
        if counts[Severity.WARN]:
            unmet = plural(counts[Severity.WARN], "SHOULD rule is", "SHOULD rules are")
            sentence = f"All MUST rules hold that were judged; {unmet} not met, of {plural(judged, 'rule')}."
            return Severity.WARN, "Conforms, with warnings", f"{sentence} {tail}".strip()
        return Severity.PASS, "Conforms", f"All {plural(judged, 'rule')} that could be judged hold. {tail}".strip()
    if load is not None and load.started:
        if load.intolerable:
            return Severity.FAIL, "Not every request ended well", tail
        if load.missed:
            missed = plural(len(load.missed), "objective", "objectives")
            return Severity.FAIL, f"{missed} missed", tail
        if not load.whole:
            return Severity.ERROR, "Not settled", f"The run was cut short. {tail}".strip()
        severity = Severity.PASS if load.verdict in ("", "VALID") else Severity.WARN
        return severity, "Enough requests ended well" if load.bad else "Every request ended well", tail
    problem = one_line(run.problem, 500)
    if counts[Severity.ERROR]:
        return (
            Severity.ERROR,
            "Nothing could be judged",
            problem or f"All {plural(len(report.rules), 'rule')} ended in an error.",
        )
    if report.rules:
        return Severity.NONE, "Nothing was judged", problem or "No rule applied to what the endpoint answered."
    return Severity.ERROR, "Nothing was tested", problem or "The run holds no verdicts and no measurements."


def _none_broken(counts: Counter[Severity]) -> str:
    return "No MUST rule is newly broken" if counts[Severity.KNOWN] else "No MUST rule is broken"


def _also(counts: Counter[Severity], *, errors: bool = True) -> str:
    parts = []
    if counts[Severity.KNOWN]:
        parts.append(
            plural(
                counts[Severity.KNOWN], "rule is broken as the baseline says", "rules are broken as the baseline says"
            )
        )
    if counts[Severity.WARN]:
        parts.append(plural(counts[Severity.WARN], "SHOULD rule is not met", "SHOULD rules are not met"))
    if errors and counts[Severity.ERROR]:
        parts.append(plural(counts[Severity.ERROR], "rule could not be judged", "rules could not be judged"))
    return "".join(f"; {part}" for part in parts)


def _load_sentence(load: LoadSummary | None) -> str:
    if load is None or not load.started:
        return ""
    bad = sorted(load.not_ok, key=lambda line: -line.amount)
    rest = f" ({join_list((f'{line.amount:,} {line.outcome}' for line in bad), 2)})" if bad else ""
    sentence = (
        f"Under load, {format_percent(load.ok, load.started)} of {plural(load.started, 'request')} ended well{rest}."
    )
    if load.missed:
        sentence += f" Missed: {join_list((objective.text for objective in load.missed), 4)}."
    return f"{sentence} {_MEASURED.get(load.verdict, '')}".rstrip()


def _coverage(report: ReportModel, dialect: str) -> tuple[int, int]:
    """Return how many of the rules in force in the dialect were judged, and how many there are (0: not known)."""
    try:
        name = load_dialect(dialect).name
    except RejoinderError:  # a run of an unknown dialect is still worth a report
        return 0, 0
    force = {rule.id for rule in catalogue(report.run)[0].values() if rule.level_in(name) is not Level.OFF}
    return len({rule.id for rule in report.rules if rule.severity in JUDGED} & force), len(force)


def page_values(verdict: RunVerdict, report: ReportModel) -> dict[str, Any]:
    """Return what the page says beside the verdict: how much was judged, and the contract in a sentence."""
    contract = report.get(CONTRACT)
    judged, in_force = _coverage(report, report[TARGET].dialect)
    return {"judged": judged, "in_force": in_force, "contract": contract.sentence if contract else ""}


def markdown(verdict: RunVerdict, report: ReportModel, room: int) -> list[str]:
    """Return the headline and the sentence."""
    return [f"## {verdict.severity.emoji} {escape(verdict.headline)}", "", escape(verdict.sentence), ""]


def terminal(verdict: RunVerdict, report: ReportModel, width: int) -> list[Text]:
    """Return the headline and the sentence."""
    severity = verdict.severity
    return [
        Text.assemble((f"{severity.sign} {verdict.headline}", f"bold {severity.style}")),
        *wrap(verdict.sentence, width),
    ]


PART: Final = Part(__name__, Area.FIRST, 10, read, markdown=markdown, terminal=terminal, page_values=page_values)

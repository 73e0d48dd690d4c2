"""Checking exchanges against the rules: exchanges in, one verdict for each rule out.

Pure, and the same for live runs, load and recordings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from msgspec import structs

from rejoinder.conformance.baseline import BaselineMatcher
from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judging.acceptance import refusals
from rejoinder.conformance.judging.capabilities import abilities, capabilities, explained
from rejoinder.conformance.judging.context import Capability, RunContext
from rejoinder.conformance.judging.controls import answered_items, answered_requests
from rejoinder.conformance.judging.defects import Occurrence, count_defects, find_causes, occurrence
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import LATER_PLACES, MAX_KINDS, MAX_PLACES, MAX_RUN_PLACES, More, repeated
from rejoinder.conformance.judging.registry import Declined, Registered, Subject, applies, looked_at
from rejoinder.conformance.judging.token_counts import measure_scale
from rejoinder.conformance.judging.turns import CRASH, is_forgotten
from rejoinder.conformance.judging.untested import UntestedRules
from rejoinder.contract import Dialect, Feature, Rule, load_dialect, load_features, load_rules
from rejoinder.formatting import plural
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.model.footer import Acceptance
from rejoinder.model.tags import ON_PURPOSE, Tag
from rejoinder.model.verdict import (
    DefectKey,
    Finding,
    Known,
    Level,
    Problem,
    Status,
    Verdict,
    defect_id,
    fingerprint,
    masked,
    place_in_response,
)

REQUIRED: Final = "CAP"
"""The family of the rules on required features."""

MAX_CASES: Final = 50
"""How many case names a finding keeps; its count goes on."""


MAX_CRASHES: Final = 24
"""How many kinds of server errors one rule distinguishes."""

_Problems = Sequence[tuple[Sequence[ExchangeView], list[Problem]]]

SubjectValues = Mapping[Subject, Sequence[Any]]
"""What checks look at (exchanges, cases, the run), by the kind of check."""


def select_rules(pattern: str = "*") -> list[Rule]:
    """Return the rules whose id matches a shell-style pattern, or several joined by commas, in catalogue order."""
    patterns = [part.strip() for part in pattern.split(",") if part.strip()]
    return [rule for rule in load_rules().values() if any(fnmatchcase(rule.id, part) for part in patterns)]


def judge(
    exchanges: Sequence[Exchange],
    dialect: Dialect | str,
    *,
    select: str = "*",
    required: Iterable[str] = (),
    matcher: BaselineMatcher | None = None,
    run_context: RunContext | None = None,
    plan: str = "",
) -> list[Verdict]:
    """Check recorded exchanges against the selected rules of a dialect and return the verdicts in catalogue order.

    With a matcher, what its baseline expects becomes a separate finding that is known; the matcher records which
    entries were used and where the rules were judged.

    Never raises on anything an endpoint sent; a check that breaks gives its rule the status ``error``.
    Exchanges tagged ``unjudged`` (finding the endpoint, repeated requests) are left out. ``required`` names the
    features that the endpoint must have. ``run_context`` is what the run shows as a whole that the exchanges are a part
    of; by default they are a run. ``plan`` is the name of the test plan that sent them, if one did; the reasons of
    rules that were not tested name a plan that tests them.
    """
    return judge_run(
        exchanges, dialect, select=select, required=required, matcher=matcher, run_context=run_context, plan=plan
    )[0]


def judge_run(
    exchanges: Sequence[Exchange],
    dialect: Dialect | str,
    *,
    select: str = "*",
    required: Iterable[str] = (),
    matcher: BaselineMatcher | None = None,
    run_context: RunContext | None = None,
    plan: str = "",
) -> tuple[list[Verdict], RunContext]:
    """Check as :func:`judge` does, and return with the verdicts what the run shows as a whole."""
    dialect = load_dialect(dialect) if isinstance(dialect, str) else dialect
    own = RunContext(required=frozenset(required)) if run_context is None else run_context
    judged = [exchange for exchange in exchanges if Tag.UNJUDGED not in exchange.tags]
    again = run_context is not None and (own.required or any(Tag.NARROWED in one.tags for one in judged))
    own = replace(own) if again else own
    views = [ExchangeView(exchange, dialect, own) for exchange in judged]
    narrowed = [
        ExchangeView(exchange, dialect, own)
        for exchange in exchanges
        if Tag.UNJUDGED in exchange.tags and Tag.NARROWED in exchange.tags
    ]
    if run_context is None:
        own.abilities = abilities(views)
        own.capabilities = explained(capabilities([*views, *narrowed]), own.abilities, dialect, plan)
        own.refusals = tuple(refusals(narrowed))
        own.answered = answered_requests(views)
        own.answered_items = answered_items(views)
        own.operations = frozenset(view.operation for view in views if view.exchange.ok)
        own.forgets = any(is_forgotten(view) for view in views)
        own.token_scale = measure_scale(views)
    elif again:
        # A pair, or a request for a required feature, that is sent again is judged by what it shows now.
        now = {name: found for name, found in capabilities(views).items() if found.state is not Acceptance.NOT_SENT}
        own.capabilities = {**own.capabilities, **now}
        own.refusals = tuple(refusals(views))
    subjects = _subjects(views)
    untested = UntestedRules(dialect, plan, own, {case.id: case.views for case in subjects[Subject.CASE]})
    table = checks_by_rule()
    elsewhere = {view.exchange.id: view for view in narrowed}
    verdicts: dict[str, Verdict] = {}
    chosen = select_rules(select)
    occurrences: dict[int, list[Occurrence]] = {}

    def judge_rules(rules: Iterable[Rule]) -> None:
        for rule in rules:
            level = dialect.level_of(rule)
            if level is not Level.OFF:
                verdict = _verdict(rule, level, table[rule.id], subjects, matcher, occurrences, elsewhere)
                if verdict.status is Status.NOT_APPLICABLE and not rule.unchecked:
                    why = untested.why(rule)
                    verdict.status, verdict.reason, verdict.blocked_by = why.status, why.reason, why.blocked_by
                verdicts[rule.id] = verdict

    judge_rules(rule for rule in chosen if rule.family != REQUIRED)
    if run_context is None or own.required:
        own.capabilities = settled(own.capabilities, views, dialect, verdicts.values(), occurrences)
    # What is required is judged last, since other rules show what is ignored.
    judge_rules(rule for rule in chosen if rule.family == REQUIRED)
    ordered = [verdicts[rule.id] for rule in chosen if rule.id in verdicts]
    find_causes(ordered, load_rules(), occurrences)
    for verdict in ordered:
        verdict.defects = count_defects(verdict, occurrences)
    return ordered, own


def settled(
    capabilities: Mapping[str, Capability],
    views: Sequence[ExchangeView],
    dialect: Dialect,
    verdicts: Iterable[Verdict],
    occurrences: Mapping[int, Sequence[Occurrence]],
    *,
    evidence: Sequence[ExchangeView] = (),
) -> Mapping[str, Capability]:
    """Return what is known of features once rules were judged: whether the accepted ones work.

    A feature whose effect is tested by rules (``tested_by``) is ignored if they fail on all requests that use it,
    broken if on some, and its effect is seen if on none. An accepted feature is broken as well if a finding of a MUST
    rule is about it, see :meth:`_FeatureUse.broken_by`. ``evidence`` are the exchanges of the findings, where ``views``
    does not hold them.
    """
    use = _FeatureUse(evidence or views, dialect)
    about: dict[str, list[tuple[str, str]]] = {}
    for verdict in verdicts:
        if verdict.level is Level.MUST and verdict.status in (Status.FAIL, Status.KNOWN):
            for finding in verdict.findings:
                for name in use.broken_by(finding, occurrences.get(id(finding), ())):
                    about.setdefault(name, []).append((verdict.rule, finding.fingerprint))
    found = {}
    for name, known in capabilities.items():
        if known.state.is_accepted:
            feature = load_features()[name]
            judged, failed, marks = _tested(feature, views, dialect)
            state = known.state
            if judged:
                state = Acceptance.SEEN if not failed else Acceptance.IGNORED if failed == judged else Acceptance.BROKEN
            if state is not Acceptance.IGNORED:
                marks += [pair for pair in about.get(name, ()) if pair not in marks]
                state = Acceptance.BROKEN if marks else state
            known = replace(known, state=state, findings=tuple(marks))
        found[name] = known
    return MappingProxyType(found)


class _FeatureUse:
    """Which features the requests of a run use, and which of them a finding is about."""

    def __init__(self, views: Sequence[ExchangeView], dialect: Dialect) -> None:
        self._views = views
        self._dialect = dialect
        self._by_exchange = {view.exchange.id: view for view in views}
        self._cases: dict[str, list[ExchangeView]] = {}
        for view in views:
            self._cases.setdefault(view.exchange.case, []).append(view)
        self._used: dict[str, frozenset[str]] = {}
        self._shares: dict[tuple[str, str], float] = {}
        self._culprits: dict[tuple[str, frozenset[str]], str] = {}

    def broken_by(self, finding: Finding, occurrences: Iterable[Occurrence]) -> set[str]:
        """Return the features that a finding is about.

        They are used by the requests that show it, and its rule needs them; of several, it is about the one that the
        fewest rules need. A feature that narrows that one, or that can take its place (see ``features.toml``), is meant
        instead where the rule fails on it more often. A finding at the place in a response that only one feature fills
        is about that feature.
        """
        rule = load_rules()[finding.rule]
        place = masked(place_in_response(finding.evidence.pointer))
        placed = {
            name
            for name, feature in load_features().items()
            if feature.fills_alone and f"{place}/".startswith(f"{feature.shows.removesuffix('/*')}/")
        }
        found = set()
        for exchange, case in dict.fromkeys((one.exchange, one.case) for one in occurrences):
            used = self._of_occurrence(exchange, case, rule)
            key = rule.id, used
            if key not in self._culprits:
                self._culprits[key] = self._culprit(rule, used)
            found |= {self._culprits[key]} | (placed & used)
        return found - {""}

    def _of_occurrence(self, exchange: str, name: str, rule: Rule) -> frozenset[str]:
        """Return the features that an occurrence shows: those of its request, or of its case where that is tested."""
        view = self._by_exchange.get(exchange)
        case = self._cases.get(name, [])
        whole = all(registered.subject in (Subject.CASE, Subject.RUN) for registered in checks_by_rule()[rule.id])
        own = case if whole or view is None or not view.is_create else [view]
        return frozenset().union(*map(self._of_view, [*own, *(found for found in case if not found.is_create)]))

    def _of_view(self, view: ExchangeView) -> frozenset[str]:
        identity = view.exchange.id
        if identity not in self._used:
            self._used[identity] = frozenset(
                name
                for name, feature in load_features().items()
                if (feature.is_used(view.request) if view.is_create else feature.operation == view.operation != "")
            )
        return self._used[identity]

    def _culprit(self, rule: Rule, used: frozenset[str]) -> str:
        if not rule.features:
            return ""
        features = load_features()
        main = min(rule.features, key=lambda name: _need()[name])
        narrower = [name for name in used if features[name].narrows == main]
        alike = [name for name in used if features[name].like == main]
        share = self._share(rule, main) if main in used and (narrower or alike) else 0.0
        for names, least in ((narrower, share), (alike, share + _MORE)):
            best = max(sorted(names), key=lambda name: self._share(rule, name), default="")
            if best and (main not in used or self._share(rule, best) >= least):
                return best
        return min((name for name in rule.features if name in used), key=lambda name: _need()[name], default="")

    def _share(self, rule: Rule, name: str) -> float:
        """Return the share of the tests of a rule that failed, of those on requests that use a feature."""
        key = rule.id, name
        if key not in self._shares:
            using = [view for view in self._views if name in self._of_view(view)]
            verdict = _verdict_on(rule, using, self._views, self._dialect)
            self._shares[key] = verdict.failed / verdict.judged if verdict.judged else 0.0
        return self._shares[key]


_MORE: Final = 1e-9
"""What makes one share larger than another."""


@cache
def _need() -> Counter[str]:
    """Return how many rules need each feature."""
    return Counter(name for rule in load_rules().values() for name in rule.features)


def _tested(
    feature: Feature, views: Sequence[ExchangeView], dialect: Dialect
) -> tuple[int, int, list[tuple[str, str]]]:
    """Return how often the rules that test a feature were judged on requests that use it, how often they failed, and
    the rules with the fingerprints of what failed.
    """
    judged, failed, marks = 0, 0, list[tuple[str, str]]()
    using = [view for view in views if view.is_create and feature.tested_by and feature.is_used(view.request)]
    for name in feature.tested_by:
        rule = load_rules()[name]
        if dialect.level_of(rule) is not Level.OFF and using:
            verdict = _verdict_on(rule, using, views, dialect)
            judged, failed = judged + verdict.judged, failed + verdict.failed
            marks += [(name, finding.fingerprint) for finding in verdict.findings]
    return judged, failed, marks


def _verdict_on(rule: Rule, chosen: list[ExchangeView], views: Sequence[ExchangeView], dialect: Dialect) -> Verdict:
    """Return the verdict of a rule on chosen exchanges of a run, and on the whole cases that they are in."""
    cases = {view.exchange.case for view in chosen}
    whole = _subjects([view for view in views if view.exchange.case in cases])
    subjects = {**_subjects(chosen), Subject.CASE: whole[Subject.CASE]}
    return _verdict(rule, dialect.level_of(rule), checks_by_rule()[rule.id], subjects, None, {}, {})


def settle_losses(verdicts: Iterable[Verdict], exchanges: Iterable[Exchange]) -> None:
    """Let a rule that fails only by connections lost once warn instead, where reruns of their cases lost none.

    A connection can be lost between rejoinder and the endpoint. One that is lost again, or that no rerun tested, still
    fails the rule.
    """
    lost = {one.id for one in exchanges if one.status is None and one.outcome is Outcome.CUT}
    for verdict in verdicts:
        counting = [finding for finding in verdict.findings if finding.known is None]
        if verdict.status is Status.FAIL and counting and all(_is_chance(finding, lost) for finding in counting):
            verdict.status = Status.WARN


def _is_chance(finding: Finding, lost: Container[str]) -> bool:
    reruns = finding.reruns
    again = reruns is None or not reruns.asked or reruns.failed
    return finding.count == 1 and finding.evidence.exchange in lost and not again


def merge(before: Sequence[Verdict], after: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts on two lots of exchanges, judged one after the other by the same rules.

    Findings that are the same are one, with the evidence of the first; rules over a whole run have seen each
    lot by itself.
    """
    if not before:
        return list(after)
    later = {verdict.rule: verdict for verdict in after}
    return [_merged(verdict, later[verdict.rule]) if verdict.rule in later else verdict for verdict in before]


# Of two lots, the one that says more gives the verdict.
_WEIGHTS: Final = (
    Status.FAIL,
    Status.WARN,
    Status.KNOWN,
    Status.ERROR,
    Status.PASS,
    Status.DECLINED,
    Status.BLOCKED,
    Status.NOT_APPLICABLE,
)


def _merged(before: Verdict, after: Verdict) -> Verdict:
    stronger = min(before, after, key=lambda verdict: _WEIGHTS.index(verdict.status))
    findings = {(finding.fingerprint, finding.known): finding for finding in before.findings}
    for finding in after.findings:
        known = findings.setdefault((finding.fingerprint, finding.known), finding)
        if known is not finding:
            known.count += finding.count
            new = [case for case in finding.cases if case not in known.cases]
            known.cases += new[: max(0, MAX_CASES - len(known.cases))]
            if known.cause != finding.cause:  # it follows in one lot only
                known.cause = ""
    return replace(
        stronger,
        judged=before.judged + after.judged,
        failed=before.failed + after.failed,
        findings=sorted(findings.values(), key=lambda finding: (finding.known is not None, -finding.count)),
        defects=_merged_defects(findings.values(), before, after),
    )


def _merged_defects(findings: Iterable[Finding], *verdicts: Verdict) -> dict[DefectKey, int]:
    counts: Counter[tuple[str, bool]] = Counter()
    for verdict in verdicts:
        for key, count in verdict.defects.items():
            counts[key.id, key.known] += count
    return {finding.group: counts[finding.defect, finding.known is not None] for finding in findings}


def broken_rules(
    exchange: Exchange | ExchangeView,
    dialect: Dialect | str,
    *,
    level: Level = Level.MUST,
    only: Container[str] | None = None,
) -> list[str]:
    """Return the ids of the rules of one level that a single exchange breaks, in catalogue order.

    Rules over whole cases or runs are left out, and those that ``only`` does not hold.
    """
    return list(problems_by_rule(exchange, dialect, level=level, only=only))


def tests_exchanges(rule: Rule) -> bool:
    """Return whether a rule can be tested on a single exchange; others need a whole case or run."""
    return any(check.subject not in (Subject.CASE, Subject.RUN) for check in checks_by_rule()[rule.id])


def problems_by_rule(
    exchange: Exchange | ExchangeView,
    dialect: Dialect | str,
    *,
    level: Level = Level.MUST,
    only: Container[str] | None = None,
) -> dict[str, list[Problem]]:
    """Return what is wrong with a single exchange, by the rules that :func:`broken_rules` returns.

    For checking streams under load, which may have been parsed before: then the view is given.
    """
    dialect = load_dialect(dialect) if isinstance(dialect, str) else dialect
    view = exchange if isinstance(exchange, ExchangeView) else ExchangeView(exchange, dialect)
    applying: dict[Subject, list[ExchangeView]] = {}
    table = checks_by_rule()
    broken: dict[str, list[Problem]] = {}
    for rule in load_rules().values():
        if (only is None or rule.id in only) and dialect.level_of(rule) is level:
            result = _RuleResult()
            for registered in table[rule.id]:
                subject = registered.subject
                if subject not in (Subject.CASE, Subject.RUN):
                    if subject not in applying:
                        applying[subject] = [looked_at(subject, view)] if applies(subject, view) else []
                    _run_check(registered, applying[subject], result)
            if result.problems:
                broken[rule.id] = [problem for _, problems in result.problems for problem in problems]
    return broken


def failed_rules(views: Sequence[ExchangeView], dialect: Dialect, rules: Iterable[str]) -> list[str]:
    """Return which of some rules the exchanges fail together, and those of which a check broke, in the given order.

    :func:`judge` says of these what is wrong. This takes a small part of its time, for those who judge after every
    request.
    """
    subjects, table = _subjects(list(views)), checks_by_rule()
    failed = []
    for name in rules:
        result = _RuleResult()
        for registered in table[name]:
            _run_check(registered, subjects[registered.subject], result)
        if result.problems or result.errors:
            failed.append(name)
    return failed


@dataclass(slots=True)
class _RuleResult:
    """What the checks of one rule found: subjects judged, problems by subject, why others could not be judged.

    ``kept`` is how many problems these are.

    ``judged_on`` and ``unsettled_on`` are the cases of which something, or nothing for now, can be said.
    """

    judged: int = 0
    problems: list[tuple[Sequence[ExchangeView], list[Problem]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    declined: list[str] = field(default_factory=list)
    kept: int = 0
    judged_on: set[str] = field(default_factory=set)
    unsettled_on: set[str] = field(default_factory=set)


def _verdict(
    rule: Rule,
    level: Level,
    checks: Iterable[Registered],
    subjects: SubjectValues,
    matcher: BaselineMatcher | None,
    occurrences: dict[int, list[Occurrence]],
    elsewhere: Mapping[str, ExchangeView],
) -> Verdict:
    if rule.unchecked:
        return Verdict(rule.id, level, Status.NOT_APPLICABLE, reason=f"Not checked: {rule.unchecked}")
    result = _RuleResult()
    for registered in checks:
        _run_check(registered, subjects[registered.subject], result)
    if level is Level.MAY:  # informs only, so there is nothing to expect
        matcher = None
    findings = _group(rule, level, result, matcher, occurrences, elsewhere) if result.problems else []
    if matcher is not None:
        matcher.settle(rule.id, result.judged_on, result.unsettled_on)
    verdict = Verdict(rule.id, level, Status.PASS, result.judged, len(result.problems), findings=findings)
    if findings:
        verdict.status = {Level.MUST: Status.FAIL, Level.SHOULD: Status.WARN}.get(level, Status.PASS)
        if all(finding.known for finding in findings):
            verdict.status = Status.KNOWN
    elif result.errors:
        verdict.status = Status.ERROR
        verdict.reason = f"Internal error in the check: {result.errors[0]}"
    elif not result.judged and result.declined:
        verdict.status = Status.DECLINED
        verdict.reason = result.declined[0]
    elif not result.judged:
        verdict.status = Status.NOT_APPLICABLE
    return verdict


def _run_check(registered: Registered, subjects: Iterable[Any], result: _RuleResult) -> None:
    needs, run, whole = registered.needs, registered.run, registered.subject in (Subject.CASE, Subject.RUN)
    for subject in subjects:
        views = subject.views if whole else (subject,)
        problems, reason = _NOTHING
        try:
            if needs is not None and not needs(subject):
                continue
            found = iter(run(subject))
            first = next(found, None)  # there is none nearly always
            if first is not None:
                flooded = result.kept >= MAX_RUN_PLACES
                problems, reason = _gather(
                    chain((first,), found),
                    LATER_PLACES if flooded else MAX_PLACES,
                    LATER_PLACES if flooded else MAX_KINDS,
                )
        except Exception as error:  # a check must never take the run down with it
            result.errors.append(f"{type(error).__name__} at exchange {views[0].exchange.id}: {error}")
            result.unsettled_on.update([view.exchange.case for view in views])
            continue
        if reason:
            result.declined.append(reason)
            if not problems:
                result.unsettled_on.update([view.exchange.case for view in views])
                continue
        result.judged += 1
        for view in views:
            result.judged_on.add(view.exchange.case)
        if problems:
            result.problems.append((views, problems))
            result.kept += len(problems)


_NOTHING: Final[tuple[list[Problem], str]] = ([], "")


def _gather(found: Iterable[Problem | More | Declined], most: int, most_kinds: int) -> tuple[list[Problem], str]:
    """Return the problems that a check yields, and the first reason why it can say nothing.

    An endpoint decides how many problems a response has. Of each kind at most ``most`` places of an exchange are kept,
    and of the kinds the first ``most_kinds``; the first of them counts the others.
    """
    problems: list[Problem] = []
    reason = ""
    counts: dict[tuple[str, str, str], dict[str, int]] = {}
    more: dict[int, int] = {}
    firsts: dict[tuple[str, str, str, str], int] = {}
    other_kinds = 0
    for one in found:
        if isinstance(one, Declined):
            reason = reason or one.reason
            continue
        problem, again = (one.like, one.count) if isinstance(one, More) else (one, 1)
        if problem is None:
            other_kinds += again
            continue
        kind = problem.event_type, problem.kind, masked(problem.pointer)
        places = counts.get(kind)
        if places is None:
            if len(counts) >= most_kinds:
                other_kinds += again
                continue
            places = counts[kind] = {}
        count = places[problem.exchange] = places.get(problem.exchange, 0) + again
        if count == 1:
            firsts[*kind, problem.exchange] = len(problems)
        if count <= most:
            problems.append(problem)
        else:
            first = firsts[*kind, problem.exchange]
            more[first] = more.get(first, 0) + again
    for place, count in more.items():
        message = problems[place].message + repeated(count)
        problems[place] = structs.replace(problems[place], message=message, more=count)
    if other_kinds:
        others = plural(other_kinds, "problem of another kind is", "problems of other kinds are")
        problems[0] = structs.replace(problems[0], message=f"{problems[0].message} {others} not listed.")
    return problems, reason


def _subjects(views: list[ExchangeView]) -> SubjectValues:
    """Return what checks look at, by the kind of check, worked out once for all rules."""
    cases: dict[str, list[ExchangeView]] = {}
    for view in views:
        cases.setdefault(view.exchange.case, []).append(view)
    found: dict[Subject, list[Any]] = {
        subject: [looked_at(subject, view) for view in views if applies(subject, view)] for subject in Subject
    }
    found[Subject.CASE] = [CaseView(name, tuple(members)) for name, members in cases.items()]
    found[Subject.RUN] = [CaseView("", tuple(views))] if views else []
    return found


def _bounded(found: _Problems) -> _Problems:
    """Return the problems with a bounded number of kinds: the rarest server errors become one kind.

    An endpoint whose messages repeat what was sent would otherwise make a finding of every request.
    """
    counts = Counter(problem.kind for _, problems in found for problem in problems if CRASH in problem.kind)
    rare = {kind for kind, _ in counts.most_common()[MAX_CRASHES:]}
    if not rare:
        return found
    return [
        (
            views,
            [
                structs.replace(problem, kind=f"{CRASH} other") if problem.kind in rare else problem
                for problem in problems
            ],
        )
        for views, problems in found
    ]


class _Setting(NamedTuple):
    """The exchange that problems are in, with what decides which of several is the evidence: the smallest is."""

    view: ExchangeView
    exchange: Exchange
    size: tuple[bool, bool, int]

    @classmethod
    def of(cls, view: ExchangeView) -> _Setting:
        """Return the setting of an exchange. The best evidence is a valid request that creates what it shows."""
        exchange = view.exchange
        invalid = bool(ON_PURPOSE.intersection(exchange.tags))
        return cls(view, exchange, (invalid, not view.is_create, len(exchange.request.body) + len(exchange.body)))


def _group(
    rule: Rule,
    level: Level,
    result: _RuleResult,
    matcher: BaselineMatcher | None,
    occurrences: dict[int, list[Occurrence]],
    elsewhere: Mapping[str, ExchangeView],
) -> list[Finding]:
    """Return equal problems as findings, those that a baseline expects apart from the others; the unexpected first.

    ``occurrences`` gets the places of each finding; ``elsewhere`` are further exchanges that a problem may name, by id.
    """
    findings: dict[tuple[str, Known | None], Finding] = {}
    sizes: dict[tuple[str, Known | None], tuple[bool, bool, int]] = {}
    marks: dict[tuple[str, str, str], str] = {}
    for views, problems in _bounded(result.problems):
        by_exchange = {view.exchange.id: view for view in views}
        of_exchanges: dict[str, _Setting] = {}
        counted: set[tuple[str, Known | None]] = set()
        for problem in problems:
            setting = of_exchanges.get(problem.exchange)
            if setting is None:
                view = by_exchange.get(problem.exchange) or elsewhere.get(problem.exchange) or views[0]
                setting = of_exchanges[problem.exchange] = _Setting.of(view)
            view, exchange, size = setting
            kind = problem.event_type, problem.kind, masked(problem.pointer)
            mark = marks.get(kind) or marks.setdefault(kind, fingerprint(rule.id, problem))
            known = matcher.known(rule.id, exchange.case, mark) if matcher is not None else None
            key = mark, known
            finding = findings.get(key)
            if finding is None or size < sizes[key]:
                evidence = problem if problem.exchange else structs.replace(problem, exchange=exchange.id)
                sizes[key] = size
                if finding is None:
                    finding = findings[key] = Finding(rule.id, level, evidence, count=0, known=known)
                    finding.defect = defect_id(rule.id, problem, fields_are_places=rule.fields_are_places)
                else:
                    finding.evidence = evidence
            if key not in counted:
                counted.add(key)
                finding.count += 1
            occurrences.setdefault(id(finding), []).append(occurrence(problem, view))
            if exchange.case not in finding.cases and len(finding.cases) < MAX_CASES:
                finding.cases.append(exchange.case)
    return sorted(findings.values(), key=lambda finding: (finding.known is not None, -finding.count))

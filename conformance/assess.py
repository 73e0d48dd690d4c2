"""Assessing: everything that follows the sending of a check run, and all of ``rejoinder recheck``. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rejoinder.conformance.baseline import Baseline, BaselineMatcher, BaselineStatus
from rejoinder.conformance.coverage import measure_coverage
from rejoinder.conformance.judgement import judge_run, select_rules
from rejoinder.conformance.judging.context import RunContext
from rejoinder.conformance.judging.leniency import measure_leniency
from rejoinder.conformance.judging.limits import measure_limits
from rejoinder.conformance.judging.official import PLAN, measure_suite
from rejoinder.contract import load_dialect
from rejoinder.errors import ExitCode
from rejoinder.formatting import plural
from rejoinder.model.exchange import SAFE_METHODS, Exchange, Outcome
from rejoinder.model.footer import CoverageResult, LeniencyResult, LimitResult, SuiteResult
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level, Status, Verdict


@dataclass(slots=True)
class CheckResult:
    """What a check run gathered and decided. ``warnings`` are sentences for the reader of the report.

    ``unsent`` is how many requests of the plan were not sent because the run ended early; ``incomplete`` is whether
    that was for another reason than the user's budget or an interrupt. ``resend`` is whether lost requests were sent
    again.

    ``baseline`` is ``None`` without a baseline file; with ``strict`` it fails when entries are out of date. ``suite``
    is ``None`` unless the plan is that of the official suite.
    """

    exchanges: list[Exchange] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    coverage: CoverageResult | None = None
    leniency: list[LeniencyResult] = field(default_factory=list)
    limits: list[LimitResult] = field(default_factory=list)
    run_context: RunContext = field(default_factory=RunContext)
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False
    unsent: int = 0
    resend: bool = False
    incomplete: bool = False
    baseline: BaselineStatus | None = None
    strict: bool = False
    suite: SuiteResult | None = None

    @property
    def resent(self) -> int:
        """How many requests were sent again after a connection that was made had been lost without a response."""
        return sum(_is_lost(exchange) for exchange in self.exchanges if Tag.REPEATED in exchange.tags)

    @property
    def lost(self) -> int:
        """How many valid requests that may have reached the endpoint got no response and were not sent again."""
        plain = (e for e in self.exchanges if Tag.VALID in e.tags and Tag.UNJUDGED not in e.tags)
        return sum(_is_lost(exchange) and exchange.request.method not in SAFE_METHODS for exchange in plain)

    @property
    def footer(self) -> dict[str, Any]:
        """What the run file's footer says of the run besides the exit code."""
        warnings = list(self.warnings)
        if resent := self.resent:
            were = plural(resent, "request was", "requests were")
            warnings.append(
                f"{were} sent again, because the connection was lost before a response. "
                "The endpoint may have processed both."
            )
        if (lost := self.lost) and not self.resend:
            lose, which = ("lost its connection", "it") if lost == 1 else ("lost their connections", "them")
            warnings.append(
                f"{plural(lost, 'valid request')} {lose} before a response. rejoinder did not send {which} again, "
                f"because the endpoint may have processed {which}. With --resend it sends such a request once more."
            )
        return {
            "interrupted": self.interrupted,
            "unsent": self.unsent,
            "resent": resent,
            "warnings": warnings,
            "coverage": self.coverage,
            "abilities": self.run_context.abilities.results(),
            "capabilities": [capability.result() for capability in self.run_context.capabilities.values()],
            "leniency": self.leniency,
            "limits": self.limits,
            "baseline": self.baseline.results(strict=self.strict) if self.baseline else None,
            "suite": self.suite,
        }

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command.

        A failed case of the official suite counts as a failure, and so does a strict baseline that is out of date.
        """
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if any(verdict.status is Status.FAIL for verdict in self.verdicts):
            return ExitCode.FAILED
        if self.suite is not None and self.suite.failed:
            return ExitCode.FAILED
        if self.strict and self.baseline is not None and not self.baseline.kept:
            return ExitCode.FAILED
        if not any(verdict.judged for verdict in self.verdicts):
            return ExitCode.NOT_TESTED
        return ExitCode.INCOMPLETE if self.incomplete else ExitCode.PASSED


def _is_lost(exchange: Exchange) -> bool:
    """Return whether a connection that was made ended before a response."""
    return exchange.status is None and exchange.outcome is Outcome.CUT


def assess(
    result: CheckResult,
    dialect: str,
    *,
    select: str = "*",
    required: Iterable[str] = (),
    baseline: Baseline | None = None,
    strict: bool = False,
    plan: str = "",
) -> None:
    """Check the exchanges of a result against the selected rules; fill in verdicts, coverage, leniency and baseline.

    ``required`` names the features that the endpoint must have. With a baseline, what it expects is known and no
    failure; when ``strict``, entries that are out of date are one. ``plan`` is the test plan that sent the exchanges.
    """
    matcher = BaselineMatcher(baseline, datetime.now(UTC).date()) if baseline is not None else None
    required = frozenset(required)
    result.verdicts, result.run_context = judge_run(
        result.exchanges, dialect, select=select, required=required, matcher=matcher, plan=plan
    )
    capabilities = result.run_context.capabilities
    repeats = result.run_context.abilities.repeats
    result.coverage = measure_coverage(result.exchanges, dialect, capabilities, plan, repeats)
    result.warnings += [
        f"Required feature {name} is not known to be there: {known.sentence}"
        for name, known in capabilities.items()
        if name in required and not known.state.is_accepted and not known.state.is_rejected
    ]
    result.leniency = measure_leniency(result.exchanges)
    result.limits = measure_limits(result.exchanges, load_dialect(dialect))
    result.suite = measure_suite(result.exchanges) if plan == PLAN else None
    if matcher is not None:
        result.baseline, result.strict = matcher.close(result.exchanges), strict
        result.warnings += result.baseline.warnings()


def rule_count(dialect: str, select: str = "*") -> int:
    """Return how many rules a run with this selection judges."""
    return sum(1 for rule in select_rules(select) if load_dialect(dialect).level_of(rule) is not Level.OFF)

"""Verdicts as test outcomes: an assertion on recorded exchanges, and how a broken rule is described."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from rejoinder.conformance.judgement import judge
from rejoinder.contract import DEFAULT_DIALECT, Dialect, load_dialect, load_rules
from rejoinder.formatting import plural, terminal_text
from rejoinder.model.exchange import Exchange
from rejoinder.model.script import Step
from rejoinder.model.verdict import Finding, Level, Status, Verdict, shorten

_BODY: Final = 400
"""Characters of a request's body that a message shows."""


def assert_conforms(
    exchanges: Exchange | Iterable[Exchange],
    dialect: Dialect | str = DEFAULT_DIALECT,
    *,
    level: Level | str = Level.MUST,
    select: str = "*",
) -> None:
    """Assert that one exchange, or several of one conversation, keep the rules of a dialect.

    ``dialect`` is a name, the path of a dialect file, or a loaded dialect. ``level`` is the weakest level that counts:
    MUST, or SHOULD as well. ``select`` takes patterns as ``rejoinder check --select`` does: ``"SSE-*,ITM-05"``.

    Raises :class:`AssertionError` with every broken rule, its statement, what was expected and what came, and
    where; :class:`RuntimeError` when a check itself broke.
    """
    found = [exchanges] if isinstance(exchanges, Exchange) else list(exchanges)
    spec = load_dialect(dialect) if isinstance(dialect, str) else dialect
    counted = {Level.MUST} if Level(level) is Level.MUST else {Level.MUST, Level.SHOULD}
    verdicts = [verdict for verdict in judge(found, spec, select=select) if verdict.level in counted]
    for verdict in verdicts:
        if verdict.status is Status.ERROR:
            raise RuntimeError(terminal_text(f"{verdict.rule}: {verdict.reason}"))
    broken = [verdict for verdict in verdicts if verdict.findings]
    if broken:
        names = ", ".join(verdict.rule for verdict in broken)
        head = f"{plural(len(broken), 'rule')} of dialect {spec.label} failed: {names}"
        raise AssertionError(terminal_text("\n\n".join([head, *_evidence(broken, found)])))


def _evidence(broken: list[Verdict], exchanges: list[Exchange]) -> Iterator[str]:
    by_id = {exchange.id: exchange for exchange in exchanges}
    for verdict in broken:
        yield describe_verdict(verdict)
    for name in dict.fromkeys(finding.evidence.exchange for verdict in broken for finding in verdict.findings):
        if exchange := by_id.get(name):
            request = exchange.request
            body = shorten(request.body, _BODY)
            status = exchange.status if exchange.status is not None else f"no response ({exchange.outcome.value})"
            yield f"Exchange {name}: {request.method} {request.path} -> {status}\n  {body}".rstrip()


def describe_verdict(verdict: Verdict) -> str:
    """Return a broken rule in some lines, fit for a terminal: id, level and statement, then every finding."""
    rule = load_rules().get(verdict.rule)
    statement = rule.statement if rule else ""
    head = f"{verdict.rule} ({verdict.level.value}): {statement}".rstrip(": ")
    return terminal_text("\n".join([head, *map(describe_finding, verdict.findings)]))


def describe_finding(finding: Finding) -> str:
    """Return a finding in some lines: what, where, expected, actual, how often."""
    evidence = finding.evidence.to_json()
    where = f"event {evidence['event']} ({evidence.get('event_type')})" if "event" in evidence else "the response"
    lines = [f"{evidence['message']}  [{finding.fingerprint}, {finding.count}x]"]
    at = f"{where} of exchange {evidence['exchange']}"
    lines.append(f"  at {', '.join(filter(None, (at, evidence.get('pointer'))))}")
    texts = finding.evidence.texts()
    lines += [f"  {name:<8} {shorten(texts[name])}" for name in ("expected", "actual") if name in texts]
    if finding.known is not None:
        lines.append(f"  known failure: {' '.join(finding.known.to_json().values())}")
    if cases := [case for case in finding.cases if case]:
        lines.append(f"  in {', '.join(cases[:5])}{' ...' if len(cases) > 5 else ''}")
    if finding.minimal is not None:
        steps = finding.minimal.steps or (Step(finding.minimal.request),)
        lines.append(f"  {finding.minimal.title}:")
        lines += [f"    {shorten(step.line, _BODY)}" for step in steps]
        lines += [f"    {finding.minimal.fault}"] if finding.minimal.fault else []
    return "\n".join(lines)

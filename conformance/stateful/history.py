"""What a state machine knows of the responses that it made, and the rules that its exchanges are checked against.

A rule about several requests (retrieve a response that was deleted, continue one of two branches) is checked on a case:
exchanges in the roles that the check looks for. The machine has no cases, so it puts the exchanges of its sequence, and
those of the survey as controls, into the roles that they have by what came before them. Judgement, levels and
statements are those of every other check of rejoinder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from rejoinder.conformance.assertion import describe_verdict
from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judgement import failed_rules, judge, select_rules
from rejoinder.conformance.judging.context import RunContext
from rejoinder.conformance.judging.controls import answered_requests
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.registry import Subject
from rejoinder.conformance.judging.roles import role_of
from rejoinder.conformance.judging.turns import RUNNING, TERMINAL, is_forgotten, text_of
from rejoinder.conformance.running.case import final_response, user
from rejoinder.conformance.running.script import recorded_steps
from rejoinder.conformance.stateful.endpoint import DELETED, Survey
from rejoinder.contract import Dialect, load_dialect
from rejoinder.formatting import plural, terminal_text
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import sent_for
from rejoinder.model.verdict import Level, Status, Verdict

Scenario = Iterable[Exchange]
"""Exchanges in the roles of a case."""

_ENDED: Final = ("completed", "incomplete")


@dataclass(eq=False)
class CreatedResponse:
    """One response that the machine created, and what it sent about it since.

    ``word`` is the canary of its input, ``hidden`` that of its instructions; both may be empty. ``words`` are all
    canaries that its model was given. ``inline`` says that it repeats the earlier turns in its input. ``response`` is
    the response object as it was seen last. ``compacted`` are the requests of its last compaction, in their roles.
    """

    number: int
    created: Exchange
    id: str
    response: dict[str, Any]
    parent: CreatedResponse | None = None
    text: str = ""
    word: str = ""
    hidden: str = ""
    inline: bool = False
    streamed: bool = False
    background: bool = False
    stored: bool = True
    gets: list[Exchange] = field(default_factory=list)
    listings: dict[str, Exchange] = field(default_factory=dict)
    cancels: list[Exchange] = field(default_factory=list)
    deleted: Exchange | None = None
    compacted: list[Exchange] = field(default_factory=list)
    quiet_since: int = 0

    def __repr__(self) -> str:
        """Return how the turn is named in the steps that Hypothesis prints."""
        return f"response_{self.number}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the name alone; Hypothesis would print all fields of a dataclass."""
        printer.text(repr(self))

    @property
    def kept(self) -> bool:
        """Whether the response is stored and was not deleted."""
        return self.stored and self.deleted is None

    @property
    def ended(self) -> bool:
        """Whether the response is known to have come to an end."""
        return self.response.get("status") in TERMINAL

    @property
    def runs(self) -> bool:
        """Whether the response was running when it was seen last."""
        return self.response.get("status") in RUNNING

    @property
    def continuable(self) -> bool:
        """Whether a request may continue the response by its id."""
        return self.kept and self.response.get("status") in _ENDED

    def path(self) -> Iterator[CreatedResponse]:
        """Yield the turn and those before it, the last first."""
        turn: CreatedResponse | None = self
        while turn is not None:
            yield turn
            turn = turn.parent

    def words(self) -> set[str]:
        """Return the canaries in the inputs that the response may know."""
        return {turn.word for turn in self.path() if turn.word}

    def messages(self) -> list[dict[str, Any]]:
        """Return the turn and those before it as the messages of one request."""
        found: list[dict[str, Any]] = []
        for turn in reversed(list(self.path())):
            output = turn.response.get("output")
            answer = text_of(item for item in output if isinstance(item, dict)) if isinstance(output, list) else ""
            found += [*user(turn.text), {"role": "assistant", "content": answer or "OK"}]
        return found

    def see(self, exchange: Exchange) -> None:
        """Take over the response object of a reply to retrieve or cancel."""
        found = final_response(exchange)
        if found is not None and found.get("id") == self.id:
            self.response = found

    def was_deleted(self, exchange: Exchange) -> bool:
        """Note the reply to a delete; return whether it deleted the response."""
        if exchange.status in DELETED:
            self.deleted = exchange
        return self.deleted is exchange


@dataclass(eq=False)
class CreatedConversation:
    """One conversation that the machine created, and what it sent about it since.

    ``story`` are the requests that changed it or showed its items, with their roles, in order. ``items`` are the items
    that the machine put in and knows by id, without those that were deleted, which ``gone`` has. ``turns`` are the
    messages of a request that holds the same history. ``words`` maps each canary that the model was given to the
    request that has it. ``sure`` says that the items follow from the story.
    """

    number: int
    created: Exchange
    id: str
    story: list[tuple[Exchange, str]] = field(default_factory=list)
    items: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    turns: list[dict[str, Any]] = field(default_factory=list)
    words: dict[str, Exchange] = field(default_factory=dict)
    updated: Exchange | None = None
    deleted: Exchange | None = None
    sure: bool = True

    def __repr__(self) -> str:
        """Return how the conversation is named in the steps that Hypothesis prints."""
        return f"conversation_{self.number}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the name alone."""
        printer.text(repr(self))

    @property
    def kept(self) -> bool:
        """Whether the conversation was not deleted."""
        return self.deleted is None

    def told(self) -> list[Exchange]:
        """Return the story as exchanges in their roles; of several in one role the last has no number behind it."""
        left = Counter(role for _, role in self.story)
        found = []
        for exchange, role in self.story:
            left[role] -= 1
            found += as_role(exchange, role_of(role, left[role]) if left[role] else role)
        return found


def as_role(exchange: Exchange | None, role: str, *tags: str) -> list[Exchange]:
    """Return an exchange in a role of a case, with further tags; nothing without one."""
    return [] if exchange is None else [replace(exchange, role=role, tags=(*exchange.tags, *tags))]


class BrokenRuleError(AssertionError):
    """A rule that a sequence of requests broke. A subclass for each rule lets Hypothesis distinguish failures."""


@cache
def _error(rule: str) -> type[BrokenRuleError]:
    return type(rule.replace("-", "_"), (BrokenRuleError,), {"__module__": __name__})


@cache
def _selected(pattern: str, dialect: str, weakest: Level) -> dict[str, list[str]]:
    """Return the ids of the rules that count: those over ``single`` exchanges, over a ``case`` and over the ``run``."""
    counted = {Level.MUST} if weakest is Level.MUST else {Level.MUST, Level.SHOULD}
    spec = load_dialect(dialect)
    found: dict[str, list[str]] = {"single": [], "case": [], "run": []}
    for rule in select_rules(pattern):
        if spec.level_of(rule) in counted:
            subjects = {registered.subject for registered in checks_by_rule()[rule.id]}
            for name, part in (("case", {Subject.CASE}), ("run", {Subject.RUN})):
                if subjects & part:
                    found[name].append(rule.id)
            if subjects - {Subject.CASE, Subject.RUN}:
                found["single"].append(rule.id)
    return found


class History:
    """The exchanges of one sequence, checked as they come.

    ``level`` is the weakest level that counts, ``select`` the patterns of rules.
    """

    def __init__(self, dialect: Dialect, survey: Survey | None, *, level: Level, select: str) -> None:
        self.exchanges: list[Exchange] = []
        self._dialect = dialect
        self._views: list[ExchangeView] = []
        self._rules = _selected(select, dialect.reference, level)
        # What excuses an endpoint from a rule: it ignores previous_response_id, or takes no lists.
        known = [ExchangeView(one, dialect) for one in (survey.exchanges if survey is not None else ())]
        self._context = RunContext(answered=answered_requests(known), forgets=any(map(is_forgotten, known)))

    def check(self, exchange: Exchange, *scenarios: Scenario) -> None:
        """Add an exchange and check it: alone, with those before it, and in the cases that it ends.

        Raises :class:`BrokenRuleError` with the broken rules and the sequence; :class:`RuntimeError` when a check
        itself broke.
        """
        self.exchanges.append(exchange)
        self._views.append(ExchangeView(exchange, self._dialect, self._context))
        verdicts = self._judge(self._views[-1:], "single")
        verdicts += self._judge(self._views, "run")
        for scenario in scenarios:
            verdicts += self._judge([ExchangeView(one, self._dialect, self._context) for one in scenario], "case")
        broken = list({verdict.rule: verdict for verdict in reversed(verdicts)}.values())[::-1]
        if broken:
            raise _error(broken[0].rule)(self._message(broken))

    def _judge(self, views: Sequence[ExchangeView], subject: str) -> list[Verdict]:
        failed = failed_rules(views, self._dialect, self._rules[subject])
        if not failed:
            return []
        exchanges = [view.exchange for view in views]
        verdicts = judge(exchanges, self._dialect, select=",".join(failed), run_context=self._context)
        for verdict in verdicts:
            if verdict.status is Status.ERROR:
                raise RuntimeError(terminal_text(f"{verdict.rule}: {verdict.reason}"))
        return [verdict for verdict in verdicts if verdict.findings]

    def _message(self, broken: Sequence[Verdict]) -> str:
        names = ", ".join(verdict.rule for verdict in broken)
        head = f"{plural(len(broken), 'rule')} of dialect {self._dialect.label} failed: {names}"
        return "\n\n".join([head, *map(describe_verdict, broken), *self.script()])

    def script(self) -> list[str]:
        """Return the sequence for a reader: one line for each request, then how to send it again."""
        steps = zip(recorded_steps(self.exchanges), self.exchanges, strict=True)
        shown = [(number, step.line, _outcome(exchange)) for number, (step, exchange) in enumerate(steps, 1)]
        lines = []
        for (line, outcome), alike in groupby(shown, key=itemgetter(1, 2)):
            numbers = [number for number, _, _ in alike]
            place = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
            lines.append(f"  {place}. {line}\n     -> {outcome}")
        head = f"The sequence ({plural(len(shown), 'request')}); {{reply 1 /id}} is a value from the first reply:"
        return [
            terminal_text("\n".join([head, *lines])),
            "To send it again, run the same test: Hypothesis replays a failure first.",
        ]


def _outcome(exchange: Exchange) -> str:
    """Return what came back, in short: the HTTP status and the status of the response object."""
    status = (final_response(exchange) or {}).get("status")
    told = f' status "{status}"' if isinstance(status, str) else ""
    return f"{exchange.status or exchange.outcome.value}{told}"


def for_rule(rule: str, exchange: Exchange, role: str) -> list[Exchange]:
    """Return an exchange in a role, tagged as sent for a rule."""
    return as_role(exchange, role, sent_for(rule))

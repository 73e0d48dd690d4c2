"""Conversations as a state machine: Hypothesis chooses the requests, rejoinder checks every reply and the states.

::

    from rejoinder.conformance import conversation_machine

    TestConversations = conversation_machine("http://127.0.0.1:8000").TestCase
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.stateful import rule

from rejoinder.conformance.judging.canaries import new_canary
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import TERMINAL
from rejoinder.conformance.running.case import LONG, final_response, is_over, pauses, unknown_id, user
from rejoinder.conformance.stateful.conversations import CONVERSATIONS, ConversationSteps
from rejoinder.conformance.stateful.endpoint import Endpoint, EndpointConnection, response_id_of
from rejoinder.conformance.stateful.history import CreatedConversation, CreatedResponse, as_role, for_rule
from rejoinder.conformance.stateful.steps import (
    KINDS,
    QUESTION,
    WORD,
    Session,
    StepKind,
    StepList,
    Subject,
    said,
    words_in,
)
from rejoinder.contract import DEFAULT_DIALECT, Dialect
from rejoinder.model.exchange import Exchange, parse_json
from rejoinder.model.tags import sent_for
from rejoinder.model.verdict import Level
from rejoinder.wire.request_options import RequestOptions
from rejoinder.wire.sse import read_events

__all__ = ["ConversationMachine", "conversation_machine"]

_STEPS: Final = 12
"""Steps of a sequence, by default."""
_LATER: Final = ("plain", "streamed", "with instructions")
"""The kinds of requests that continue a response."""


@dataclass(frozen=True)
class ChosenStep:
    """One step of a sequence. Its form is that in which Hypothesis prints it."""

    operation: StepKind | None = None
    subject: Subject | None = None
    option: str = ""

    def __repr__(self) -> str:
        """Return it as a call."""
        if self.operation is None:
            return f"survey({self.option})"
        given = [repr(part) for part in (self.subject, self.option) if part]
        return f"{self.operation.name}({', '.join(given)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


_RESPONSES: Final = StepList()
"""The steps about responses, the plainest first."""
_THEMES: Final = ("", "responses", "conversations")
"""What the steps of a sequence are about, where an endpoint has conversations; empty for both."""


@st.composite
def _steps(draw: st.DrawFn) -> ChosenStep:
    """Draw the next step of the machine that runs.

    Hypothesis shortens a sequence by leaving out steps, so no step may depend on choices of an earlier one. The
    operation and the place of the response, counted from the last, are numbers in ranges that stay the same. All is one
    rule, since Hypothesis chooses in the first step which rules it leaves out: that step is the survey, which is always
    there. It also chooses the theme of the sequence, since one about everything rarely goes deep.
    """
    machine = draw(st.runner())
    if not machine.surveyed:
        converses = "create_conversation" in machine.session.connection.dialect.operations
        return ChosenStep(option=draw(st.sampled_from(_THEMES)) if converses else "")
    operation = draw(st.sampled_from(machine.steps).filter(machine.can))
    place = draw(st.integers(0, _STEPS))
    fitting = machine.fitting(operation)
    subject = fitting[place % len(fitting)] if operation.about is not None else None
    return ChosenStep(operation, subject, draw(st.sampled_from(operation.options)))


class ConversationMachine(ConversationSteps):
    """Creates responses and conversations, continues, branches, retrieves, lists, cancels, compacts and deletes them.

    :func:`conversation_machine` makes a subclass for an endpoint. ``turns`` are the responses of the sequence and
    ``talks`` its conversations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.surveyed = False
        self.theme = ""

    @property
    def steps(self) -> tuple[StepKind, ...]:
        """The kinds of steps that the dialect has operations for, as often as they are chosen, the plainest first."""
        known = self.session.connection.dialect.operations
        operation = {"converse": "create_conversation", "compact by id": "compact"}
        return (*_RESPONSES, *(one for one in CONVERSATIONS if operation.get(one.needs[0], one.needs[0]) in known))

    def fitting(self, step: StepKind) -> list[Subject]:
        """Return what the sequence created that a step takes, the last first."""
        made: list[Subject] = [*self.turns] if step.about is CreatedResponse else [*self.talks]
        return [subject for subject in made[::-1] if step.fits(subject)]

    def can(self, step: StepKind) -> bool:
        """Return whether a step can be the next one."""
        converses = step.about is CreatedConversation or "create_conversation" in step.needs
        if self.theme and self.has("create_conversation") and converses is not (self.theme == "conversations"):
            return False
        return self.has(*step.needs) and (step.about is None or bool(self.fitting(step)))

    @rule(step=_steps())
    def send(self, step: ChosenStep) -> None:
        """Send the requests of one step; the first is the survey of the endpoint."""
        if step.operation is None:
            self.surveyed = self._known is not None
            self.theme = step.option
        else:
            step.operation.send(self, step.subject, step.option)

    def teardown(self) -> None:
        """Cancel and delete what the sequence created."""
        if not self.turns and not self.talks and not self._strays:
            return
        for talk in self.talks if self.has("delete_conversation") else ():
            if talk.kept:
                self._clean("delete_conversation", talk.id)
        for turn in self.turns:
            if turn.kept and turn.runs and self.has("cancel"):
                self._clean("cancel", turn.id)
        kept = [turn.id for turn in self.turns if turn.kept]
        for identity in [*kept, *self._strays] if self.has("delete") else ():
            self._clean("delete", identity)

    # Creating and continuing

    @_RESPONSES.add(about=None, options=tuple(KINDS))
    def create(self, _: None, kind: str) -> None:
        """Create a response."""
        fields = self._fields(kind)
        # A long answer leaves time to cancel it.
        text = "Tell a long story." if fields.get("background") else ""
        self._history.check(self._turn(KINDS[kind][0], fields, text=text).created)

    @_RESPONSES.add("continue", fits=lambda turn: turn.continuable, options=_LATER, weight=2)
    def continue_by_id(self, response: CreatedResponse, kind: str) -> None:
        """Continue a response by ``previous_response_id``; two times the same one makes branches."""
        fields = self._fields(kind)
        turn = self._turn("list", {**fields, "previous_response_id": response.id}, parent=response, tags=())
        sort = Role.STREAMED if response.streamed else Role.PLAIN
        self._history.check(
            turn.created,
            [
                *as_role(response.created, sort),
                *as_role(turn.created, role_of(Role.NEXT, sort)),
                *self._known.control("created", Role.CUT),
                *self._known.control("continued", role_of(Role.NEXT, Role.CUT)),
            ],
        )

    @_RESPONSES.add(fits=lambda turn: turn.response.get("status") == "completed", options=_LATER)
    def continue_inline(self, response: CreatedResponse, kind: str) -> None:
        """Continue a response with all earlier turns in the input."""
        word = new_canary(WORD)
        text = said(word)
        fields = {**self._fields(kind), "input": [*response.messages(), *user(text)]}
        turn = self._turn("", fields, parent=response, text=text, word=word, inline=True)
        self._history.check(turn.created)

    @_RESPONSES.add("reference", fits=lambda turn: turn.continuable and bool(_item_id(turn)))
    def continue_by_reference(self, response: CreatedResponse, _: str) -> None:
        """Name an output item of a response in the input by its id."""
        reference = {"type": "item_reference", "id": _item_id(response)}
        text = "Go on."
        turn = self._turn("", {"input": [reference, *user(text)]}, text=text, tags=())
        self._history.check(turn.created)

    @_RESPONSES.add("continue", fits=lambda turn: turn.continuable, weight=3)
    def recall(self, response: CreatedResponse, _: str) -> None:
        """Request all code words of a response's history, and compare with the same history in one request."""
        asked = self._turn("list", {"previous_response_id": response.id}, parent=response, text=QUESTION, tags=())
        once = asked.created
        said = words_in(once)
        path = list(response.path())
        branches = [turn for turn in self.turns if turn.parent in path and not turn.inline and turn not in path]
        strangers = [turn for turn in branches if turn.word in said and turn.word not in response.words()]
        scenarios = [[*as_role(other.created, Role.CHILD), *as_role(once, Role.SIBLING)] for other in strangers]
        scenarios += [
            [*as_role(turn.created, Role.FIRST), *for_rule("MEM-15", once, Role.SECOND)]
            for turn in response.path()
            if turn.hidden
        ]
        self._history.check(once, *scenarios)
        missing = [turn for turn in response.path() if turn.word and not turn.inline and turn.word not in said]
        if missing and response_id_of(once):
            self._doubt(response, missing, once)

    def _doubt(self, response: CreatedResponse, missing: list[CreatedResponse], once: Exchange) -> None:
        """Send the history in one request and the continuation again, where words are missing."""
        history = [*response.messages(), *user(QUESTION)]
        inline = self._turn("", {"input": history}, text=QUESTION, inline=True).created
        self._history.check(inline)
        if not any(turn.word in words_in(inline) for turn in missing):
            return
        again = self._turn("list", {"previous_response_id": response.id}, parent=response, text=QUESTION, tags=())
        self._history.check(
            again.created,
            *(
                [
                    *as_role(turn.created, Role.FIRST),
                    *as_role(once, Role.CHAINED),
                    *as_role(inline, Role.INLINE),
                    *as_role(again.created, role_of(Role.CHAINED, Role.AGAIN)),
                ]
                for turn in missing
            ),
        )

    @_RESPONSES.add("continue", fits=lambda turn: not turn.stored or turn.deleted is not None)
    def continue_what_is_gone(self, response: CreatedResponse, _: str) -> None:
        """Continue a response that was not stored, or that was deleted."""
        body = self._body({"input": user(QUESTION), "previous_response_id": response.id, "max_output_tokens": LONG})
        exchange = self._send("POST", self._path(), body)
        if response.stored:
            scenario = [
                *as_role(response.created, Role.FIRST),
                *as_role(response.deleted, Role.DELETE),
                *for_rule("MEM-14", exchange, Role.CONTINUED),
            ]
        else:
            scenario = [
                *as_role(response.created, Role.UNSTORED),
                *as_role(exchange, Role.NEXT_UNSTORED),
                *self._known.control("unknown", Role.UNKNOWN),
            ]
        self._remember(exchange)
        self._history.check(exchange, scenario)

    # What exists, and what does not

    @_RESPONSES.add("retrieve", fits=lambda turn: True, options=("once", "twice"))
    def retrieve(self, response: CreatedResponse, times: str) -> None:
        """Retrieve a response once or twice, also one that is deleted or was not stored."""
        for _ in range(1 + (times == "twice")):
            self._retrieve(response)

    def _retrieve(self, response: CreatedResponse) -> None:
        exchange = self._operation("retrieve", response.id)
        scenarios = list(self._of_retrieve(response, exchange))
        response.see(exchange)
        if response.kept:
            response.gets.append(exchange)
        self._history.check(exchange, *scenarios)

    def _of_retrieve(self, turn: CreatedResponse, exchange: Exchange) -> Iterator[list[Exchange]]:
        control = [*self._known.control("created", Role.FIRST), *self._known.control("retrieve", Role.GET)]
        first = as_role(turn.created, Role.FIRST)
        if turn.deleted is not None:
            before = [*first, *as_role(turn.gets[-1], Role.GET)] if turn.gets else control
            yield [*before, *as_role(turn.deleted, Role.DELETE), *as_role(exchange, Role.GET_DELETED)]
        elif not turn.stored:
            yield [*control, *as_role(turn.created, Role.UNSTORED), *as_role(exchange, Role.GET_UNSTORED)]
        else:
            yield [*control, *as_role(turn.created, Role.STREAMED), *as_role(exchange, Role.GET_STREAMED)]
            quiet = turn.gets[turn.quiet_since :]
            if quiet:
                yield [*first, *as_role(quiet[-1], Role.GET), *as_role(exchange, Role.GET_AGAIN)]
            ended = [one for one in turn.gets[: turn.quiet_since] if _ended(one)]
            if turn.cancels and ended:
                late = [*as_role(ended[-1], Role.POLL), *as_role(turn.cancels[-1], Role.CANCEL)]
                yield [*first, *late, *as_role(exchange, Role.GET_AFTER)]

    @_RESPONSES.add("retrieve", options=("retrieve", "cancel", "delete", "continue"))
    def use_unknown_id(self, response: CreatedResponse, operation: str) -> None:
        """Send a request about a response that never was; its id looks like that of a known one."""
        if not self.has(operation):
            operation = "retrieve"
        unknown = unknown_id(response.id)
        if operation == "continue":
            fields = {"input": user("Say hello."), "previous_response_id": unknown}
            exchange = self._send("POST", self._path(), self._body(fields), sent_for("STA-06"))
            scenario = [*as_role(response.created, Role.CONTROL), *as_role(exchange, Role.PLAIN)]
            self._remember(exchange)
        else:
            exchange = self._operation(operation, unknown)
            role = {"retrieve": Role.GET_UNKNOWN, "cancel": Role.CANCEL_UNKNOWN, "delete": Role.DELETE_UNKNOWN}
            control = [*self._known.control("created", Role.FIRST), *self._known.control("retrieve", Role.GET)]
            scenario = [*control, *as_role(exchange, role[operation])]
        self._history.check(exchange, scenario)

    @_RESPONSES.add(
        "input_items",
        fits=lambda turn: turn.kept and turn.parent is None and bool(turn.word),
        options=("whole", "paged"),
    )
    def list_input_items(self, response: CreatedResponse, pages: str) -> None:
        """List the input items of a response: as they come, in ascending order, and in pages."""
        ordered = "order" in self.session.connection.parameters("input_items")
        for role in (Role.LISTED, Role.ASCENDING) if ordered else (Role.LISTED,):
            self._list(response, role)
        after = ""
        paged = pages == "paged" and {"order", "limit", "after"} <= self.session.connection.parameters("input_items")
        for role in (Role.PAGE, Role.PAGE_AFTER, Role.PAGE_LAST) if paged else ():
            page = self._list(response, role, after).json()
            last = page.get("last_id") if isinstance(page, dict) and page.get("has_more") is True else None
            if not isinstance(last, str):
                break
            after = last

    def _list(self, turn: CreatedResponse, role: str, after: str = "") -> Exchange:
        query = {Role.LISTED: "", Role.ASCENDING: "order=asc"}.get(Role(role), "order=asc&limit=2")
        exchange = self._operation("input_items", turn.id, query + (f"&after={after}" if after else ""))
        turn.listings[role] = exchange
        views = [part for name, one in turn.listings.items() for part in as_role(one, name)]
        self._history.check(exchange, [*as_role(turn.created, Role.FIRST), *views])
        return exchange

    @_RESPONSES.add("delete")
    def delete(self, response: CreatedResponse, _: str) -> None:
        """Delete a response."""
        exchange = self._operation("delete", response.id)
        deleted = response.was_deleted(exchange)
        self._history.check(exchange)
        if deleted and self.has("retrieve"):
            self._retrieve(response)

    # Background

    @_RESPONSES.add("cancel", fits=lambda turn: turn.kept and not turn.background)
    def cancel_foreground(self, response: CreatedResponse, _: str) -> None:
        """Cancel a response that did not run in the background."""
        exchange = self._operation("cancel", response.id)
        response.cancels.append(exchange)
        response.quiet_since = len(response.gets)
        response.see(exchange)
        self._history.check(exchange, [*as_role(response.created, Role.FIRST), *as_role(exchange, Role.CANCEL)])

    @_RESPONSES.add("cancel", "background", fits=lambda turn: turn.kept and turn.background)
    def cancel(self, response: CreatedResponse, _: str) -> None:
        """Cancel a background response, also one that has ended."""
        exchange = self._operation("cancel", response.id)
        scenario = as_role(response.created, Role.FIRST)
        last = response.gets[-1] if response.gets else None
        if response.cancels and last is not None and _state(last) == "cancelled":
            scenario += [
                *as_role(response.cancels[0], Role.CANCEL),
                *as_role(last, Role.GET_CANCELLED),
                *as_role(exchange, Role.CANCEL_AGAIN),
            ]
        elif last is not None and _ended(last):
            scenario += [*as_role(last, Role.POLL), *as_role(exchange, Role.CANCEL)]
        response.cancels.append(exchange)
        response.quiet_since = len(response.gets)
        running = response.runs
        response.see(exchange)
        self._history.check(exchange, scenario)
        if running and exchange.ok and self.has("retrieve"):
            self.wait(response, "")

    @_RESPONSES.add("retrieve", "background", fits=lambda turn: turn.kept and turn.background and not turn.streamed)
    def wait(self, response: CreatedResponse, _: str) -> None:
        """Retrieve a background response until it has ended."""
        for waited, pause in _pauses(self.session.connection.deadline):
            exchange = self._operation("retrieve", response.id)
            response.gets.append(exchange)
            response.see(exchange)
            if is_over(exchange) or waited >= self.session.connection.deadline:
                break
            self._history.check(exchange)
            self.session.connection.sleep(pause)
        first = as_role(response.created, Role.FIRST)
        if len(response.cancels) == 1:
            polls = _numbered(response.gets[response.quiet_since :], Role.GET_CANCELLED)
            self._history.check(exchange, [*first, *as_role(response.cancels[0], Role.CANCEL), *polls])
        else:
            self._history.check(exchange, [*first, *_numbered(response.gets, Role.POLL)])

    @_RESPONSES.add(
        "retrieve",
        "background",
        "stream",
        fits=lambda turn: turn.kept and turn.streamed and turn.ended and not turn.cancels,
        options=("first", "middle", "last"),
        weight=2,
    )
    def replay(self, response: CreatedResponse, start: str) -> None:
        """Retrieve the stream of a response, whole or from an event on."""
        numbers = _sequence_numbers(response.created)
        place = {"first": None, "middle": len(numbers) // 2, "last": -1}[start]
        after = "" if place is None or not numbers else f"&starting_after={numbers[place]}"
        exchange = self._operation("retrieve", response.id, f"stream=true{after}")
        role = {"first": Role.REPLAY, "middle": Role.REPLAY_MIDDLE, "last": Role.REPLAY_END}[start]
        if response.background:
            scenario = [*as_role(response.created, Role.STREAM), *as_role(exchange, role)]
        else:
            seen = [part for one in response.gets[-1:] for part in as_role(one, Role.GET)]
            scenario = [*as_role(response.created, Role.FIRST), *seen, *as_role(exchange, Role.REPLAY)]
        self._history.check(exchange, scenario)

    # Sending


def conversation_machine(
    endpoint: Endpoint,
    *,
    dialect: str | Path | Dialect = DEFAULT_DIALECT,
    model: str | None = None,
    key: str | None = None,
    request: RequestOptions | None = None,
    level: Level | str = Level.MUST,
    select: str = "*",
    deadline: float = 60.0,
    sleep: Callable[[float], None] = time.sleep,
) -> type[ConversationMachine]:
    """Return a state machine that tests the conversations of an endpoint. Its ``TestCase`` is a test.

    ``endpoint`` is a URL, an ASGI application, or an ``httpx`` transport. ``dialect`` is the name or the file of a
    dialect. ``model``, ``key`` and ``request`` are those of :func:`examine`, ``level`` and ``select`` those of
    :func:`assert_conforms`.

    Every sequence begins with a survey, which is sent once: one request of each kind. What the endpoint refuses there
    is not sent again. Every reply is checked against the rules of the dialect, and so are the states that the sequence
    leads to. Where the endpoint can delete responses, those of a sequence are deleted at its end.

    A test sends at most 50 sequences of 12 steps, which takes about 1000 requests. Set ``settings`` on ``TestCase`` for
    more or fewer. When a rule fails, Hypothesis looks for the shortest sequence, with some hundred further requests.
    ``deadline`` is how many seconds one request, and a response in the background, may take; ``sleep`` waits between
    two polls.

    A broken rule raises an :class:`AssertionError` with the rule and the sequence. An endpoint that cannot be reached
    raises :class:`~rejoinder.errors.TargetError`.

    Raises ``hypothesis.errors.InvalidArgument`` for an argument of the wrong kind, and
    :class:`~rejoinder.errors.ContractError` for a dialect that cannot be used.
    """
    if not isinstance(endpoint, str) and not callable(endpoint) and not hasattr(endpoint, "handle_async_request"):
        raise InvalidArgument(f"endpoint={endpoint!r} is not a URL, an ASGI application or an httpx transport")
    try:
        weakest = Level(level)
    except ValueError as error:
        raise InvalidArgument(f"level={level!r} is not MUST or SHOULD") from error
    connection = EndpointConnection(
        endpoint, dialect=dialect, model=model, key=key, request=request, deadline=deadline, sleep=sleep
    )
    shared = Session(connection, level=weakest, select=select)

    class EndpointConversations(ConversationMachine):
        session = shared

    test = EndpointConversations.TestCase
    test.settings = settings(
        max_examples=50,
        stateful_step_count=_STEPS,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    test.addClassCleanup(connection.close)
    return EndpointConversations


def _item_id(turn: CreatedResponse) -> str:
    """Return the id of the last output item of a turn, the empty string without one."""
    output = turn.response.get("output")
    items = output if isinstance(output, list) else []
    found = items[-1].get("id") if items and isinstance(items[-1], dict) else None
    return found if isinstance(found, str) else ""


def _state(exchange: Exchange) -> Any:
    return (final_response(exchange) or {}).get("status")


def _ended(exchange: Exchange) -> bool:
    return _state(exchange) in TERMINAL


def _pauses(deadline: float) -> Iterator[tuple[float, float]]:
    """Yield the seconds that were waited so far, and those to wait next, until the deadline."""
    waited, pause = 0.0, 0.1
    for pause in pauses():
        yield waited, min(pause, max(0.0, deadline - waited))
        waited += pause
    while True:
        yield waited, pause
        waited += pause


def _numbered(exchanges: list[Exchange], role: str) -> list[Exchange]:
    """Return the exchanges in a role with numbers behind it; the last has the role alone."""
    last = len(exchanges) - 1
    roles = [role if place == last else role_of(role, place + 1) for place in range(len(exchanges))]
    return [part for one, name in zip(exchanges, roles, strict=True) for part in as_role(one, name)]


def _sequence_numbers(exchange: Exchange) -> list[int]:
    events = [parse_json(event.data) for event in read_events(exchange.chunks)[0] if event.has_data]
    numbers = [event.get("sequence_number") for event in events if isinstance(event, dict)]
    return [number for number in numbers if type(number) is int]

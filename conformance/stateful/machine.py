"""Conversations as a state machine: Hypothesis chooses the requests, rejoinder checks every reply and the states.

::

    from rejoinder.conformance import conversation_machine

    TestConversations = conversation_machine("http://127.0.0.1:8000").TestCase
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.stateful import RuleBasedStateMachine, rule

from rejoinder.conformance.judging.canaries import canaries_in, new_canary
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import TERMINAL
from rejoinder.conformance.running.case import (
    LONG,
    TINY,
    final_response,
    is_over,
    pauses,
    unknown_id,
    user,
)
from rejoinder.conformance.stateful.endpoint import Endpoint, EndpointConnection, Survey, response_id_of, survey
from rejoinder.conformance.stateful.history import BrokenRuleError, CreatedResponse, Fits, History, as_role, for_rule
from rejoinder.contract import DEFAULT_DIALECT, Dialect
from rejoinder.errors import RejoinderError
from rejoinder.model.exchange import Exchange, parse_json
from rejoinder.model.tags import Tag, sent_for
from rejoinder.model.verdict import Level
from rejoinder.wire.request_options import RequestOptions
from rejoinder.wire.sse import read_events

__all__ = ["ConversationMachine", "conversation_machine"]

_KINDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "plain": ("string", {}),
    "a list": ("list", {}),
    "parts": ("parts", {}),
    "three messages": ("messages", {}),
    "streamed": ("list", {"stream": True}),
    "with instructions": ("string", {"instructions": ""}),
    "with instructions, streamed": ("list", {"instructions": "", "stream": True}),
    "not stored": ("string", {"store": False}),
    "not stored, streamed": ("list", {"store": False, "stream": True}),
    "in the background": ("string", {"background": True}),
    "in the background, streamed": ("string", {"background": True, "stream": True}),
}
"""Kinds of create requests: the form of the input, and fields that are not as usual. The plainest comes first.

They are drawn as one choice, because Hypothesis shortens a sequence the better the fewer choices it has.
"""
_STEPS: Final = 12
"""Steps of a sequence, by default."""
_LATER: Final = ("plain", "streamed", "with instructions")
"""The kinds of requests that continue a response."""
_QUESTION: Final = "List all code words so far in the order in which you heard them."
_WORD: Final = "quartz"
_HIDDEN: Final = "harbor"
"""The nouns of canaries in inputs and in instructions."""


class Session:
    """What all sequences of one test share: the connection, and the survey of the endpoint."""

    def __init__(self, connection: EndpointConnection, *, level: Level, select: str) -> None:
        self.connection = connection
        self._level = level
        self._select = select
        self._survey: Survey | None = None
        self._error: Exception | None = None

    def begin(self) -> Survey:
        """Return the survey of the endpoint, which is made once and checked.

        Raises :class:`~rejoinder.errors.RejoinderError` where there is no endpoint, :class:`BrokenRuleError` where a
        single reply breaks a rule.
        """
        if self._error is not None:
            raise self._error
        if self._survey is None:
            try:
                found = survey(self.connection)
                history = self.history(None)
                for exchange in found.exchanges:
                    history.check(exchange)
                self._survey = found
            except (RejoinderError, BrokenRuleError) as error:
                self._error = error
                raise
        return self._survey

    def history(self, found: Survey | None) -> History:
        """Return the history of a new sequence."""
        return History(self.connection.dialect, found, level=self._level, select=self._select)


@dataclass(frozen=True)
class StepKind:
    """A kind of request about a response: which of them, what the endpoint must support, and its options.

    The plainest option comes first. ``send`` is called with the machine, the response and an option.
    """

    name: str
    needs: tuple[str, ...]
    fits: Fits
    options: tuple[str, ...]
    send: Callable[[Any, Any, str], None]


@dataclass(frozen=True)
class ChosenStep:
    """One step of a sequence. Its form is that in which Hypothesis prints it."""

    operation: StepKind | None = None
    response: CreatedResponse | None = None
    option: str = ""

    def __repr__(self) -> str:
        """Return it as a call."""
        if self.operation is None:
            return "survey()"
        given = [repr(part) for part in (self.response, self.option) if part]
        return f"{self.operation.name}({', '.join(given)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


_OPERATIONS: Final[list[StepKind]] = []


def _request(
    *needs: str, fits: Fits = lambda turn: turn.kept, options: tuple[str, ...] = ("",), weight: int = 1
) -> Callable[[Any], Any]:
    """Make a method an operation on responses that fit, for endpoints that support all that is needed.

    ``weight`` is how often it is chosen, compared with others.
    """

    def decorate(method: Any) -> Any:
        _OPERATIONS.extend([StepKind(method.__name__, needs, fits, options, method)] * weight)
        return method

    return decorate


@st.composite
def _steps(draw: st.DrawFn) -> ChosenStep:
    """Draw the next step of the machine that runs.

    Hypothesis shortens a sequence by leaving out steps, so no step may depend on choices of an earlier one. The
    operation and the place of the response, counted from the last, are numbers in ranges that stay the same. All is one
    rule, since Hypothesis chooses in the first step which rules it leaves out: that step is the survey, which is always
    there.
    """
    machine = draw(st.runner())
    if not machine.surveyed:
        return ChosenStep()
    operation = draw(st.sampled_from(_OPERATIONS).filter(machine.can))
    place = draw(st.integers(0, _STEPS))
    fitting = [turn for turn in machine.turns[::-1] if operation.fits(turn)]
    response = fitting[place % len(fitting)] if operation.name != "create" else None
    return ChosenStep(operation, response, draw(st.sampled_from(operation.options)))


class ConversationMachine(RuleBasedStateMachine):
    """Creates responses, continues, branches, retrieves, lists, cancels and deletes them, in any order.

    :func:`conversation_machine` makes a subclass for an endpoint. ``turns`` are the responses of the sequence.
    """

    session: ClassVar[Session]

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[CreatedResponse] = []
        self.surveyed = False
        self._strays: list[str] = []

    @cached_property
    def _known(self) -> Survey:
        return self.session.begin()

    @cached_property
    def _history(self) -> History:
        return self.session.history(self._known)

    def has(self, *names: str) -> bool:
        """Return whether the endpoint supports all of these, as its survey found."""
        return self._known.supported.issuperset(names)

    def can(self, operation: StepKind) -> bool:
        """Return whether an operation can be the next one."""
        fits = operation.name == "create" or any(operation.fits(turn) for turn in self.turns)
        return fits and self.has(*operation.needs)

    @rule(step=_steps())
    def send(self, step: ChosenStep) -> None:
        """Send the requests of one step; the first is the survey of the endpoint."""
        if step.operation is None:
            self.surveyed = self._known is not None
        else:
            step.operation.send(self, step.response, step.option)

    def teardown(self) -> None:
        """Cancel and delete what the sequence created."""
        if not self.turns and not self._strays:
            return
        for turn in self.turns:
            if turn.kept and turn.runs and self.has("cancel"):
                self._clean("cancel", turn.id)
        kept = [turn.id for turn in self.turns if turn.kept]
        for identity in [*kept, *self._strays] if self.has("delete") else ():
            self._clean("delete", identity)

    # Creating and continuing

    @_request(options=tuple(_KINDS))
    def create(self, _: None, kind: str) -> None:
        """Create a response."""
        fields = self._fields(kind)
        # A long answer leaves time to cancel it.
        text = "Tell a long story." if fields.get("background") else ""
        self._history.check(self._turn(_KINDS[kind][0], fields, text=text).created)

    @_request("continue", fits=lambda turn: turn.continuable, options=_LATER, weight=2)
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

    @_request(fits=lambda turn: turn.response.get("status") == "completed", options=_LATER)
    def continue_inline(self, response: CreatedResponse, kind: str) -> None:
        """Continue a response with all earlier turns in the input."""
        word = new_canary(_WORD)
        text = _said(word)
        fields = {**self._fields(kind), "input": [*response.messages(), *user(text)]}
        turn = self._turn("", fields, parent=response, text=text, word=word, inline=True)
        self._history.check(turn.created)

    @_request("reference", fits=lambda turn: turn.continuable and bool(_item_id(turn)))
    def continue_by_reference(self, response: CreatedResponse, _: str) -> None:
        """Name an output item of a response in the input by its id."""
        reference = {"type": "item_reference", "id": _item_id(response)}
        text = "Go on."
        turn = self._turn("", {"input": [reference, *user(text)]}, text=text, tags=())
        self._history.check(turn.created)

    @_request("continue", fits=lambda turn: turn.continuable, weight=3)
    def recall(self, response: CreatedResponse, _: str) -> None:
        """Request all code words of a response's history, and compare with the same history in one request."""
        asked = self._turn("list", {"previous_response_id": response.id}, parent=response, text=_QUESTION, tags=())
        once = asked.created
        said = _words(once)
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
        history = [*response.messages(), *user(_QUESTION)]
        inline = self._turn("", {"input": history}, text=_QUESTION, inline=True).created
        self._history.check(inline)
        if not any(turn.word in _words(inline) for turn in missing):
            return
        again = self._turn("list", {"previous_response_id": response.id}, parent=response, text=_QUESTION, tags=())
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

    @_request("continue", fits=lambda turn: not turn.stored or turn.deleted is not None)
    def continue_what_is_gone(self, response: CreatedResponse, _: str) -> None:
        """Continue a response that was not stored, or that was deleted."""
        body = self._body({"input": user(_QUESTION), "previous_response_id": response.id, "max_output_tokens": LONG})
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

    @_request("retrieve", fits=lambda turn: True, options=("once", "twice"))
    def retrieve(self, response: CreatedResponse, times: str) -> None:
        """Retrieve a response once or twice, also one that is deleted or was not stored."""
        for _ in range(1 + (times == "twice")):
            self._retrieve(response)

    def _retrieve(self, response: CreatedResponse) -> None:
        exchange = self._operation("retrieve", response)
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

    @_request("retrieve", options=("retrieve", "cancel", "delete", "continue"))
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
            exchange = self._send(*self.session.connection.operation_path(operation, unknown))
            role = {"retrieve": Role.GET_UNKNOWN, "cancel": Role.CANCEL_UNKNOWN, "delete": Role.DELETE_UNKNOWN}
            control = [*self._known.control("created", Role.FIRST), *self._known.control("retrieve", Role.GET)]
            scenario = [*control, *as_role(exchange, role[operation])]
        self._history.check(exchange, scenario)

    @_request(
        "input_items",
        fits=lambda turn: turn.kept and turn.parent is None and bool(turn.word),
        options=("whole", "paged"),
    )
    def list_input_items(self, response: CreatedResponse, pages: str) -> None:
        """List the input items of a response: as they come, in ascending order, and in pages."""
        for role in (Role.LISTED, Role.ASCENDING):
            self._list(response, role)
        after = ""
        for role in (Role.PAGE, Role.PAGE_AFTER, Role.PAGE_LAST) if pages == "paged" else ():
            page = self._list(response, role, after).json()
            last = page.get("last_id") if isinstance(page, dict) and page.get("has_more") is True else None
            if not isinstance(last, str):
                break
            after = last

    def _list(self, turn: CreatedResponse, role: str, after: str = "") -> Exchange:
        query = {Role.LISTED: "", Role.ASCENDING: "order=asc"}.get(Role(role), "order=asc&limit=2")
        exchange = self._operation("input_items", turn, query + (f"&after={after}" if after else ""))
        turn.listings[role] = exchange
        views = [part for name, one in turn.listings.items() for part in as_role(one, name)]
        self._history.check(exchange, [*as_role(turn.created, Role.FIRST), *views])
        return exchange

    @_request("delete")
    def delete(self, response: CreatedResponse, _: str) -> None:
        """Delete a response."""
        exchange = self._operation("delete", response)
        deleted = response.was_deleted(exchange)
        self._history.check(exchange)
        if deleted and self.has("retrieve"):
            self._retrieve(response)

    # Background

    @_request("cancel", fits=lambda turn: turn.kept and not turn.background)
    def cancel_foreground(self, response: CreatedResponse, _: str) -> None:
        """Cancel a response that did not run in the background."""
        exchange = self._operation("cancel", response)
        response.cancels.append(exchange)
        response.quiet_since = len(response.gets)
        response.see(exchange)
        self._history.check(exchange, [*as_role(response.created, Role.FIRST), *as_role(exchange, Role.CANCEL)])

    @_request("cancel", "background", fits=lambda turn: turn.kept and turn.background)
    def cancel(self, response: CreatedResponse, _: str) -> None:
        """Cancel a background response, also one that has ended."""
        exchange = self._operation("cancel", response)
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

    @_request("retrieve", "background", fits=lambda turn: turn.kept and turn.background and not turn.streamed)
    def wait(self, response: CreatedResponse, _: str) -> None:
        """Retrieve a background response until it has ended."""
        for waited, pause in _pauses(self.session.connection.deadline):
            exchange = self._operation("retrieve", response)
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

    @_request(
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
        exchange = self._operation("retrieve", response, f"stream=true{after}")
        role = {"first": Role.REPLAY, "middle": Role.REPLAY_MIDDLE, "last": Role.REPLAY_END}[start]
        if response.background:
            scenario = [*as_role(response.created, Role.STREAM), *as_role(exchange, role)]
        else:
            seen = [part for one in response.gets[-1:] for part in as_role(one, Role.GET)]
            scenario = [*as_role(response.created, Role.FIRST), *seen, *as_role(exchange, Role.REPLAY)]
        self._history.check(exchange, scenario)

    # Sending

    def _fields(self, kind: str) -> dict[str, Any]:
        """Return the fields of a kind of request; what the dialect or the endpoint lacks is left out."""
        known = self.session.connection.dialect.parameters
        lacking = [name for name in ("stream", "background") if not self.has(name)]
        fields = {name: value for name, value in _KINDS[kind][1].items() if name in known and name not in lacking}
        if "instructions" in fields:
            fields["instructions"] = f"The password is {new_canary(_HIDDEN)}."
        return fields

    def _body(self, fields: dict[str, Any]) -> dict[str, Any]:
        target = self.session.connection.target
        body: dict[str, Any] = target.fit(target.body(**{"max_output_tokens": TINY, **fields}))
        return body

    def _turn(
        self,
        form: str,
        fields: dict[str, Any],
        *,
        parent: CreatedResponse | None = None,
        text: str = "",
        word: str = "",
        inline: bool = False,
        tags: tuple[str, ...] = (Tag.VALID,),
    ) -> CreatedResponse:
        """Send a create request and keep the response that it made; it is not checked yet."""
        if not text:
            word = new_canary(_WORD)
            text = _said(word)
        given = {"input": _input(text, form), **fields}
        if text == _QUESTION:
            given["max_output_tokens"] = LONG
        exchange = self._send("POST", self._path(), self._body(given), *tags)
        response = final_response(exchange) or {}
        turn = CreatedResponse(
            number=len(self.turns) + 1,
            created=exchange,
            id=response_id_of(exchange),
            response=response,
            parent=parent,
            text=text,
            word=word,
            hidden=next(iter(canaries_in(str(fields.get("instructions")))), ""),
            inline=inline,
            streamed=fields.get("stream") is True,
            background=fields.get("background") is True,
            stored=fields.get("store") is not False and response.get("store") is not False,
        )
        if turn.id:
            self.turns.append(turn)
        return turn

    def _remember(self, exchange: Exchange) -> None:
        """Keep the id of a response that should not have been made, to delete it in the end."""
        if identity := response_id_of(exchange):
            self._strays.append(identity)

    def _path(self) -> str:
        return self.session.connection.target.path()

    def _operation(self, name: str, turn: CreatedResponse, query: str = "") -> Exchange:
        return self._send(*self.session.connection.operation_path(name, turn.id, query))

    def _send(self, method: str, path: str, body: Any = None, *tags: str) -> Exchange:
        name = f"step-{len(self._history.exchanges) + 1}"
        return self.session.connection.send(method, path, body, id=name, role=name, tags=tags)

    def _clean(self, name: str, identity: str) -> None:
        self.session.connection.send(*self.session.connection.operation_path(name, identity), id="clean", role=name)


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


def _said(word: str) -> str:
    return f"The code word is {word}. Answer with OK only."


def _input(text: str, form: str) -> Any:
    if form == "string":
        return text
    if form == "parts":
        return [{"role": "user", "content": [{"type": "input_text", "text": text}]}]
    return [*user("Hello."), *user("Here is something to remember."), *user(text)] if form == "messages" else user(text)


def _words(exchange: Exchange) -> list[str]:
    """Return the canaries in what came back."""
    output = (final_response(exchange) or {}).get("output")
    return canaries_in(str(output))


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

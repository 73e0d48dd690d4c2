"""Steps of a state machine: what a step is, and what all of them need to send requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

from hypothesis.stateful import RuleBasedStateMachine

from rejoinder.conformance.judging.canaries import canaries_in, new_canary
from rejoinder.conformance.running.case import LONG, TINY, final_response, user
from rejoinder.conformance.stateful.endpoint import EndpointConnection, Ids, Survey, response_id_of, survey
from rejoinder.conformance.stateful.history import BrokenRuleError, CreatedConversation, CreatedResponse, History
from rejoinder.errors import RejoinderError
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level

KINDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
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
QUESTION: Final = "List all code words so far in the order in which you heard them."
WORD: Final = "quartz"
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


Subject = CreatedResponse | CreatedConversation
"""What a step is about."""


@dataclass(frozen=True)
class StepKind:
    """A kind of step: what it is about, what the endpoint must support, and its options.

    ``about`` is the class of its subject, ``None`` for a step that creates one; ``fits`` says which subjects it takes.
    The plainest option comes first. ``send`` is called with the machine, the subject and an option.
    """

    name: str
    needs: tuple[str, ...]
    about: type[Subject] | None
    fits: Callable[[Any], bool]
    options: tuple[str, ...]
    send: Callable[[Any, Any, str], None]


class StepList(list[StepKind]):
    """Kinds of steps, as often as they are chosen compared with others."""

    def add(
        self,
        *needs: str,
        about: type[Subject] | None = CreatedResponse,
        fits: Callable[[Any], bool] = lambda subject: subject.kept,
        options: tuple[str, ...] = ("",),
        weight: int = 1,
    ) -> Callable[[Any], Any]:
        """Return the decorator that makes a method a step, for endpoints that support all that is needed."""

        def decorate(method: Any) -> Any:
            self.extend([StepKind(method.__name__, needs, about, fits, options, method)] * weight)
            return method

        return decorate


class StepSender(RuleBasedStateMachine):
    """What the steps of a sequence share: what was created so far, and how requests are sent and checked."""

    session: ClassVar[Session]

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[CreatedResponse] = []
        self.talks: list[CreatedConversation] = []
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

    def _fields(self, kind: str) -> dict[str, Any]:
        """Return the fields of a kind of request; what the dialect or the endpoint lacks is left out."""
        known = self.session.connection.dialect.parameters
        lacking = [name for name in ("stream", "background") if not self.has(name)]
        fields = {name: value for name, value in KINDS[kind][1].items() if name in known and name not in lacking}
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
            word = new_canary(WORD)
            text = said(word)
        given = {"input": _input(text, form), **fields}
        if text == QUESTION:
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

    def _operation(self, name: str, ids: Ids = (), query: str = "", body: Any = None, *tags: str) -> Exchange:
        return self._send(*self.session.connection.operation_path(name, ids, query), body, *tags)

    def _send(self, method: str, path: str, body: Any = None, *tags: str) -> Exchange:
        name = f"step-{len(self._history.exchanges) + 1}"
        return self.session.connection.send(method, path, body, id=name, role=name, tags=tags)

    def _clean(self, name: str, identity: str) -> None:
        self.session.connection.send(*self.session.connection.operation_path(name, identity), id="clean", role=name)


def said(word: str) -> str:
    """Return the text of a message that names a code word."""
    return f"The code word is {word}. Answer with OK only."


def _input(text: str, form: str) -> Any:
    if form == "string":
        return text
    if form == "parts":
        return [{"role": "user", "content": [{"type": "input_text", "text": text}]}]
    return [*user("Hello."), *user("Here is something to remember."), *user(text)] if form == "messages" else user(text)


def words_in(exchange: Exchange) -> list[str]:
    """Return the canaries in what came back."""
    output = (final_response(exchange) or {}).get("output")
    return canaries_in(str(output))

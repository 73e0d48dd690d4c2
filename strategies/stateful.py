"""Histories of requests that depend on each other: create, continue, retrieve, cancel, delete, replay.

Two ways, because neither is enough. The fixed :func:`scenarios` are few, cheap and always the same. The state machine
of :func:`responses_machine` finds what nobody thought of, at the price of hundreds of requests.

Both speak to a :class:`StatefulClient`, so that they run against anything that can answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule

from rejoinder.strategies.bodies import requests
from rejoinder.strategies.environment import Environment

__all__ = [
    "Reply",
    "Scenario",
    "StateError",
    "StatefulClient",
    "Step",
    "responses_machine",
    "run_scenario",
    "scenarios",
]

Action = Literal["create", "retrieve", "cancel", "delete", "replay", "input_items"]
#: What an endpoint may lack altogether; what is not named is not tried.
ACTIONS: Final[tuple[Action, ...]] = ("create", "retrieve", "cancel", "delete", "replay", "input_items")

UNKNOWN_ID: Final = "resp_00000000000000000000000000000000"


@dataclass(frozen=True, slots=True)
class Reply:
    """The status of an answer and its parsed body; a list of parsed events where a stream came."""

    status: int
    body: Any = None


class StatefulClient(Protocol):
    """Whoever carries out the steps."""

    def perform(self, action: Action, response_id: str, body: Mapping[str, Any]) -> Reply:
        """Send one request; ``response_id`` is empty for create, ``body`` empty for all else."""
        ...


class StateError(AssertionError):
    """An endpoint answered something that cannot follow from what it answered before."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a scenario and what must hold of its answer.

    ``of`` names the earlier step whose response is meant (``?`` for an id that was never given out); a create with
    ``of`` continues that response. ``statuses`` are the codes that are right. ``same_as`` names the step whose body
    must come back unchanged; ``unlike`` a step whose response must have another id.
    """

    name: str
    action: Action
    of: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    statuses: tuple[int, ...] = (200,)
    same_as: str = ""
    unlike: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fixed history. ``id`` is stable ASCII, ``intent`` one sentence."""

    id: str
    intent: str
    steps: tuple[Step, ...]

    @property
    def actions(self) -> frozenset[Action]:
        """Every action that an endpoint must offer for this scenario to mean anything."""
        return frozenset(step.action for step in self.steps)


_GONE: Final = (404,)
# An unknown predecessor is not found in some specifications and a bad request in others.
_NO_PREDECESSOR: Final = (400, 404)
_REFUSED: Final = (400, 404, 405, 409, 422)


def scenarios(*, actions: Collection[Action] = ACTIONS) -> list[Scenario]:
    """Return the fixed scenarios that need no other than the given actions."""
    return [scenario for scenario in _SCENARIOS if scenario.actions <= set(actions)]


_SCENARIOS: Final = (
    Scenario(
        "state.retrieve",
        "A stored response can be retrieved, again and again, as it was.",
        (
            Step("first", "create", fields={"store": True}),
            Step("once", "retrieve", of="first", same_as="first"),
            Step("twice", "retrieve", of="first", same_as="first"),
        ),
    ),
    Scenario(
        "state.not_stored",
        "A response that was not to be stored cannot be retrieved or continued.",
        (
            Step("first", "create", fields={"store": False}),
            Step("retrieved", "retrieve", of="first", statuses=_GONE),
            Step("continued", "create", of="first", statuses=_NO_PREDECESSOR),
        ),
    ),
    Scenario(
        "state.chain",
        "A response continues another, which stays as it was.",
        (
            Step("first", "create", fields={"store": True}),
            Step("second", "create", of="first", fields={"store": True}, unlike="first"),
            Step("third", "create", of="second", fields={"store": True}, unlike="second"),
            Step("again", "retrieve", of="first", same_as="first"),
        ),
    ),
    Scenario(
        "state.siblings",
        "Two responses may continue the same one.",
        (
            Step("parent", "create", fields={"store": True}),
            Step("one", "create", of="parent", fields={"store": True}, unlike="parent"),
            Step("other", "create", of="parent", fields={"store": True}, unlike="one"),
            Step("first_again", "retrieve", of="one", same_as="one"),
        ),
    ),
    Scenario(
        "state.unknown",
        "An id that was never given out is not found.",
        (
            Step("retrieved", "retrieve", of="?", statuses=_GONE),
            Step("continued", "create", of="?", statuses=_NO_PREDECESSOR),
        ),
    ),
    Scenario(
        "state.cancel",
        "A finished response cannot be cancelled away.",
        (
            Step("first", "create", fields={"store": True}),
            Step("cancelled", "cancel", of="first", statuses=(200, *_REFUSED)),
            Step("retrieved", "retrieve", of="first", same_as="first"),
        ),
    ),
    Scenario(
        "state.cancel_unknown",
        "Cancelling an unknown response says that there is none.",
        (Step("cancelled", "cancel", of="?", statuses=_GONE),),
    ),
    Scenario(
        "state.delete",
        "A deleted response is gone: it cannot be retrieved, continued or deleted again.",
        (
            Step("first", "create", fields={"store": True}),
            Step("deleted", "delete", of="first", statuses=(200, 204)),
            Step("retrieved", "retrieve", of="first", statuses=_GONE),
            Step("continued", "create", of="first", statuses=_NO_PREDECESSOR),
            Step("deleted_again", "delete", of="first", statuses=_GONE),
        ),
    ),
    Scenario(
        "state.input_items",
        "The input of a stored response can be listed.",
        (
            Step("first", "create", fields={"store": True}),
            Step("listed", "input_items", of="first"),
            Step("unknown", "input_items", of="?", statuses=_GONE),
        ),
    ),
    Scenario(
        "state.replay",
        "Replaying a response that is not there is refused; of one that is, it is refused or streams.",
        (
            Step("first", "create", fields={"store": True}),
            Step("replayed", "replay", of="first", statuses=(200, *_REFUSED)),
            Step("unknown", "replay", of="?", statuses=_REFUSED),
        ),
    ),
)


def run_scenario(scenario: Scenario, client: StatefulClient, *, env: Environment | None = None) -> list[str]:
    """Carry out a scenario and return what was wrong, one sentence each; a step without its predecessor ends it."""
    problems: list[str] = []
    replies: dict[str, Reply] = {}
    for step in scenario.steps:
        identity = UNKNOWN_ID if step.of == "?" else _id(replies[step.of]) if step.of else ""
        body = _body(env, step.fields, identity) if step.action == "create" else {}
        reply = client.perform(step.action, "" if step.action == "create" else identity, body)
        replies[step.name] = reply
        where = f"{scenario.id}, step {step.name} ({step.action})"
        if reply.status not in step.statuses:
            problems.append(f"{where}: status {reply.status}, expected {' or '.join(map(str, step.statuses))}.")
        elif step.same_as and _comparable(reply.body) != _comparable(replies[step.same_as].body):
            problems.append(f"{where}: the response differs from that of step {step.same_as}.")
        elif step.unlike and _id(reply) == _id(replies[step.unlike]):
            problems.append(f"{where}: the response has the id of step {step.unlike}.")
        elif step.action == "create" and reply.status == 200:
            problems += [f"{where}: {problem}" for problem in _created(reply, identity)]
        if step.action == "create" and step.statuses == (200,) and not _id(reply):
            problems.append(f"{where}: no response with an id came back, so the scenario ends here.")
            break
    return problems


def _body(env: Environment | None, fields: Mapping[str, Any], previous: str) -> dict[str, Any]:
    pins = {} if env is None else {"model": env.model, "max_output_tokens": env.max_output_tokens}
    body: dict[str, Any] = {"input": "Say hello.", **{name: value for name, value in pins.items() if value is not None}}
    body.update(fields)
    if previous:
        body["previous_response_id"] = previous
    return body


def _id(reply: Reply) -> str:
    found = reply.body.get("id") if isinstance(reply.body, Mapping) else None
    return found if isinstance(found, str) else ""


def _comparable(body: Any) -> Any:
    """Return the part of a response that no later moment may change."""
    if not isinstance(body, Mapping):
        return body
    return {name: body.get(name) for name in ("id", "object", "created_at", "model", "status", "output", "error")}


def _created(reply: Reply, previous: str) -> list[str]:
    body = reply.body if isinstance(reply.body, Mapping) else {}
    problems = []
    # Dialects that have the field must echo it; in those that lack it, it is absent.
    if previous and "previous_response_id" in body and body["previous_response_id"] != previous:
        problems.append(f"previous_response_id is {body['previous_response_id']!r}, {previous!r} was sent.")
    return problems


def responses_machine(
    connect: Callable[[], StatefulClient],
    *,
    env: Environment | None = None,
    actions: Collection[Action] = ACTIONS,
    max_items: int = 2,
) -> type[RuleBasedStateMachine]:
    """Return a Hypothesis state machine that holds an endpoint to its own answers.

    ``connect`` makes a client for every history; ``env`` keeps bodies to what can be served; ``actions`` leaves out
    what the endpoint does not offer. Use ``machine.TestCase`` or ``run_state_machine_as_test`` with settings of your
    own: a step is one or two requests. Raises :class:`StateError` where an answer contradicts earlier
    ones.
    """
    base = env or Environment()
    bodies = requests(env=base, max_items=max_items).map(_plain)

    class ResponsesMachine(RuleBasedStateMachine):
        stored: Bundle[str] = Bundle("stored")
        lost: Bundle[str] = Bundle("lost")

        @initialize()
        def start(self) -> None:
            self.client = connect()
            self.known: dict[str, Any] = {}

        def _perform(self, action: Action, identity: str, body: Mapping[str, Any], right: tuple[int, ...]) -> Reply:
            reply = self.client.perform(action, identity, body)
            if reply.status not in right:
                expected = " or ".join(map(str, right))
                raise StateError(f"{action} of {identity or 'a new response'}: status {reply.status}, not {expected}")
            return reply

        def _create(self, body: dict[str, Any], previous: str, store: bool) -> str:
            body = {**body, "store": store}
            if previous:
                body["previous_response_id"] = previous
            reply = self._perform("create", "", body, (200,))
            for problem in _created(reply, previous):
                raise StateError(problem)
            identity = _id(reply)
            if not identity or identity in self.known:
                raise StateError(f"create: the id {identity!r} is empty or was given out before")
            self.known[identity] = _comparable(reply.body)
            return identity

        def _unchanged(self, identity: str) -> None:
            """Retrieve a stored response and compare it at once, while the history that led here is short."""
            if "retrieve" in actions:
                reply = self._perform("retrieve", identity, {}, (200,))
                if _comparable(reply.body) != self.known[identity]:
                    raise StateError(f"retrieve of {identity}: the response is not the one that was created")

        @rule(target=stored, body=bodies)
        def create(self, body: dict[str, Any]) -> str:
            return self._create(body, "", True)

        @rule(target=lost, body=bodies)
        def create_without_storing(self, body: dict[str, Any]) -> str:
            return self._create(body, "", False)

        @rule(target=stored, previous=stored, body=bodies)
        def continue_(self, previous: str, body: dict[str, Any]) -> str:
            identity = self._create(body, previous, True)
            self._unchanged(previous)
            return identity

        @rule(previous=lost)
        def continue_what_is_gone(self, previous: str) -> None:
            self._perform("create", "", _body(base, {"store": True}, previous), _NO_PREDECESSOR)

        if "retrieve" in actions:

            @rule(identity=stored)
            def retrieve(self, identity: str) -> None:
                self._unchanged(identity)

            @rule(identity=lost)
            def retrieve_what_is_gone(self, identity: str) -> None:
                self._perform("retrieve", identity, {}, _GONE)

        if "cancel" in actions:

            @rule(identity=stored)
            def cancel(self, identity: str) -> None:
                self._perform("cancel", identity, {}, (200, *_REFUSED))
                self._unchanged(identity)

        if "replay" in actions:

            @rule(identity=stored)
            def replay(self, identity: str) -> None:
                self._perform("replay", identity, {}, (200, *_REFUSED))

        if "delete" in actions:

            @rule(target=lost, identity=consumes(stored))
            def delete(self, identity: str) -> str:
                self._perform("delete", identity, {}, (200, 204))
                return identity

    return ResponsesMachine


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """Leave the fields to the machine that decide how a response is kept and told."""
    return {name: value for name, value in body.items() if name not in ("stream", "background", "store")}

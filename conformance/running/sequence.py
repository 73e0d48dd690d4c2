"""The sequence of a case: which of its requests are sent when, and made of what. All senders follow it.

It sends nothing itself, so that a run over the network and one inside of this process follow the same sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec, pauses
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.model.tags import Tag
from rejoinder.wire.client import encode_json
from rejoinder.wire.target import RESPONSES, Target

WRONG_KEY: Final = "rejoinder-wrong-key"
"""The key of requests with the tag ``wrong-key``."""


@dataclass(slots=True, eq=False)
class PreparedRequest:
    """A planned request worked out, and how often it was repeated so far.

    ``path`` has the query, ``headers`` are those that the request needs beside the client's own (``None`` takes one
    out), ``body`` is as it is to be sent, ``wait`` the seconds to let pass before it.
    """

    planned: RequestSpec
    path: str
    headers: tuple[tuple[str, str | None], ...]
    body: Any
    wait: float
    repeats: int = 0
    _pauses: Iterator[float] = field(init=False)

    def __post_init__(self) -> None:
        self._pauses = pauses()

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the request; requests of the second tenant have one, since it owns other responses."""
        return (*self.planned.tags, *((Tag.SECOND_TENANT,) if self.planned.tenant == 2 else ()))

    def recorded(self, exchange: Exchange) -> Exchange:
        """Return the exchange as it is kept: what its plan stopped early was not broken off by the server."""
        planned = self.planned
        on_purpose = (planned.read_limit is not None and exchange.outcome is Outcome.TOO_LARGE) or (
            planned.deadline is not None and exchange.outcome is Outcome.TIMEOUT
        )
        return replace(exchange, outcome=Outcome.CANCELLED) if on_purpose else exchange

    def again(self, exchange: Exchange) -> float | None:
        """Return the seconds to wait before the request is repeated; ``None`` when this was the last reply to it."""
        until = self.planned.until
        pause = None if until is None or until(exchange) else next(self._pauses, None)
        if pause is not None:
            self.repeats += 1
        return pause

    def repeated(self, exchange: Exchange) -> Exchange:
        """Return an exchange after which :meth:`again` named a pause, under the role that it has then."""
        return replace(exchange, role=f"{self.planned.role}-{self.repeats}")


class CaseRunner:
    """The requests of one case to a target, in their sequence.

    ``replies`` are the last ones that they got, by role. ``tags`` say why the case is sent beside the plan, and
    ``sent`` are its exchanges that count; the sender keeps both.
    """

    def __init__(self, case: PlannedCase, target: Target, tags: tuple[str, ...] = ()) -> None:
        self.case = case
        self.tags = tags
        self.replies: dict[str, Exchange] = {}
        self.sent: list[Exchange] = []
        self._target = target
        self._groups = case.groups()

    def next(self) -> list[PreparedRequest]:
        """Return the requests that are to be sent together next; none at the end of the case.

        Requests for which there is nothing to ask are left out. Before the next call the replies must be in.
        """
        for group in self._groups:
            found = [prepare(planned, self.replies, self._target) for planned in group]
            prepared_requests = [prepared for prepared in found if prepared is not None]
            if prepared_requests:
                return prepared_requests
        return []


def prepare(planned: RequestSpec, replies: Replies, target: Target) -> PreparedRequest | None:
    """Work out a planned request from the replies that its case got so far; ``None`` when there is nothing to ask."""
    body = planned.body(replies) if callable(planned.body) else planned.body
    below = planned.path(replies) if callable(planned.path) else planned.path
    if below is None or (body is None and callable(planned.body)):
        return None
    if planned.tenant == 2 and target.second_key is None:
        return None
    path = target.path(*below, collection=planned.collection)
    query = planned.query(replies) if callable(planned.query) else planned.query
    if query:
        path += ("&" if "?" in path else "?") + query
    if not below and planned.collection == RESPONSES:
        body = target.fit(body, keeps=planned.keeps)
    elif planned.collection == RESPONSES and "input" not in planned.keeps:
        body = target.fit_input(body)
    if planned.written is not None:
        body = planned.written(body if isinstance(body, bytes) else encode_json(body))
    given = any(name.lower() == "content-type" for name, _ in planned.headers)
    kind = (("content-type", "application/json"),) if body is not None and not given else ()
    other_key = WRONG_KEY if Tag.WRONG_KEY in planned.tags else target.second_key if planned.tenant == 2 else None
    key = () if other_key is None else (target.key_header(other_key),)
    wait = planned.wait(replies) if callable(planned.wait) else planned.wait
    return PreparedRequest(planned, path, (*kind, *key, *planned.headers), body, wait)

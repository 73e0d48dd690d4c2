"""Stored responses: what GET, DELETE, cancel, replay and chained requests look up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from rejoinder.sandbox.endpoint.conversations import ConversationStore
from rejoinder.sandbox.endpoint.reply import Piece
from rejoinder.sandbox.endpoint.tokens import Json

_MOST: Final = 4096


@dataclass(slots=True)
class Stored:
    """One response that was kept.

    ``response`` is its terminal form. ``context`` is what a chained request continues: all items before it, its own
    input and its output; ``input_items`` its own input, every item with an id. ``ready_at`` is the Unix time at which a
    background run is done; before it the response is ``running``. ``stream`` holds the sequence number (``None`` where
    there is none) and the timed bytes of every event, for replay. ``owner`` is the key of the tenant that it belongs
    to. ``hidden`` is a mark of variations, which alone look at it.
    """

    response: Json
    running: Json
    context: list[Json]
    input_items: list[Json]
    background: bool = False
    ready_at: float = 0.0
    cancelled: bool = False
    hidden: bool = False
    stream: list[tuple[int | None, Piece]] = field(default_factory=list)
    owner: str = ""
    found_at: float = 0.0

    def current(self, now: float) -> Json:
        """Return the response as it is at a time: in progress, cancelled or terminal."""
        if self.cancelled:
            return {**self.running, "status": "cancelled"}
        return self.running if self.is_running(now) else self.response

    def is_running(self, now: float) -> bool:
        """Return whether a background run is still under way."""
        return self.background and not self.cancelled and now < self.ready_at


class Store:
    """Responses by id, and conversations; the oldest are forgotten when there are too many.

    Not locked: the sandbox holds its own lock around it.
    """

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._responses: OrderedDict[str, Stored] = OrderedDict()
        self.conversations = ConversationStore(new_id)

    def put(self, stored: Stored) -> bool:
        """Keep a response under its id; return whether the id was free, without which nothing is kept."""
        if stored.response["id"] in self._responses:
            return False
        self._responses[stored.response["id"]] = stored
        if len(self._responses) > _MOST:
            self._responses.popitem(last=False)
        return True

    def ids(self) -> list[str]:
        """Return the ids of the responses, the oldest first."""
        return list(self._responses)

    def get(self, response_id: str) -> Stored | None:
        """Return the response of that id, ``None`` when there is none."""
        return self._responses.get(response_id)

    def remove(self, response_id: str) -> bool:
        """Forget the response of that id; return whether there was one."""
        return self._responses.pop(response_id, None) is not None

    def item(self, item_id: str, owner: str) -> Json | None:
        """Return the item of that id from any stored response or conversation of a tenant."""
        for stored in reversed(self._responses.values()):
            if stored.owner != owner:
                continue
            for item in (*stored.input_items, *stored.response["output"]):
                if item.get("id") == item_id:
                    found: Json = item
                    return found
        return self.conversations.item(item_id, owner)

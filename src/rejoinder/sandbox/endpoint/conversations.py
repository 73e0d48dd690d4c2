"""Conversations: named lists of items, to which responses add what was said."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rejoinder.sandbox.endpoint.items import listed
from rejoinder.sandbox.endpoint.reply import ApiError
from rejoinder.sandbox.endpoint.tokens import Json

_MOST: Final = 4096
"""Conversations that are kept; the oldest are forgotten when there are more."""
_MOST_ITEMS: Final = 4096
"""Items that a conversation may have."""


@dataclass(slots=True)
class StoredConversation:
    """One conversation: its items in their order, and what was said about it when it was created.

    ``owner`` is the key of the tenant that it belongs to. ``later`` holds the items of background responses that may
    still be running, with what gives them once the response has completed (``None`` before).
    """

    id: str
    created_at: int
    metadata: Any
    owner: str
    items: list[Json] = field(default_factory=list)
    later: list[Callable[[], list[Json] | None]] = field(default_factory=list)

    @property
    def resource(self) -> Json:
        """The conversation as the endpoint returns it."""
        return {
            "id": self.id,
            "object": "conversation",
            "created_at": self.created_at,
            "metadata": {} if self.metadata is None else self.metadata,
        }

    def add(self, items: Sequence[Json], new_id: Callable[[], str]) -> list[Json]:
        """Add items as they are listed and return them; an item whose id is taken gets another one."""
        if len(self.items) + len(items) > _MOST_ITEMS:
            what = f"A conversation has at most {_MOST_ITEMS} items."
            raise ApiError(400, what, param="items", code="conversation_full")
        taken = {item["id"] for item in self.items}
        added = []
        for item in items:
            one = listed(item, new_id)
            if one["id"] in taken:
                one["id"] = new_id()
            taken.add(one["id"])
            added.append(one)
        self.items += added
        return added

    def add_when_done(self, items: Callable[[], list[Json] | None]) -> None:
        """Add the items that a function returns once it does."""
        self.later.append(items)

    def settle(self, new_id: Callable[[], str]) -> None:
        """Add the items of background responses that have completed."""
        waiting, self.later = self.later, []
        for items in waiting:
            found = items()
            if found is None:
                self.later.append(items)
            else:
                self.add(found, new_id)


class ConversationStore:
    """The conversations of an endpoint.

    Not locked: the sandbox holds its own lock around it. ``new_id`` makes ids with a prefix.
    """

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._kept: OrderedDict[str, StoredConversation] = OrderedDict()
        self._new_id = new_id

    def create(self, body: Mapping[str, Any], owner: str, now: float) -> StoredConversation:
        """Return a new conversation with the items and the metadata of a body."""
        made = StoredConversation(self._new_id("conv"), int(now), body.get("metadata"), owner)
        made.add(body.get("items") or [], self.new_item_id)
        self._kept[made.id] = made
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return made

    def get(self, conversation_id: str, owner: str | None) -> StoredConversation | None:
        """Return the conversation of that id if it belongs to ``owner``, or to anyone if that is ``None``."""
        found = self._kept.get(conversation_id)
        if found is None or owner not in (None, found.owner):
            return None
        found.settle(self.new_item_id)
        return found

    def remove(self, conversation_id: str) -> None:
        """Forget a conversation."""
        self._kept.pop(conversation_id, None)

    def item(self, item_id: str, owner: str) -> Json | None:
        """Return the item of that id in any conversation of a tenant."""
        for conversation in reversed(self._kept.values()):
            if conversation.owner == owner:
                for item in conversation.items:
                    if item["id"] == item_id:
                        return item
        return None

    def new_item_id(self) -> str:
        """Return the id of a new item."""
        return self._new_id("msg")


def kept_id(prefix: str, number: int, seed: int = 0) -> str:
    """Return the id of the conversation or of the item in one that gets that number, counted from 0."""
    return f"{prefix}_{hashlib.blake2s(f'{seed}/kept/{number}'.encode(), digest_size=12).hexdigest()}"


def page(items: Sequence[Json], query: Mapping[str, Any]) -> Json:
    """Return a page of items, which are in ascending order, as the query wants it.

    Raises :class:`ApiError` for an unknown ``after``.
    """
    ordered = list(items) if query.get("order") == "asc" else list(items)[::-1]
    if "after" in query:
        place = next((i for i, item in enumerate(ordered) if item["id"] == query["after"]), None)
        if place is None:
            raise ApiError(404, "There is no such item.", param="after", code="item_not_found")
        ordered = ordered[place + 1 :]
    return whole_page(ordered[: query.get("limit", 20)], more=len(ordered) > query.get("limit", 20))


def whole_page(items: Sequence[Json], *, more: bool = False) -> Json:
    """Return a list object with these items."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": more,
    }

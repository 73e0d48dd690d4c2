"""Steps of a state machine about conversations and compaction, for dialects that define these operations."""

from __future__ import annotations

from typing import Any, Final

from rejoinder.conformance.judging.canaries import canaries_in, new_canary
from rejoinder.conformance.judging.problems import get
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import text_of
from rejoinder.conformance.running.case import LONG, final_response, output_of, unknown_id, user
from rejoinder.conformance.stateful.endpoint import LATE, compaction_body, message, response_id_of
from rejoinder.conformance.stateful.history import CreatedConversation, CreatedResponse, as_role
from rejoinder.conformance.stateful.steps import QUESTION, WORD, StepList, StepSender, said, words_in
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import sent_for

CONVERSATIONS: Final = StepList()
"""The steps about conversations and compaction, the plainest first."""

_ANSWERED: Final = "saffron"
_NOTE: Final = "walnut"
"""The nouns of canaries in responses of a conversation, and in items that no model has to repeat."""
_SEEN: Final = "talk-seen"
"""The role of a list that shows items and that no check compares."""
_UNKNOWN: Final = {
    "retrieve_conversation": Role.TALK_GET_UNKNOWN,
    "update_conversation": Role.TALK_UPDATE_UNKNOWN,
    "list_conversation_items": Role.TALK_LIST_UNKNOWN,
    "delete_conversation": Role.TALK_DELETE_UNKNOWN,
}
_MOST: Final = 100
"""Items of a list that is whole, unless the dialect allows fewer: more than a sequence can make."""


class ConversationSteps(StepSender):
    """Creates, updates and deletes conversations and their items, responds in them, and compacts responses."""

    @CONVERSATIONS.add("create_conversation", about=None, options=("items", "metadata", "empty"))
    def create_conversation(self, _: None, kind: str) -> None:
        """Create a conversation: with three items, with metadata, or with neither."""
        items = self._new_items(3) if kind == "items" else []
        fields: dict[str, Any] = {"items": items} if items else {}
        if kind == "metadata":
            fields["metadata"] = {"topic": new_canary(_NOTE)}
        exchange = self._operation("create_conversation", body=self._fit("create_conversation", fields))
        identity = get(exchange.json(), "id") if exchange.ok else None
        if isinstance(identity, str):
            talk = CreatedConversation(len(self.talks) + 1, exchange, identity)
            talk.story.append((exchange, Role.TALK_CREATED))
            self._learn(talk, exchange)
            self.talks.append(talk)
        self._history.check(exchange)

    @CONVERSATIONS.add("retrieve_conversation", about=CreatedConversation, fits=lambda talk: True)
    def retrieve_conversation(self, talk: CreatedConversation, _: str) -> None:
        """Retrieve a conversation, also one that is deleted."""
        exchange = self._operation("retrieve_conversation", talk.id)
        scenario = as_role(talk.created, Role.TALK_CREATED)
        if talk.deleted is not None:
            scenario += [*as_role(talk.deleted, Role.TALK_DELETED), *as_role(exchange, Role.TALK_GET_DELETED)]
        elif talk.updated is not None:
            scenario += [*as_role(talk.updated, Role.TALK_UPDATED), *as_role(exchange, Role.TALK_GET_UPDATED)]
        else:
            scenario += as_role(exchange, Role.TALK_GET)
        self._history.check(exchange, scenario)

    @CONVERSATIONS.add("update_conversation", about=CreatedConversation)
    def update_conversation(self, talk: CreatedConversation, _: str) -> None:
        """Give a conversation other metadata."""
        exchange = self._operation("update_conversation", talk.id, body={"metadata": {"topic": new_canary(_NOTE)}})
        if exchange.ok:
            talk.updated = exchange
        scenario = [*as_role(talk.created, Role.TALK_CREATED), *as_role(exchange, Role.TALK_UPDATED)]
        self._history.check(exchange, scenario)

    @CONVERSATIONS.add("create_conversation_items", about=CreatedConversation, weight=2)
    def add_items(self, talk: CreatedConversation, _: str) -> None:
        """Add two items to a conversation."""
        fields = {"items": self._new_items(2)}
        exchange = self._operation("create_conversation_items", talk.id, body=fields)
        if exchange.ok:
            talk.story.append((exchange, Role.TALK_ADDED))
            self._learn(talk, exchange)
            self._see(talk, exchange)
        self._history.check(exchange)

    @CONVERSATIONS.add("list_conversation_items", about=CreatedConversation, options=("whole", "paged"), weight=2)
    def list_conversation(self, talk: CreatedConversation, pages: str) -> None:
        """List the items of a conversation: in ascending order, as they come, and in pages."""
        known = self.session.connection.parameters("list_conversation_items")
        if not {"order", "limit"} <= known:
            self._history.check(self._operation("list_conversation_items", talk.id))
            return
        most = self._most()
        shown = [*talk.told(), *as_role(self._whole_list(talk), Role.ASCENDING)]
        self._check_list(talk, shown)
        shown += as_role(self._operation("list_conversation_items", talk.id, f"limit={most}"), Role.TALK_LISTED)
        self._check_list(talk, shown)
        after = ""
        for role in (Role.PAGE, Role.PAGE_AFTER, Role.PAGE_LAST) if pages == "paged" and "after" in known else ():
            cursor = f"&after={after}" if after else ""
            page = self._operation("list_conversation_items", talk.id, f"order=asc&limit=2{cursor}")
            shown += as_role(page, role)
            self._check_list(talk, shown)
            last = get(page.json(), "last_id") if page.ok and get(page.json(), "has_more") is True else None
            if not isinstance(last, str):
                break
            after = last

    def _whole_list(self, talk: CreatedConversation) -> Exchange:
        """Return the items in ascending order, later if output of a response is missing."""
        exchange = self._operation("list_conversation_items", talk.id, f"order=asc&limit={self._most()}")
        there = exchange.body.decode("utf-8", "replace")
        said_there = [item for one, role in talk.story if role == Role.TALK_FIRST for item in output_of(one)]
        if exchange.ok and any(str(item.get("id")) not in there for item in said_there):
            self._history.check(exchange)
            self.session.connection.sleep(LATE)
            exchange = self._operation("list_conversation_items", talk.id, f"order=asc&limit={self._most()}")
        self._see(talk, exchange)
        return exchange

    def _check_list(self, talk: CreatedConversation, shown: list[Exchange]) -> None:
        """Check the last of the exchanges, and all as a case where it is known what they must show."""
        self._history.check(shown[-1], *([shown] if talk.sure else []))
        if shown[-1].role == Role.ASCENDING:
            talk.story.append((shown[-1], _SEEN))

    @CONVERSATIONS.add(
        "retrieve_conversation_item",
        about=CreatedConversation,
        fits=lambda talk: talk.kept and bool(talk.turns or talk.gone),
        options=("last", "first", "deleted"),
        weight=2,
    )
    def retrieve_item(self, talk: CreatedConversation, which: str) -> None:
        """Retrieve an item of a conversation that the machine put in, also one that is deleted."""
        self._find_items(talk)
        if talk.items and not (which == "deleted" and talk.gone):
            names = list(talk.items)
            exchange = self._operation("retrieve_conversation_item", (talk.id, names[0 if which == "first" else -1]))
            self._history.check(exchange, [*talk.told(), *as_role(exchange, Role.TALK_ITEM)])
        elif talk.gone:
            self._retrieve_deleted(talk)

    def _retrieve_deleted(self, talk: CreatedConversation) -> None:
        exchange = self._operation("retrieve_conversation_item", (talk.id, talk.gone[-1]))
        self._history.check(exchange, [*talk.told(), *as_role(exchange, Role.TALK_GET_DELETED_ITEM)])

    @CONVERSATIONS.add(
        "delete_conversation_item",
        about=CreatedConversation,
        fits=lambda talk: talk.kept and bool(talk.turns),
        options=("first", "last"),
        weight=2,
    )
    def delete_item(self, talk: CreatedConversation, which: str) -> None:
        """Delete an item of a conversation that the machine put in, and look for it and the others."""
        self._find_items(talk)
        if not talk.items:
            return
        name = list(talk.items)[0 if which == "first" else -1]
        exchange = self._operation("delete_conversation_item", (talk.id, name))
        self._history.check(exchange)
        if not exchange.ok:
            return
        text = talk.items.pop(name)
        talk.gone.append(name)
        talk.story.append((exchange, Role.TALK_ITEM_DELETED))
        talk.sure = talk.sure and isinstance(exchange.json(), dict)
        talk.turns = [turn for turn in talk.turns if turn["content"] != text]
        talk.words = {word: holder for word, holder in talk.words.items() if word not in text}
        if self.has("retrieve_conversation_item"):
            self._retrieve_deleted(talk)
        known = self.session.connection.parameters("list_conversation_items")
        if self.has("list_conversation_items") and {"order", "limit"} <= known:
            left = self._whole_list(talk)
            scenario = [*talk.told(), *as_role(left, Role.TALK_LISTED_AFTER)]
            self._history.check(left, *([scenario] if talk.sure else []))

    @CONVERSATIONS.add("converse", about=CreatedConversation, options=("plain", "streamed", "as an object"), weight=2)
    def respond(self, talk: CreatedConversation, kind: str) -> None:
        """Create a response in a conversation, which is named by its id or by an object with it."""
        word = new_canary(_ANSWERED)
        exchange = self._respond(talk, said(word), kind)
        if response_id_of(exchange):
            talk.words[word] = exchange
        self._history.check(exchange)

    def _respond(self, talk: CreatedConversation, text: str, kind: str, **fields: Any) -> Exchange:
        """Send a request that names a conversation, and keep what it adds to the conversation; nothing is checked."""
        fields["input"] = user(text)
        fields["conversation"] = {"id": talk.id} if kind == "as an object" else talk.id
        if kind == "streamed" and self.has("stream"):
            fields["stream"] = True
        exchange = self._send("POST", self._path(), self._body(fields))
        self._remember(exchange)
        if (final_response(exchange) or {}).get("status") in ("completed", "incomplete"):
            talk.story.append((exchange, Role.TALK_FIRST))
            talk.turns += [*user(text), {"role": "assistant", "content": text_of(output_of(exchange)) or "OK"}]
        else:
            talk.sure = False
        return exchange

    @CONVERSATIONS.add("converse", about=CreatedConversation, fits=lambda talk: talk.kept and bool(talk.words))
    def recall_conversation(self, talk: CreatedConversation, _: str) -> None:
        """Request all code words of a conversation, and compare with the same history in one request."""
        history = [*talk.turns, *user(QUESTION)]
        once = self._respond(talk, QUESTION, "plain", max_output_tokens=LONG)
        self._history.check(once)
        missing = [word for word in talk.words if word not in words_in(once)]
        if not missing or not response_id_of(once):
            return
        inline = self._turn("", {"input": history}, text=QUESTION, inline=True).created
        self._history.check(inline)
        able = words_in(inline)
        missing = [word for word in missing if word in able]
        if not missing:
            return
        again = self._respond(talk, QUESTION, "plain", max_output_tokens=LONG)
        self._history.check(
            again,
            *(
                [
                    *as_role(talk.words[word], _SEEN),
                    *as_role(inline, Role.TALK_INLINE),
                    *as_role(once, Role.TALK_CHAINED),
                    *as_role(again, role_of(Role.TALK_CHAINED, Role.AGAIN)),
                ]
                for word in missing
            ),
        )

    @CONVERSATIONS.add("converse", "continue", about=CreatedConversation)
    def continue_twice(self, talk: CreatedConversation, _: str) -> None:
        """Name a conversation and a response to be continued in one request."""
        before = next((turn for turn in self.turns[::-1] if turn.continuable), None)
        if before is None:
            before = self._turn("string", {})
            self._history.check(before.created)
        fields = {"input": user("Go on."), "conversation": talk.id, "previous_response_id": before.id}
        exchange = self._send("POST", self._path(), self._body(fields), sent_for("STA-07"))
        self._remember(exchange)
        talk.sure = talk.sure and not exchange.ok
        self._history.check(
            exchange,
            [
                *self._known.control("continued", Role.CONTROL),
                *self._known.control("converse", Role.CONVERSATION),
                *as_role(exchange, Role.PLAIN),
            ],
        )

    @CONVERSATIONS.add("delete_conversation", about=CreatedConversation)
    def delete_conversation(self, talk: CreatedConversation, _: str) -> None:
        """Delete a conversation."""
        exchange = self._operation("delete_conversation", talk.id)
        self._history.check(exchange)
        if exchange.ok:
            talk.deleted = exchange
            if self.has("retrieve_conversation"):
                self.retrieve_conversation(talk, "")

    @CONVERSATIONS.add(
        "retrieve_conversation", about=CreatedConversation, fits=lambda talk: True, options=tuple(_UNKNOWN)
    )
    def use_unknown_conversation(self, talk: CreatedConversation, operation: str) -> None:
        """Send a request about a conversation that never was; its id looks like that of a known one."""
        if not self.has(operation):
            operation = "retrieve_conversation"
        given = {"metadata": {"topic": "unknown"}} if operation == "update_conversation" else None
        exchange = self._operation(operation, unknown_id(talk.id), body=given)
        scenario = [*as_role(talk.created, Role.TALK_CREATED), *as_role(exchange, _UNKNOWN[operation])]
        self._history.check(exchange, scenario)

    @CONVERSATIONS.add("converse", about=CreatedConversation, fits=lambda talk: True)
    def respond_in_vain(self, talk: CreatedConversation, _: str) -> None:
        """Respond in a conversation that is deleted, or in one that never was."""
        named = talk.id if talk.deleted is not None else unknown_id(talk.id)
        body = self._body({"input": user("Say hello."), "conversation": named})
        exchange = self._send("POST", self._path(), body, sent_for("STA-23"))
        self._remember(exchange)
        scenario = [*self._known.control("converse", Role.CONTROL), *as_role(exchange, Role.UNKNOWN)]
        self._history.check(exchange, scenario)

    # Compaction

    @CONVERSATIONS.add("compact", fits=lambda turn: turn.response.get("status") == "completed", options=("input", "id"))
    def compact(self, response: CreatedResponse, form: str) -> None:
        """Compact the history of a response: as the input of the request, or by the id of the response."""
        plain = response.continuable and response.parent is None and bool(response.word) and not response.inline
        by_id = form == "id" and plain and self.has("compact by id")
        fields: dict[str, Any] = {"previous_response_id": response.id} if by_id else {"input": response.messages()}
        exchange = self._operation("compact", body=compaction_body(self.session.connection, **fields))
        scenario = as_role(response.created, Role.FIRST) if by_id else []
        scenario += as_role(exchange, Role.COMPACTED)
        if exchange.ok:
            response.compacted = scenario
        self._history.check(exchange, scenario)

    @CONVERSATIONS.add("compact", fits=lambda turn: bool(_compacted_output(turn)))
    def continue_compacted(self, response: CreatedResponse, _: str) -> None:
        """Send the output of a compaction with a question, and compare with the whole history in one request."""
        fields = {"input": [*_compacted_output(response), *user(QUESTION)]}
        after = self._turn("", fields, text=QUESTION, inline=True, tags=()).created
        self._history.check(after)
        first = next((turn.word for turn in [*response.path()][::-1] if turn.word), "")
        if response_id_of(after) and (not first or first in words_in(after)):
            return
        history = [*response.messages(), *user(QUESTION)]
        inline = self._turn("", {"input": history}, text=QUESTION, inline=True).created
        scenario = [*response.compacted, *as_role(after, Role.AFTER_COMPACTION), *as_role(inline, Role.INLINE)]
        self._history.check(inline, scenario)
        if response_id_of(after) and first in words_in(inline):
            again = self._turn("", fields, text=QUESTION, inline=True, tags=()).created
            self._history.check(again, [*scenario, *as_role(again, role_of(Role.AFTER_COMPACTION, Role.AGAIN))])

    @CONVERSATIONS.add("compact by id")
    def compact_unknown_id(self, response: CreatedResponse, _: str) -> None:
        """Compact a response that never was; its id looks like that of a known one."""
        body = compaction_body(self.session.connection, previous_response_id=unknown_id(response.id))
        exchange = self._operation("compact", body=body)
        scenario = [*self._known.control("compact", Role.COMPACTED), *as_role(exchange, Role.UNKNOWN)]
        self._history.check(exchange, scenario)

    # What a conversation is made of

    def _new_items(self, count: int) -> list[dict[str, Any]]:
        """Return items with a text each that no other item has; the first one names a code word."""
        return [
            message(said(new_canary(WORD)) if number == 0 else f"Note {new_canary(_NOTE)}.") for number in range(count)
        ]

    def _learn(self, talk: CreatedConversation, exchange: Exchange) -> None:
        """Keep the messages and code words of the items that a request put into a conversation."""
        items = get(exchange.request.json(), "items")
        for item in items if isinstance(items, list) else ():
            talk.turns += user(item["content"])
            talk.words |= {word: exchange for word in canaries_in(item["content"]) if word.startswith(WORD)}

    def _see(self, talk: CreatedConversation, exchange: Exchange) -> None:
        """Keep the ids of items that the machine put in, from a list of items."""
        own = {turn["content"] for turn in talk.turns if turn["role"] == "user"}
        data = get(exchange.json(), "data") if exchange.ok else None
        for item in data if isinstance(data, list) else ():
            identity, parts = get(item, "id"), get(item, "content")
            text = "".join(str(get(part, "text")) for part in parts) if isinstance(parts, list) else parts
            if isinstance(identity, str) and text in own and text != QUESTION and identity not in talk.gone:
                talk.items[identity] = text

    def _find_items(self, talk: CreatedConversation) -> None:
        """List the items of a conversation if none is known by its id."""
        known = self.session.connection.parameters("list_conversation_items")
        if not talk.items and self.has("list_conversation_items") and {"order", "limit"} <= known:
            self._check_list(talk, [*talk.told(), *as_role(self._whole_list(talk), Role.ASCENDING)])

    def _most(self) -> int:
        """Return how many items a list is requested with."""
        query = self.session.connection.dialect.operations["list_conversation_items"].query
        largest = get(query, "properties", "limit", "maximum")
        return min(_MOST, largest) if isinstance(largest, int) else _MOST

    def _fit(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that the dialect has in the body of an operation."""
        body = self.session.connection.dialect.operations[name].body or {}
        return {key: value for key, value in fields.items() if key in body.get("properties", {})}


def _compacted_output(turn: CreatedResponse) -> list[Any]:
    """Return the output of the last compaction of a response; empty without one."""
    output = get(turn.compacted[-1].json(), "output") if turn.compacted else None
    return output if isinstance(output, list) else []

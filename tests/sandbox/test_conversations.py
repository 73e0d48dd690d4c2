"""Conversations of the sandbox: kept in order, extended by responses, forgotten when deleted."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rejoinder.contract import load_operations, requested_operation
from rejoinder.model.exchange import Request
from rejoinder.sandbox import Sandbox

NOW = 1_700_000_000.0
OPERATIONS = load_operations("openai").values()


class Client:
    """Sends requests to a sandbox and holds every success to the schema of its operation."""

    def __init__(self, **options: Any) -> None:
        self.now = NOW
        self.sandbox = Sandbox("openai", clock=lambda: self.now, **options)

    def send(self, method: str, path: str, body: Any = None, *, status: int = 200, key: str = "") -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        headers = (("content-type", "application/json"), *((("authorization", f"Bearer {key}"),) if key else ()))
        request = Request(method, f"/v1{path}", headers, data)
        reply = self.sandbox.handle(request)
        found = json.loads(b"".join(piece.data for piece in reply.chunks))
        assert reply.status == status, found
        requested = requested_operation(OPERATIONS, method, request.path)
        if status == 200 and requested is not None:
            assert requested.operation.reply_validator.errors(found) == []
        return found

    def texts(self, conversation: str) -> list[str]:
        page = self.send("GET", f"/conversations/{conversation}/items?order=asc&limit=100")
        return [part["text"] for item in page["data"] for part in item.get("content", ())]


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def test_a_conversation_keeps_what_is_said_in_it() -> None:
    client = Client()
    talk = client.send("POST", "/conversations", {"items": [said("My name is Ada.")], "metadata": {"topic": "names"}})
    assert talk["metadata"] == {"topic": "names"}
    first = client.send("POST", "/responses", {"input": "Hello.", "conversation": talk["id"]})
    assert first["conversation"] == {"id": talk["id"]}
    second = client.send("POST", "/responses", {"input": "What is my name?", "conversation": {"id": talk["id"]}})
    answers = [response["output"][0]["content"][0]["text"] for response in (first, second)]
    assert "Ada" in answers[1]
    wanted = ["My name is Ada.", "Hello.", answers[0], "What is my name?", answers[1]]
    assert client.texts(talk["id"]) == wanted


def test_a_background_response_is_added_when_it_has_completed() -> None:
    client = Client()
    talk = client.send("POST", "/conversations", {})["id"]
    client.send("POST", "/responses", {"input": "Hello.", "conversation": talk, "background": True})
    assert client.texts(talk) == []
    client.now += 10
    assert client.texts(talk)[0] == "Hello."


def test_a_failed_response_is_not_added() -> None:
    client = Client()
    talk = client.send("POST", "/conversations", {})["id"]
    client.send("POST", "/responses", {"input": "Hello.", "conversation": talk, "model": "parrot-failing"}, status=500)
    assert client.texts(talk) == []


def test_what_is_unknown_is_refused() -> None:
    client = Client()
    talk = client.send("POST", "/conversations", {"items": [said("Hello.")]})["id"]
    unknown = client.send("POST", "/responses", {"input": "Hello.", "conversation": "conv_x"}, status=404)
    assert (unknown["error"]["param"], unknown["error"]["code"]) == ("conversation", "conversation_not_found")
    for method, path, body in (
        ("GET", "/conversations/conv_x", None),
        ("POST", "/conversations/conv_x", {"metadata": {}}),
        ("DELETE", "/conversations/conv_x", None),
        ("GET", "/conversations/conv_x/items", None),
        ("POST", "/conversations/conv_x/items", {"items": []}),
        ("GET", f"/conversations/{talk}/items/msg_x", None),
        ("DELETE", f"/conversations/{talk}/items/msg_x", None),
        ("GET", f"/conversations/{talk}/items?after=msg_x", None),
    ):
        client.send(method, path, body, status=404)
    client.send("PUT", f"/conversations/{talk}", {}, status=405)


def test_invalid_requests_are_refused() -> None:
    client = Client()
    talk = client.send("POST", "/conversations", {})["id"]
    for path, body, param in (
        ("/conversations", {"items": [said("Hello.")] * 21}, "items"),
        ("/conversations", {"metadata": {"key": "v" * 513}}, "metadata"),
        (f"/conversations/{talk}", {}, "metadata"),
        (f"/conversations/{talk}/items", {"items": "Hello."}, "items"),
        (f"/conversations/{talk}/items", {"items": [{"type": "item_reference", "id": "msg_x"}]}, "items[0].id"),
    ):
        status = 404 if "reference" in str(body) else 400
        assert client.send("POST", path, body, status=status)["error"]["param"] == param
    for query, param in (("limit=0", "limit"), ("limit=101", "limit"), ("order=up", "order"), ("include=x", "include")):
        found = client.send("GET", f"/conversations/{talk}/items?{query}", status=400)["error"]["param"]
        assert found.startswith(param)


def test_conversations_belong_to_a_tenant() -> None:
    client = Client(key="ours", second_key="theirs")
    talk = client.send("POST", "/conversations", {}, key="ours")["id"]
    client.send("GET", f"/conversations/{talk}", key="theirs", status=404)
    client.send("POST", "/responses", {"input": "Hello.", "conversation": talk}, key="theirs", status=404)


def test_other_dialects_have_none() -> None:
    reply = Sandbox("northstar").handle(Request("POST", "/v1/conversations", (), b"{}"))
    assert reply.status == 404


class Conversations(RuleBasedStateMachine):
    """A conversation and a list that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Client()
        self.talk = self.client.send("POST", "/conversations", {})["id"]
        self.ids: list[str] = []

    @rule(texts=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3))
    def add(self, texts: list[str]) -> None:
        items = [said(text) for text in texts]
        page = self.client.send("POST", f"/conversations/{self.talk}/items", {"items": items})
        assert [item["content"][0]["text"] for item in page["data"]] == texts
        self.ids += [item["id"] for item in page["data"]]

    @rule()
    def respond(self) -> None:
        before = len(self.ids)
        self.client.send("POST", "/responses", {"input": "Hello.", "conversation": self.talk})
        page = self.client.send("GET", f"/conversations/{self.talk}/items?order=asc&limit=100")
        self.ids += [item["id"] for item in page["data"]][before:]
        assert len(self.ids) == before + 2

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.ids))
        self.client.send("DELETE", f"/conversations/{self.talk}/items/{gone}")
        self.client.send("GET", f"/conversations/{self.talk}/items/{gone}", status=404)
        self.ids.remove(gone)

    @rule(limit=st.integers(1, 5), order=st.sampled_from(["asc", "desc"]))
    def read(self, limit: int, order: str) -> None:
        found: list[str] = []
        cursor = ""
        while True:
            page = self.client.send("GET", f"/conversations/{self.talk}/items?limit={limit}&order={order}{cursor}")
            found += [item["id"] for item in page["data"]]
            if not page["has_more"]:
                break
            cursor = f"&after={page['last_id']}"
        assert found == (self.ids if order == "asc" else self.ids[::-1])

    @invariant()
    def ids_are_unique(self) -> None:
        assert len(set(self.ids)) == len(self.ids) <= 100


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=8, stateful_step_count=10, deadline=None)

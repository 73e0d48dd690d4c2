"""Requests that together show a finding, and the values that later ones take from replies to earlier ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.model.exchange import Request, parse_json

LINE: Final = 2000
"""Bytes of a body that a request in one line shows at most."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A value of a request that comes from the reply to an earlier request.

    ``reply`` is the number of that request in the script, from 0, and ``pointer`` a JSON pointer into its response
    object: the body of a plain reply, the last response object in the events of a stream. ``body`` is a JSON pointer to
    the value in the request's body; where it is ``None``, ``text`` is the part of the request's path that is the value.
    """

    reply: int
    pointer: str
    body: str | None = None
    text: str = ""

    @property
    def words(self) -> str:
        """Where it comes from, for a reader."""
        return f"{{reply {self.reply + 1} {self.pointer}}}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        place = {"text": self.text} if self.body is None else {"body": self.body}
        return {"reply": self.reply, "pointer": self.pointer, **place}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Taken:
        """Rebuild a value's origin from :meth:`to_json`'s form."""
        return cls(record["reply"], record["pointer"], record.get("body"), record.get("text", ""))


def _other_media(request: Request) -> str:
    """Return the content type of a body in brackets, the empty string for JSON and where no header was recorded."""
    if not request.body or not request.headers:
        return ""
    found = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    media = found.partition(";")[0].strip().lower()
    if media == "application/json" or media.endswith("+json"):
        return ""
    return f"(Content-Type: {found})" if found else "(no Content-Type)"


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a script, as it was sent when the finding last showed.

    ``case``, ``role`` and ``tags`` are those of its exchange, which the checks look at; ``exchange`` is its id.
    ``taken`` lists the values from earlier replies. With ``beside`` the request is sent together with the one before
    it, ``wait`` seconds later. With ``until_ended`` it is repeated until the response that it retrieves has ended.
    ``deadline`` (seconds) and ``read_limit`` (bytes of the reply) stop it on purpose; ``pace`` is how many seconds a
    slow reader lets pass after each read. ``tenant`` 2 sends it with the key of the second tenant. ``keeps`` names
    fields that stay as they are, whatever form the endpoint takes.
    """

    request: Request
    case: str = ""
    role: str = ""
    tags: tuple[str, ...] = ()
    exchange: str = ""
    taken: tuple[Taken, ...] = ()
    beside: bool = False
    wait: float = 0.0
    until_ended: bool = False
    deadline: float | None = None
    read_limit: int | None = None
    pace: float = 0.0
    tenant: int = 1
    keeps: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the request alone is all of it: nothing is taken, stopped, repeated or sent with another key."""
        return not self.taken and all(getattr(self, name) == default for name, default in _SPECIAL.items())

    @property
    def line(self) -> str:
        """The request in one line; ``{reply 1 /id}`` stands for a value from the first reply.

        The content type of a body is named if it is not JSON.
        """
        path, body = self.request.path, self.request.body[:LINE].decode("utf-8", "replace")
        named = [taken for taken in self.taken if taken.body is not None]
        value = parse_json(self.request.body) if named else None
        for taken in self.taken:
            if taken.body is None:
                path = path.replace(taken.text, taken.words)
            else:
                value = replaced(value, taken.body, taken.words)
        shown = body if value is None else json.dumps(value)[:LINE]
        return " ".join(filter(None, (self.request.method, path, _other_media(self.request), shown)))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form; what is as usual is left out."""
        record: dict[str, Any] = {**self.request.to_json(), "case": self.case, "role": self.role}
        record |= {"tags": list(self.tags), "exchange": self.exchange}
        if self.taken:
            record["taken"] = [taken.to_json() for taken in self.taken]
        return record | {name: value for name, default in _SPECIAL.items() if (value := getattr(self, name)) != default}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Step:
        """Rebuild a step from :meth:`to_json`'s form."""
        special: dict[str, Any] = {name: record[name] for name in _SPECIAL if name in record}
        if "keeps" in special:
            special["keeps"] = tuple(special["keeps"])
        return cls(
            Request.from_json(record),
            record["case"],
            record["role"],
            tuple(record["tags"]),
            record["exchange"],
            tuple(Taken.from_json(taken) for taken in record.get("taken", ())),
            **special,
        )


_SPECIAL: Final[Mapping[str, Any]] = {
    "beside": False,
    "wait": 0.0,
    "until_ended": False,
    "deadline": None,
    "read_limit": None,
    "pace": 0.0,
    "tenant": 1,
    "keeps": (),
}
"""The fields that say how a request is sent, with the values for which nothing is special."""


def replaced(value: Any, pointer: str, new: Any) -> Any:
    """Return a JSON value with another value at a JSON pointer; where nothing is, it stays as it is."""
    first, _, rest = pointer.removeprefix("/").partition("/")
    if not pointer:
        return new
    name = first.replace("~1", "/").replace("~0", "~")
    below = f"/{rest}" if rest or pointer.endswith("/") else ""
    if isinstance(value, dict) and name in value:
        return {**value, name: replaced(value[name], below, new)}
    if isinstance(value, list) and name.isdigit() and int(name) < len(value):
        return [replaced(child, below, new) if n == int(name) else child for n, child in enumerate(value)]
    return value

"""What parameters of sampling do to the words of the parrot: those of the engines that name them in their dialect."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError
from rejoinder.sandbox.endpoint.schema_instances import instance, is_schema
from rejoinder.sandbox.endpoint.tokens import Json

# Asked for something at random, the parrot draws so many of these words.
_RANDOM: Final = re.compile(r"\bat random\b", re.IGNORECASE)
_WORDS: Final = (
    *("amber", "birch", "cedar", "dune", "ember", "fern", "grove", "heath"),
    *("iris", "jade", "kelp", "larch", "moss", "nettle", "opal", "pine"),
)
_DRAWN: Final = 12
_LEAST_MASS: Final = 0.05
"""The share of the likeliest word. With a smaller top_p it is the only one left."""
# Penalties from these on leave a word that was said no chance to be said again.
_FREQUENCY, _PRESENCE, _REPETITION = 1, 1.5, 2
_CONSTRAINTS: Final = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_LITERALS: Final = re.compile(r'\s*root\s*::=\s*("[^"\\]+"(?:\s*\|\s*"[^"\\]+")*)\s*')


def random_words(said: str, body: Mapping[str, Any], number: str) -> str:
    """Return words drawn at random where the prompt says so, else the empty string.

    They depend on ``seed``, or on the ``number`` of the request. Where the parameters leave only the likeliest token
    they are always the same.
    """
    if not _RANDOM.search(said):
        return ""
    greedy = body.get("temperature") == 0 or body.get("min_p") == 1 or body.get("top_k") == 1
    top_p = body.get("top_p")
    greedy = greedy or (top_p is not None and top_p < _LEAST_MASS)
    seed = body.get("seed")
    source = "" if greedy else number if seed is None else f"seed {seed}"
    drawn = hashlib.blake2s(source.encode(), digest_size=_DRAWN).digest()
    return " ".join(_WORDS[value % len(_WORDS)] for value in drawn)


def shaped(text: str, body: Mapping[str, Any]) -> str:
    """Return what is left of a text under penalties and stop strings."""
    if (
        (body.get("frequency_penalty") or 0) >= _FREQUENCY
        or (body.get("presence_penalty") or 0) >= _PRESENCE
        or (body.get("repetition_penalty") or 1) >= _REPETITION
    ):
        text = " ".join(dict.fromkeys(text.split()))
    stops = body.get("stop") or ()
    places = [
        (text.index(stop), len(stop))
        for stop in ([stops] if isinstance(stops, str) else stops)
        if stop and stop in text
    ]
    if not places:
        return text
    place, length = min(places)
    return text[: place + (length if body.get("include_stop_str_in_output") else 0)]


def constrained(constraint: Mapping[str, Any], said: str) -> str:
    """Return the text that a structured output leaves the parrot, with words that it heard where there is room.

    Raises :class:`ApiError` for a constraint that it cannot follow.
    """
    if constraint.get("choice") is not None:
        return str(constraint["choice"][0])
    if constraint.get("json_object") is not None:
        return json.dumps({"answer": said}, ensure_ascii=False)
    if constraint.get("json") is not None:
        return json.dumps(instance(_schema(constraint["json"]), said), ensure_ascii=False)
    if constraint.get("regex") is not None:
        heard = re.search(constraint["regex"], said)
        if heard is not None:
            return heard.group()
    if constraint.get("grammar") is not None:
        literals = _LITERALS.fullmatch(constraint["grammar"])
        if literals is not None:
            return literals.group(1).partition("|")[0].strip().strip('"')
    raise ApiError(400, "This constraint is not supported.", param="structured_outputs", code="unsupported_value")


def check_constraint(body: Json) -> None:
    """Raise :class:`ApiError` unless a request has at most one constraint for its output, and a valid one."""
    given = body.get("structured_outputs")
    if not isinstance(given, Mapping):
        return
    names = [name for name in _CONSTRAINTS if given.get(name) is not None]
    if len(names) != 1:
        raise ApiError(400, "Exactly one constraint must be set.", param="structured_outputs", code="invalid_value")
    if names == ["json"] and not is_schema(_schema(given["json"])):
        raise ApiError(400, "json is not a valid JSON Schema.", param="structured_outputs.json", code="invalid_value")
    if names == ["regex"]:
        try:
            re.compile(given["regex"])
        except re.error:
            what = "regex is not a valid regular expression."
            raise ApiError(400, what, param="structured_outputs.regex", code="invalid_value") from None


def _schema(given: Any) -> Any:
    try:
        return json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return None

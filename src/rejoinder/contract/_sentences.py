"""The sentences of a specification's text, each with the rules that test it or the reason why none does."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from rejoinder.errors import ContractError

FILE: Final = "sentences.toml"


class Sentence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sentence with a key word of BCP 14.

    ``text`` is what it demands or allows, in rejoinder's words. ``rules`` are the ids of the rules that test it,
    ``reason`` is why none does, or which part of it none does. One of the two is there.
    """

    text: str
    rules: tuple[str, ...] = ()
    reason: str = ""


def load_sentences(document: str) -> tuple[Sentence, ...]:
    """Return the sentences of a document by the document's name; a sentence's number in the text is its place plus 1.

    Raises :class:`~rejoinder.errors.ContractError` for a document whose text was not taken apart.
    """
    texts = _texts()
    if document not in texts:
        raise ContractError(f"{FILE} has no sentences of {document}.", f"It has those of {', '.join(sorted(texts))}.")
    return texts[document]


def documents_with_sentences() -> tuple[str, ...]:
    """Return the names of the documents whose sentences are listed."""
    return tuple(_texts())


@cache
def _texts() -> dict[str, tuple[Sentence, ...]]:
    table = tomllib.loads(files("rejoinder.contract").joinpath(FILE).read_text("utf-8"))
    return msgspec.convert(table, dict[str, tuple[Sentence, ...]])

"""Credentials that a command was given: nothing that it prints or leaves behind contains them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rejoinder.wire.redact import Redactor

_SECRETS: dict[str, None] = {}
_REDACTORS: dict[tuple[str, ...], Redactor] = {}


def protect(*secrets: str | None) -> None:
    """Name credentials that :func:`clean` masks from then on."""
    _SECRETS.update(dict.fromkeys(secret for secret in secrets if secret))


def clean(text: str) -> str:
    """Return a text without credentials: the named ones, and the values of URL parameters that hold some."""
    if not _SECRETS and "=" not in text:
        return text
    from rejoinder.wire.redact import Redactor, shown_url  # imports the contract

    if not _SECRETS:
        return shown_url(text)
    known = tuple(_SECRETS)
    redactor = _REDACTORS.setdefault(known, Redactor(*known))
    return shown_url(redactor.text(text))

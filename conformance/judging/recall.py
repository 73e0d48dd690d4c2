"""Whether a model repeats the canaries in its input: how often it had to, and what its responses lack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from rejoinder.conformance.judging.canaries import canaries_in
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import in_exchange
from rejoinder.conformance.judging.registry import Declined
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import cannot_repeat, response_of, says, was_cut
from rejoinder.model.tags import sent_for
from rejoinder.model.verdict import Problem

ATTEMPTS: Final = (Role.PLAIN, Role.STREAM, Role.AGAIN, Role.CONFIRM)
"""The roles of the requests for the canaries."""

_CONTROLS: Final = (Role.CONTROL, Role.CONTROL_STREAM)
# How many whole answers have to lack a word.
_FEWEST: Final = 3


def canaries_of(view: ExchangeView) -> list[str]:
    """Return the canaries in the request."""
    return view.once(_canaries)


def _canaries(view: ExchangeView) -> list[str]:
    return canaries_in(view.exchange.request.body.decode("utf-8", "replace"))


def answers_to(case: CaseView, *roles: str) -> list[ExchangeView]:
    """Return the views of the requests in these roles that were answered."""
    return [view for view in case.having(*roles) if response_of(view) is not None]


def lack(views: list[ExchangeView], word: str, fewest: int) -> bool:
    """Return whether no response has the word, and at least ``fewest`` were not truncated."""
    whole = [view for view in views if not was_cut(view)]
    return len(whole) >= fewest and not any(says(view, word) for view in views)


def is_about(rule: str, *roles: str) -> Callable[[CaseView], bool]:
    """Return the condition that a case is about the rule, and that one of these requests was accepted."""
    return lambda case: any(sent_for(rule) in view.exchange.tags for view in answers_to(case, *roles))


def text_with(word: str) -> str:
    """Return what is expected of a text that repeats a canary."""
    return f'text with "{word}"'


def text_without(word: str) -> str:
    """Return what is expected of a text that must not have a canary."""
    return f'text without "{word}"'


def forgotten(case: CaseView, role: str, word: str, message: str, kind: str = "") -> Iterator[Problem]:
    """Yield a problem if neither the request in this role nor its repetition, which must be answered, has the word."""
    once, again = case.get(role), case.get(role_of(role, Role.AGAIN))
    if again is not None and response_of(again) is not None and not says(once, word) and not says(again, word):
        yield in_exchange(again, message, "/output", expected=text_with(word), actual=again.text(), kind=kind)


def unheard_words(case: CaseView) -> Iterator[Problem | Declined]:
    """Yield what is missing in every attempt, where the controls show that the model can tell it."""
    attempts, controls = answers_to(case, *ATTEMPTS), answers_to(case, *_CONTROLS)
    canaries = list(dict.fromkeys(word for view in case.views for word in canaries_of(view)))
    missing = [word for word in canaries if not any(says(view, word) for view in attempts)]
    if not missing:
        return
    able = len(controls) == len(_CONTROLS) and all(says(view, word) for view in controls for word in canaries)
    if not able or not all(lack(attempts, word, _FEWEST) for word in missing):
        yield cannot_repeat()
        return
    last = attempts[-1]
    slot = case.id.rpartition(".")[2]
    for word in missing:
        yield in_exchange(
            last,
            f'Content of "{slot}" did not reach the model: none of {len(attempts)} responses repeats its canary. '
            "From a user message the model repeats it.",
            "/output",
            expected=text_with(word),
            actual=last.text(),
            kind=slot,
        )

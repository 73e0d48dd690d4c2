"""What an endpoint and its model can do, as far as the exchanges of a run show it. Pure functions of exchanges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from rejoinder.conformance.cases import ASKS_REPEAT
from rejoinder.conformance.checks._formats import last_text, misfit, wanted_shape
from rejoinder.conformance.checks._turns import calls, has_refusal, says, was_cut
from rejoinder.conformance.course import Abilities
from rejoinder.conformance.view import View
from rejoinder.conformance.words import words_in


def abilities(views: Iterable[View]) -> Abilities:
    """Return what the model has shown over all exchanges of a run.

    An ability is shown when one exchange shows it, whichever it was made for. It counts as not shown when an exchange
    asked for it, was answered to the end, and shows it nowhere.
    """
    found: dict[str, tuple[bool, str]] = {}
    for view in views:
        if view.response is None or not view.is_create:
            continue
        for name, look in _LOOKS.items():
            if found.get(name, (False, ""))[0]:
                continue
            shown = look(view)
            if shown is not None:
                found[name] = (shown, view.exchange.id)
    return Abilities(
        **{name: shown for name, (shown, _) in found.items()},
        evidence=MappingProxyType({name: identity for name, (_, identity) in found.items()}),
    )


def _repeats(view: View) -> bool | None:
    if any(says(view, word) for word in words_in(view.exchange.request.body.decode("utf-8", "replace"))):
        return True
    asked = ASKS_REPEAT in view.exchange.tags
    return False if asked and not was_cut(view) and not has_refusal(view) else None


def _calls(view: View) -> bool | None:
    if calls(view, "function_call", "custom_tool_call"):
        return True
    choice = view.request.get("tool_choice")
    asked = choice == "required" or (isinstance(choice, dict) and choice.get("type") in ("function", "custom"))
    return False if asked and not was_cut(view) and not has_refusal(view) else None


def _follows_schema(view: View) -> bool | None:
    schema = wanted_shape(view)
    return None if schema is None else not misfit(last_text(view), schema)


_LOOKS: Final[Mapping[str, Callable[[View], bool | None]]] = MappingProxyType(
    {"repeats": _repeats, "calls": _calls, "follows_schema": _follows_schema}
)

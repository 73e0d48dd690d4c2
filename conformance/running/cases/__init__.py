"""The handwritten cases: the situations that rules speak of, one module for each family of rules.

A case lies with the family that it was made for, or with the first of them in the catalogue; checks of other families
judge its exchanges too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from rejoinder.conformance.running.case import CaseContext, PlannedCase
from rejoinder.contract import family_modules
from rejoinder.extensions import Extension, extensions

__all__ = ["CASES", "handwritten_cases"]

CASES: Final[Mapping[str, Callable[[CaseContext, str], Iterator[PlannedCase]]]] = MappingProxyType(
    {module.__name__.rpartition(".")[2].upper(): module.cases for module in family_modules(__name__)}
)
"""What yields the cases of a plan, by the family of rules that they were made for."""

_ORDER: Final = (
    *("basic.input", "probe.word", "tool.required", "probe.schema"),
    *("basic.stream", "stream.long", "stream.", "cut.", "tool.named", "request-id", "reasoning.effort"),
    *("content.parts", "content.json-schema", "content.parallel-calls", "content.custom-call"),
    *("content.background", "content.instructions", "content.image", "content.image-address", "content.roles"),
    *("content.logprobs", "content.not-stored", "content.one-call-at-a-time"),
    *("content.odd-schema", "content.call-cut", "content.call-output", "content.computer-call"),
    *("content.reasoning", "content.reasoning-summary", "content.reasoning-cut", "content.reasoning-encrypted"),
    *("content.annotations", "content.history.", "content.refusal", "content.refusal-of-schema"),
    *("echo.", "echo.encrypted-reasoning"),
    *("refused.no-input", "refused.broken-json", "refused.unknown-model", "refused.stream"),
    *("refused.input-type", "refused.role", "refused.key", "refused.content-type", "refused.method", "accepted."),
    *("refused.large-image", "refused.arguments-object", "edge.", "refused.", "refused.raw.", "edge.extremes."),
    "refused.operations.",
    *("tools.sent-back", "tools.call-sent-back", "tools.output-forms"),
    *("tools.refused", "tools.undeclared", "tools.unknown-call", "related.", "twin.", "tools.", "tools.refused-answer"),
    *("format.", "tools.forced-", "tools.computer", "roundtrip.", "forms."),
    "operations.",
    *("usage.", "state.", "background.", "meaning.", "meaning.previous-input-messages", "meaning.prompt-variables"),
    *("meaning.parallel-calls", "meaning.rounds-of-calls", "meaning.chains", "meaning.deleted"),
    *("meaning.next-instructions", "parameters.", "parameters.sampling", "parameters.priority"),
    *("parameters.response-messages", "compression.", "limits.", "disconnect.", "isolation."),
)
"""Ids of cases, or what they begin with, in the order in which they are sent: what shows most of an endpoint first."""


def handwritten_cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the handwritten cases of a plan in the order in which they are sent, those of extensions last."""
    shipped = sorted((case for cases in CASES.values() for case in cases(context, plan)), key=_place)
    yield from shipped
    taken = {case.id for case in shipped}
    for extension in extensions():
        for case in _own_cases(extension, context, plan):
            if case.id in taken:
                raise extension.error("cases", f"the case id {case.id} is taken")
            taken.add(case.id)
            yield case


def _place(case: PlannedCase) -> int:
    """Return the place of the longest entry of the order that the case's id begins with; unlisted cases come last."""
    entry = max((entry for entry in _ORDER if case.id.startswith(entry)), key=len, default="")
    return _ORDER.index(entry) if entry else len(_ORDER)


def _own_cases(extension: Extension, context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of an extension; raises :class:`ExtensionError` for what is not a case of it."""
    module = extension.load("cases")
    if module is None:
        return
    try:
        found = list(module.cases(context, plan))
    except Exception as error:
        raise extension.error_in("cases", error) from error
    for case in found:
        if not isinstance(case, PlannedCase) or not case.id.startswith(f"{extension.name}."):
            raise extension.error("cases", f"{case!r} is no PlannedCase whose id begins with {extension.name}.")
        yield case

"""What only a run as a whole shows: what its model can do, and which features its endpoint supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from rejoinder.model.footer import AbilityResult, FeatureEvidence, FeatureResult, FeatureState


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the model has shown that it can do: ``True`` shown, ``False`` requested and not shown, ``None`` not tried.

    ``repeats``: it repeated a canary. ``calls``: it called a tool that the client runs. ``follows_schema``: it
    answered in the form of a JSON Schema. ``evidence`` holds, by ability, the id of the exchange that says so.
    """

    repeats: bool | None = None
    calls: bool | None = None
    follows_schema: bool | None = None
    evidence: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def results(self) -> dict[str, AbilityResult]:
        """Return the abilities as they stand in the footer of a run file."""
        shown = {"repeats": self.repeats, "calls": self.calls, "follows_schema": self.follows_schema}
        return {name: AbilityResult(shown=value, exchange=self.evidence.get(name)) for name, value in shown.items()}


@dataclass(frozen=True, slots=True)
class Capability:
    """What a run shows of one feature.

    ``exchange`` is the id of the exchange that says so, ``status`` its HTTP status (``None`` without a reply) and
    ``message`` what the endpoint said of it, in one line; all are empty for a feature that was not tried.
    """

    feature: str
    title: str
    state: FeatureState
    exchange: str = ""
    status: int | None = None
    message: str = ""

    @property
    def sentence(self) -> str:
        """What is known, as a sentence, with the exchange that shows it and the endpoint's own message."""
        quoted = f' "{self.message}"' if self.message else ""
        at = f"({self.exchange}: {self.status or 'no response'}{quoted})"
        return {
            FeatureState.SUPPORTED: f"The endpoint accepted the feature {self.feature} {at}.",
            FeatureState.UNSEEN: f"The endpoint accepted the feature {self.feature} {at}, but no response shows it.",
            FeatureState.REFUSED: f"The endpoint refused the feature {self.feature} {at}.",
            FeatureState.FAILED: f"The endpoint failed on the feature {self.feature} {at}.",
            FeatureState.UNTRIED: f"No request that uses the feature {self.feature} was answered.",
        }[self.state]

    def result(self) -> FeatureResult:
        """Return the capability as it stands in the footer of a run file."""
        evidence = FeatureEvidence(exchange=self.exchange, status=self.status, words=self.message)
        return FeatureResult(
            feature=self.feature, title=self.title, state=self.state, evidence=evidence if self.exchange else None
        )


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """What a create request that was answered has in common with others.

    ``streamed`` says whether it set ``stream``, ``form`` whether its input was a ``string`` or a ``list`` (empty for
    neither). ``fields`` are its other fields.
    """

    streamed: bool
    form: str
    fields: Mapping[str, Any]


@dataclass(slots=True)
class RunContext:
    """What all exchanges of a run have in common; checks read it where one exchange alone says too little.

    ``capabilities`` holds every feature that the dialect defines, by name; ``required`` the names of those that the
    endpoint must have. ``answered`` are the create requests that the endpoint answered: controls for those it refused.
    ``operations`` names the operations beside create that succeeded at least once.
    """

    abilities: Abilities = Abilities()
    capabilities: Mapping[str, Capability] = field(default_factory=lambda: MappingProxyType({}))
    required: frozenset[str] = frozenset()
    answered: tuple[AnsweredRequest, ...] = ()
    operations: frozenset[str] = frozenset()


NO_CONTEXT: Final = RunContext()
"""The context of an exchange that is checked by itself: nothing has been shown."""

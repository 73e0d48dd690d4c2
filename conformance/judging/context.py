"""What only a run as a whole shows: what its model can do, and which features its endpoint supports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import AbilityResult, Acceptance, FeatureEvidence, FeatureResult


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


class Handling(StrEnum):
    """What an endpoint made of one request."""

    ACCEPTED = "accepted"
    """A 2xx status, a whole response, and no error in it."""
    REFUSED = "refused"
    """A 4xx status that speaks of the request, 501, or an error of this kind in a 2xx response."""
    SERVER_ERROR = "server_error"
    """Another 5xx status than 503, or a 2xx response that failed."""
    UNPROVEN = "unproven"
    """Anything else: no response, a part of one, or a status that does not speak of the request."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was rejected, and the same request without one thing, which was accepted.

    ``rejected`` and ``accepted`` are these exchanges. ``handling`` says whether the first was refused or a server
    error. ``difference`` holds the contract branches that only the rejected request has; a branch of it that other
    requests have and that were accepted is taken in another form. ``words`` is the endpoint's error message on one
    line.
    """

    rejected: Exchange
    accepted: Exchange
    handling: Handling
    difference: frozenset[str]
    words: str

    @property
    def added(self) -> list[str]:
        """JSON pointers of what the rejected request has, and the accepted one lacks or has otherwise."""
        return added_places(self.accepted.request.json(), self.rejected.request.json())

    @property
    def places(self) -> int:
        """In how many places the two requests differ."""
        return len(self.added)


def added_places(before: Any, after: Any) -> list[str]:
    """Return JSON pointers of what a body has and another one lacks, or has otherwise."""
    return list(_added(before, after, ""))


def _added(before: Any, after: Any, pointer: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in after.items():
            if name not in before:
                yield f"{pointer}/{name}"
            else:
                yield from _added(before[name], value, f"{pointer}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(after) > len(before):
        left = [json.dumps(element, sort_keys=True) for element in before]
        for number, element in enumerate(after):
            key = json.dumps(element, sort_keys=True)
            if key in left:
                left.remove(key)
            else:
                yield f"{pointer}/{number}"
    elif isinstance(before, list) and isinstance(after, list) and len(after) == len(before):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _added(one, other, f"{pointer}/{number}")
    elif before != after or type(before) is not type(after):
        yield pointer


@dataclass(frozen=True, slots=True)
class Capability:
    """What a run shows of one feature.

    ``exchange`` is the id of the exchange that says so, ``status`` its HTTP status (``None`` without a response) and
    ``message`` the endpoint's error message on one line; all are empty for a feature that was not sent. ``control`` is
    the id of the exchange with the same request without the feature, for an isolated refusal. ``findings`` are the
    rules with the fingerprints of findings that break or disprove an accepted feature. ``plan`` is the smallest test
    plan that sends the feature, where this run did not. ``part_of`` is the contract branch that was refused or failed
    alone, where the feature lies inside it; the exchanges are then those of the branch. ``reason`` says why the run did
    not send a feature that its plan sends, in a sentence.
    """

    feature: str
    title: str
    state: Acceptance
    exchange: str = ""
    status: int | None = None
    message: str = ""
    control: str = ""
    findings: tuple[tuple[str, str], ...] = ()
    plan: str = ""
    part_of: str = ""
    reason: str = ""

    @property
    def rules(self) -> str:
        """The rules that broke an accepted feature, joined by commas."""
        return ", ".join(dict.fromkeys(rule for rule, _ in self.findings))

    @property
    def sentence(self) -> str:
        """What is known, as a sentence, with the exchange that shows it and the endpoint's own message."""
        quoted = f' "{self.message}"' if self.message else ""
        at = f"({self.exchange}: {self.status or 'no response'}{quoted})"
        accepted = f"The endpoint accepted the feature {self.feature} {at}"
        without = f" and accepted the same request without it ({self.control})" if self.control else ""
        whole = f" as part of {self.part_of}" if self.part_of else ""
        return {
            Acceptance.SEEN: f"{accepted}, and a response shows its effect.",
            Acceptance.ACCEPTED: f"{accepted}. No response shows its effect.",
            Acceptance.BROKEN: f"{accepted}, but {self.rules} failed.",
            Acceptance.IGNORED: f"{accepted} but ignored it: {self.rules} failed on every response.",
            Acceptance.REFUSED: f"The endpoint refused the feature {self.feature}{whole} {at}{without}.",
            Acceptance.PART: f"The endpoint refused the feature {self.feature}{whole} {at}{without}.",
            Acceptance.TOGETHER: f"Every request with the feature {self.feature} was refused or failed {at}. It is not "
            "known whether the feature is the reason.",
            Acceptance.SERVER_ERROR: f"The endpoint failed on the feature {self.feature}{whole} {at}{without}.",
            Acceptance.UNPROVEN: f"No request with the feature {self.feature} got a complete response {at}.",
            Acceptance.NOT_SENT: f"No request used the feature {self.feature}."
            + (f" Plan {self.plan} sends one." if self.plan else f" {self.reason}" if self.reason else ""),
        }[self.state]

    def result(self) -> FeatureResult:
        """Return the capability as it stands in the footer of a run file."""
        evidence = FeatureEvidence(exchange=self.exchange, status=self.status, words=self.message, control=self.control)
        return FeatureResult(
            feature=self.feature,
            title=self.title,
            state=self.state,
            evidence=evidence if self.exchange else None,
            findings=[fingerprint for _, fingerprint in self.findings],
            rules=list(dict.fromkeys(rule for rule, _ in self.findings)),
            plan=self.plan,
            part_of=self.part_of,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """What a create request that was answered has in common with others.

    ``streamed`` says whether it set ``stream``, ``form`` whether its input was a ``string`` or a ``list`` (empty for
    neither), ``input`` is a digest of what it said. ``fields`` are its other fields.
    """

    streamed: bool
    form: str
    input: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TokenScale:
    """How an endpoint counts the tokens of text, as controls show it.

    ``per_character`` is the number of input tokens for each character of text. A request with ``base_characters`` of
    text has ``base_tokens``. ``step`` divides all counts of the controls: an endpoint may count whole blocks.
    ``reason`` is a sentence that says why the counts show nothing; empty if they do.
    """

    per_character: float = 0.0
    base_tokens: int = 0
    base_characters: int = 0
    step: int = 1
    reason: str = ""

    @property
    def slack(self) -> int:
        """By how many tokens the counts of two forms of one text may differ."""
        return _SLACK + (self.step if self.step > 1 else 0)

    def tokens_of(self, characters: int) -> float:
        """Return about how many input tokens a request has whose texts have this number of characters."""
        return self.base_tokens + self.per_character * (characters - self.base_characters)


_SLACK: Final = 8
"""Tokens that the forms of a text may differ by."""


@dataclass(slots=True)
class RunContext:
    """What all exchanges of a run have in common; checks read it where one exchange alone says too little.

    ``capabilities`` holds every feature that the dialect defines, by name; ``required`` the names of those that the
    endpoint must have. ``answered`` are the create requests that the endpoint answered: controls for those it refused.
    ``answered_items`` are the input lists of such requests but for one item each (:mod:`.controls`).
    ``operations`` names the operations beside create that succeeded at least once. ``refusals`` are the isolated
    refusals: pairs of a rejected request and the same one without one thing, which was accepted. ``forgets`` says that
    the endpoint answered a request that continues a response that never was: it ignores ``previous_response_id``, so
    what it does with a real one shows nothing new. ``token_scale`` says how it counts the tokens of text, ``None``
    where the run did not measure it.
    """

    abilities: Abilities = Abilities()
    capabilities: Mapping[str, Capability] = field(default_factory=lambda: MappingProxyType({}))
    required: frozenset[str] = frozenset()
    answered: tuple[AnsweredRequest, ...] = ()
    answered_items: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    refusals: tuple[Refusal, ...] = ()
    forgets: bool = False
    token_scale: TokenScale | None = None


NO_CONTEXT: Final = RunContext()
"""The context of an exchange that is checked by itself: nothing has been shown."""

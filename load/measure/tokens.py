"""Which output tokens of a response were streamed, which were not, and how many there are where usage has no count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from rejoinder.load.measure.token_estimate import estimate_tokens

Pieces = Sequence[tuple[float, int]]
"""Receives with content: the time of each, and its number of deltas."""

_NEAR: Final = 1.4
"""The greatest ratio of deltas to estimated tokens, or its inverse, with which each delta is taken for one token."""
_TOO_MANY: Final = 3.0
_TOO_FEW: Final = 0.25
_MARKS: Final = 16
"""Tokens that a text does not show: marks of its beginning and end, and those of channels."""


class Channel(Enum):
    """Where content belongs."""

    OUTPUT = "output"
    REASONING = "reasoning"
    SUMMARY = "summary"  # of reasoning; usage does not count its tokens apart
    CALL = "call"  # the arguments of a tool call


class Doubt(Enum):
    """How a reported number of output tokens contradicts the text."""

    ZERO = "zero"
    TOO_MANY = "too many"
    TOO_FEW = "too few"


class Tokens(NamedTuple):
    """The output tokens of one response.

    ``output`` is their number, ``None`` where there is neither usage nor text. ``estimated``: it was estimated from the
    text, because usage has none or 0. ``streamed`` of them came in ``pieces``, the others not at all. ``doubt`` is why
    the reported number cannot be right.
    """

    output: int | None = None
    streamed: int | None = None
    estimated: bool = False
    pieces: Pieces = ()
    doubt: Doubt | None = None


def channel_of(kind: str, part: str) -> Channel:
    """Return the channel of a delta event by its type and the part of an item that it belongs to, if that is known."""
    if part == "summary_text" or (not part and "summary" in kind):
        return Channel.SUMMARY
    if part == "reasoning_text" or (not part and "reasoning" in kind):
        return Channel.REASONING
    return Channel.CALL if "_call" in kind else Channel.OUTPUT


def count_tokens(
    usage: Mapping[str, int], channels: Mapping[Channel, Pieces], texts: Mapping[Channel, str], *, complete: bool
) -> Tokens:
    """Return the output tokens of a response; ``complete``: it came whole, so that its text can be compared with usage.

    Reasoning that is not streamed is part of ``output_tokens`` all the same. So where no reasoning text came, the
    streamed tokens are ``output_tokens`` less ``reasoning_tokens``, and they came with the content that is not
    reasoning. A summary of the reasoning is not the reasoning: its tokens have no count, so it is left out wherever the
    others do have one. Where reasoning text came, or usage has no ``reasoning_tokens``, all tokens count as streamed.

    Without usage, or with 0 output tokens for a text, the number is estimated: the number of deltas where it is within
    a factor of 1.4 of :func:`~rejoinder.load.measure.token_estimate.estimate_tokens`, else that.
    """
    everything = _joined(channels)
    counted = usage.get("output_tokens")
    hidden = usage.get("reasoning_tokens", 0)
    unseen = 0 < hidden <= (counted or 0) and not channels.get(Channel.REASONING) and not texts[Channel.REASONING]
    apart = unseen or channels.get(Channel.REASONING)
    seen = _joined({**channels, Channel.SUMMARY: ()}) if apart else everything
    if counted:
        streamed = counted - hidden if unseen else counted
        return Tokens(counted, streamed, pieces=seen, doubt=_doubt(streamed, seen, texts) if complete else None)
    text = "".join(texts.values())
    if not text and not everything:
        return Tokens(counted, counted)
    number = _estimate(text, everything)
    doubt = Doubt.ZERO if counted == 0 and complete else None
    return Tokens(number, number, estimated=True, pieces=everything, doubt=doubt)


def _estimate(text: str, pieces: Pieces) -> int:
    estimate, deltas = max(1, estimate_tokens(text)), sum(count for _, count in pieces)
    return deltas if estimate / _NEAR <= deltas <= estimate * _NEAR else estimate


def _doubt(streamed: int, pieces: Pieces, texts: Mapping[Channel, str]) -> Doubt | None:
    """Return how a number of tokens contradicts a text, if it does."""
    text = texts[Channel.OUTPUT] + texts[Channel.REASONING]
    estimate = estimate_tokens(text)
    if streamed < _TOO_FEW * estimate:
        return Doubt.TOO_FEW
    # A tool call has tokens that its arguments do not show.
    if not text or texts[Channel.CALL]:
        return None
    most = max(estimate, sum(count for _, count in pieces))
    return Doubt.TOO_MANY if streamed > _TOO_MANY * most + _MARKS else None


def _joined(channels: Mapping[Channel, Pieces]) -> list[tuple[float, int]]:
    """Return the receives of several channels in order, one for each time."""
    joined: dict[float, int] = {}
    for at, count in sorted(piece for pieces in channels.values() for piece in pieces):
        joined[at] = joined.get(at, 0) + count
    return list(joined.items())


def output_text(response: Mapping[str, Any]) -> dict[Channel, str]:
    """Return the text of a response object by channel: of messages, refusals, reasoning and arguments of calls."""
    texts: dict[Channel, list[str]] = {channel: [] for channel in Channel}
    output = response.get("output")
    for item in output if isinstance(output, list) else ():
        if not isinstance(item, dict):
            continue
        reasoning = item.get("type") == "reasoning"
        _collect(item.get("content"), texts[Channel.REASONING if reasoning else Channel.OUTPUT])
        _collect(item.get("summary"), texts[Channel.SUMMARY])
        texts[Channel.CALL] += [item[name] for name in ("arguments", "input") if isinstance(item.get(name), str)]
    return {channel: "".join(found) for channel, found in texts.items()}


def _collect(parts: Any, into: list[str]) -> None:
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            into += [part[name] for name in ("text", "refusal") if isinstance(part.get(name), str)]

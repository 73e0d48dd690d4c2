"""The random sample of responses that is checked against all rules, and what it says of those that were not.

Every request gets a random number before it is sent, so before anything is known of its response. A response is checked
if that number is below the rate of the time at which it ended; the rate falls as responses wait for the analysis
worker. So the responses that ended at one rate are a group from which those checked are a simple random sample. The
share of them that a rule voids is applied to the others of the group, and to no other group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from msgspec import Struct

from rejoinder.load.objectives.confidence import DOUBT

ONE_IN: Final = (4, 16, 64)
"""Of how many responses one is checked when too much waits, and when ever more does."""
_DRAWS: Final = 1 << 64


def draw(seed: int, slot: int, turn: int) -> float:
    """Return the random number of a request, from 0 to 1: always the same for the same one."""
    digest = blake2b(f"{seed}/{slot}/{turn}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _DRAWS


def one_in(waiting: int, sampled: int, full: int) -> int:
    """Return of how many responses one is checked against all rules.

    ``waiting`` bytes of responses wait; from ``sampled`` on not all of them can be checked, and at ``full`` none may be
    added.
    """
    if waiting <= sampled:
        return 1
    place = (waiting - sampled) * len(ONE_IN) // max(1, full - sampled)
    return ONE_IN[min(place, len(ONE_IN) - 1)]


class GroupCounts(Struct):
    """Responses of one sampling rate that succeeded if no broken rule voids them.

    ``checked`` were checked against all rules, which ``voided`` some of them; ``unchecked`` were not. The others count
    the same among those within the limits for single requests, and their output tokens: the responses that a rule voids
    may be longer than others. What the check of every response finds (order of events,
    terminal event, canary) is not counted here: for that nothing must be estimated.
    """

    checked: int = 0
    voided: int = 0
    unchecked: int = 0
    checked_within: int = 0
    voided_within: int = 0
    unchecked_within: int = 0
    checked_tokens: int = 0
    voided_tokens: int = 0
    unchecked_tokens: int = 0

    def add(self, voided: bool | None, within: bool, tokens: int = 0) -> None:
        """Count a response with its output tokens; ``voided`` is ``None`` for one that was not checked."""
        self.checked += voided is not None
        self.voided += voided is True
        self.unchecked += voided is None
        if within:
            self.checked_within += voided is not None
            self.voided_within += voided is True
            self.unchecked_within += voided is None
        self.checked_tokens += tokens * (voided is not None)
        self.voided_tokens += tokens * (voided is True)
        self.unchecked_tokens += tokens * (voided is None)

    def merge(self, other: GroupCounts) -> None:
        """Add the counts of other responses of the same rate."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Voided(NamedTuple):
    """How many of the ``unchecked`` responses a rule voids: an estimate, and the most with 99 % confidence.

    The estimate is ``None`` where nothing was checked, so that it cannot be known.
    """

    unchecked: int
    estimate: float | None
    most: int


NONE_VOIDED: Final = Voided(0, 0.0, 0)


def estimate_voided(groups: Mapping[int, GroupCounts], *, within: bool = False) -> Voided:
    """Return how many responses that were not checked a rule voids; ``within``: of those within the limits.

    With several groups the doubts of their bounds add up to 1 %. A group without a checked response takes the share of
    all others, and has no bound but its size.
    """
    found = [
        (group.checked_within, group.voided_within, group.unchecked_within)
        if within
        else (group.checked, group.voided, group.unchecked)
        for group in groups.values()
    ]
    uncertain = [counts for counts in found if counts[2]]
    if not uncertain:
        return NONE_VOIDED
    every = [(group.checked, group.voided) for group in groups.values()]
    checked, voided = sum(one for one, _ in every), sum(one for _, one in every)
    estimate, most = 0.0, 0
    for n, bad, others in uncertain:
        share = bad / n if n else voided / checked if checked else math.nan
        estimate += others * share
        most += most_voided(n, bad, others, DOUBT / len(uncertain))
    unchecked = sum(others for *_, others in uncertain)
    return Voided(unchecked, None if math.isnan(estimate) else estimate, most)


def tokens_left(groups: Mapping[int, GroupCounts]) -> float | None:
    """Return the share of the output tokens of responses counted as good that are in responses that no rule voids.

    Of the tokens that were not checked, it takes the share of those checked at the same rate, or of all where none was.
    ``None`` where no response was checked but some were not, so that it cannot be known.
    """
    checked, voided = (sum(getattr(group, name) for group in groups.values()) for name in ("checked", "voided"))
    tokens, lost = (sum(getattr(one, f"{name}_tokens") for one in groups.values()) for name in ("checked", "voided"))
    counted = left = 0.0
    for group in groups.values():
        good = group.checked_tokens - group.voided_tokens
        counted += good + group.unchecked_tokens
        left += good
        if group.unchecked and not checked:
            return None
        if group.unchecked_tokens:
            found = ((group.voided_tokens, group.checked_tokens), (lost, tokens), (voided, checked))
            bad, of = next(one for one in found if one[1])
            left += group.unchecked_tokens * (1 - bad / of)
    return left / counted if counted else 1.0


def most_voided(checked: int, voided: int, unchecked: int, doubt: float = DOUBT) -> int:
    """Return the number of voided responses among the unchecked that the true one exceeds with a probability of doubt.

    The checked ones, of which ``voided`` are, are drawn from the group without replacement. So the number is the
    greatest with which so few voided ones among them are no less likely than ``doubt`` (hypergeometric distribution).
    """
    low, high = 0, unchecked
    while low < high:
        middle = (low + high + 1) // 2
        if _as_few(voided, checked, voided + middle, checked + unchecked) > doubt:
            low = middle
        else:
            high = middle - 1
    return low


def _as_few(found: int, n: int, voided: int, size: int) -> float:
    """Return how likely at most ``found`` of ``n`` responses drawn from ``size`` are voided, where ``voided`` are."""
    mean = n * voided / size
    # Terms that are nothing beside the last one are left out.
    first = max(0, n - (size - voided), found - 20 - math.ceil(10 * math.sqrt(mean)))
    whole = _ways(size, n)
    terms = (_ways(voided, k) + _ways(size - voided, n - k) - whole for k in range(first, min(found, n, voided) + 1))
    return math.fsum(map(math.exp, terms))


def _ways(n: int, k: int) -> float:
    """Return the logarithm of the number of ways to choose ``k`` of ``n``."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

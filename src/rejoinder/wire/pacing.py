"""Pacing: when the next request may start, by a rate limit and by what a busy endpoint wants."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Final

from rejoinder.model.exchange import Exchange

BUSY: Final = frozenset({429, 503})
"""Statuses with which an endpoint asks for a later try."""
MAX_WAIT: Final = 30.0
"""Longest Retry-After in seconds that is waited out."""
LONGEST_WAIT: Final = 1e9
"""What a Retry-After of more digits than any wait has counts as, in seconds."""
_MOST_DIGITS: Final = 9
_SLOWER: Final = 2.0
"""The factor by which starts are spread further apart when the endpoint is busy."""
_FASTER: Final = 0.9
"""The factor by which they move together again with each request that it answers."""
_FIRST_GAP: Final = 0.1
_LARGEST_GAP: Final = 10.0
_MODEST_GAP: Final = 1.0
"""Largest gap while the endpoint names waits that are shorter."""


class Pacer:
    """Lets requests start no faster than a rate, and slower while the endpoint is busy.

    ``rate`` is the highest number of starts in a second; ``None`` is no limit. ``clock`` reads seconds and ``sleep``
    lets them pass.
    """

    def __init__(
        self,
        rate: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._least = 0.0 if rate is None else 1.0 / rate
        self._gap = self._least
        self._clock = clock
        self._sleep = sleep
        self._next = float("-inf")
        self._slowed_at = float("-inf")

    @property
    def gap(self) -> float:
        """The seconds between two starts."""
        return self._gap

    @property
    def least(self) -> float:
        """The seconds between two starts that the rate limit alone makes."""
        return self._least

    def now(self) -> float:
        """Return the time of the clock."""
        return self._clock()

    async def wait(self, requests: int = 1) -> float:
        """Wait until this number of requests may start together; return the time of the clock.

        With 0 nothing is waited for, and nothing counted.
        """
        if not requests:
            return self._clock()
        while (left := self._next - self._clock()) > 0:
            await self._sleep(left)
        now = self._clock()
        if self._gap:
            self._next = now + requests * self._gap
        return now

    def answered(self) -> None:
        """Note that the endpoint answered a request: starts move together again, up to the limit."""
        gap = self._gap * _FASTER
        self._gap = self._least if gap < max(self._least, _FIRST_GAP / _SLOWER) else gap

    def busy(self, started: float, wait: float | None) -> None:
        """Note that a request that started at a time of the clock found the endpoint busy.

        Nothing starts for ``wait`` seconds from now; ``None`` is a time that the endpoint did not name. Starts are
        spread further apart then, once for all requests that were under way together.
        """
        now = self._clock()
        self._next = max(self._next, now + (wait or 0.0))
        if started >= self._slowed_at:
            largest = _LARGEST_GAP if wait is None else min(max(wait, _MODEST_GAP), _LARGEST_GAP)
            self._gap = max(self._gap, min(max(self._gap * _SLOWER, _FIRST_GAP), max(largest, self._least)))
            self._slowed_at = now


def retry_after(exchange: Exchange, now: float | None = None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3, number or date); ``None`` where none can be read.

    They are finite and not negative. A number too large for a clock is ``LONGEST_WAIT``.
    """
    text = exchange.header("retry-after").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text.lstrip("0")) <= _MOST_DIGITS else LONGEST_WAIT
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date without a zone is in UTC (RFC 9110, 5.6.7), not in the zone of this machine.
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
        return max(0.0, date.timestamp() - (time.time() if now is None else now))
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None

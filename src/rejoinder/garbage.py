"""How often Python looks for cyclic garbage."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """Look for cyclic garbage rarely, in this process.

    What was parsed holds no cycles, and there is much of it. Looking for them as often as Python does takes a fifth of
    the time of a recheck.
    """
    gc.set_threshold(50_000, 20, 20)

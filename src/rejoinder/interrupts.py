"""SIGINT (Ctrl-C), SIGTERM and SIGHUP, which ask a command to end in order: they mean the same in every command."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

INTERRUPTS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has two
)
"""A person sends the first. Containers, service managers and CI runners send the second, a closed terminal the third.
"""


@contextmanager
def interrupts(handler: Callable[[], None]) -> Iterator[None]:
    """Call a handler on each signal of :data:`INTERRUPTS` inside the block, instead of what they did before.

    Outside of the main thread, where Python takes no signals, it does nothing. A signal that is ignored stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        handler()

    before = {number: signal.getsignal(number) for number in INTERRUPTS}
    for number, known in before.items():
        if known is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, known in before.items():
            if known is not None:  # what was installed by other means than Python cannot be put back
                signal.signal(number, known)

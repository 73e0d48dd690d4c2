"""What the load generator itself looks for in a reply: whether it brought an answer, and whether it asks to wait.

It decides how long a user of a closed loop pauses, so it has to be cheap. The outcome of a request comes from its
analysis, later and elsewhere.
"""

from __future__ import annotations

from typing import Final

from rejoinder.load.measure.reader import RawReply
from rejoinder.load.measure.recording import final_response
from rejoinder.model.exchange import Outcome

_HEAD_BYTES: Final = 16 * 1024
_DONE: Final = (b'"response.completed"', b'"response.incomplete"')
_ANSWERS: Final = ("completed", "incomplete")


def brought_answer(reply: RawReply) -> bool:
    """Return whether a reply is whole and has a response object that completed or is incomplete.

    All else is none: no reply, a status other than 2xx, a body that is no response object, a response that failed, a
    stream without its terminal event.
    """
    if reply.outcome is not Outcome.COMPLETE or not reply.receives or _head(reply)[9:10] != b"2":
        return False
    data = reply.receives.data
    if any(data.rfind(terminal) >= 0 for terminal in _DONE):
        return True
    # A plain reply, or a chunk ends within the name of the event.
    response = final_response(reply.receives)
    return response is not None and response.get("status") in _ANSWERS


def asks_to_wait(reply: RawReply) -> bool:
    """Return whether a reply has the header Retry-After."""
    return bool(reply.receives) and b"\r\nretry-after:" in _head(reply).lower()


def _head(reply: RawReply) -> bytes:
    return bytes(reply.receives.data[:_HEAD_BYTES]).partition(b"\r\n\r\n")[0]

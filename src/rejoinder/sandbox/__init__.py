"""The sandbox: a correct, deterministic Responses endpoint, with faults that break one thing each and freedoms.

:class:`Sandbox` needs no server library. It responds to a :class:`~rejoinder.model.exchange.Request` with a
:class:`Reply`, or with a whole :class:`~rejoinder.model.exchange.Exchange` for tests in one process.
:func:`app`, :func:`running` and :func:`serve` put it behind a real server. They are imported on first use.

Its output depends on the request alone. It is a parrot: it repeats every text of the context, word by word.

- The model ``parrot-reasoning``, or ``reasoning.effort``, adds a reasoning item, ``reasoning.summary`` its summary. The
  model ``parrot-refusal`` refuses, as all do when the input mentions a pipe bomb; ``parrot-failing`` fails early.
- A tool is called when ``tool_choice`` demands it, or when the last user message names it, or else its subject
  (``weather`` for ``get_weather``), and no output for it followed. The arguments are made from the tool's schema, with
  the user's text in free strings.
- Hosted tool calls and annotations in the input are repeated in the output. Several parts in the last user message make
  as many parts in the answer. If the input requests a story or something long, the parrot repeats itself.
- A freedom makes it do one thing in another way that the dialect leaves open, and that no rule may accuse.
- :class:`ChatSandbox` is the same parrot behind ``POST /v1/chat/completions``, as an upstream for gateways.
- Responses are kept for GET, DELETE, cancel, chains, conversations and replay of background streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rejoinder.lazy import lazy_names
from rejoinder.sandbox.chat import ChatSandbox
from rejoinder.sandbox.core import Sandbox, post, record
from rejoinder.sandbox.endpoint.generate import MODELS
from rejoinder.sandbox.endpoint.reply import Piece, Reply, RequestInfo
from rejoinder.sandbox.fault import Condition, Fault, Variation
from rejoinder.sandbox.faults import FAULTS, load_faults
from rejoinder.sandbox.freedom import Freedom
from rejoinder.sandbox.freedoms import FREEDOMS, load_freedoms
from rejoinder.sandbox.sample_requests import SampleRequest, sample_requests

if TYPE_CHECKING:
    from rejoinder.sandbox.server import SERVER_FAULTS, app, running, serve

__all__ = [
    "FAULTS",
    "FREEDOMS",
    "MODELS",
    "SERVER_FAULTS",
    "ChatSandbox",
    "Condition",
    "Fault",
    "Freedom",
    "Piece",
    "Reply",
    "RequestInfo",
    "SampleRequest",
    "Sandbox",
    "Variation",
    "app",
    "load_faults",
    "load_freedoms",
    "post",
    "record",
    "running",
    "sample_requests",
    "serve",
]

if not TYPE_CHECKING:  # a type checker must know a misspelt name from a lazy one
    __getattr__ = lazy_names(__name__, {"rejoinder.sandbox.server": ("SERVER_FAULTS", "app", "running", "serve")})

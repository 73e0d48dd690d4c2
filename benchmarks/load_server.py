"""An endpoint whose timing is known: it streams on absolute deadlines and keeps what it really did.

    python benchmarks/load_server.py [--port N] [--answer OPTIONS]        prints "listening PORT"

Standard library only, one thread. :class:`ServerProcess` starts it for another program.

The ``model`` of a request says how it is answered, as a query string:
``ttft=50&gap=10&tokens=64&end=ok``; with ``--answer`` that is what every request gets, whatever model it names. All
fields are optional:

``ttft``, ``gap``   milliseconds to the first token, and between tokens
``tokens``          how many, one event and one send each
``slots``           how many requests are worked on at the same time; the others wait for their turn, in order
``stall``           milliseconds added once, before the token in the middle
``end``             ``ok``; ``cut`` (connection closed in the middle), ``reset``, ``clean`` (body ends in the middle),
                    ``failed`` (response.failed), ``error`` (error event), ``incomplete``, ``hang`` (sends no more),
                    ``open`` (the whole stream, on a connection that stays open)
``status``          refuse with this HTTP status
``retry``           with this ``Retry-After``
``after``, ``then``  once so many requests were answered, answer as these other options say (percent-encoded)
``drop``            reset the connection of every so many requests before a byte of the response
``leave``           ``1``: close each connection after its stream, without announcing it
``framing``         ``chunked``, ``close`` or ``length`` (the whole stream at once)

``GET /truth`` returns JSON: requests seen, and percentiles in milliseconds of the times at which tokens were sent;
``POST /reset`` forgets them. Time zero of a request is the receipt of its last byte.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import select
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from time import perf_counter, sleep
from typing import Any
from urllib.parse import parse_qsl

# The last stretch before a deadline is waited out without sleeping: a sleep ends some 60 µs late.
SPIN = 0.00015


@dataclass(slots=True)
class Peer:
    """One connection: what was received and not yet understood, and what could not be sent yet."""

    socket: socket.socket
    received: bytes = b""
    unsent: bytes = b""


def percentile(values: list[float], percent: float) -> float | None:
    """Return the nearest-rank percentile."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(round(percent * len(values) / 100, 9)) - 1)]


def event(data: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return f"event: {data['type']}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def response(request: dict[str, Any], status: str, text: str, tokens: int, reason: str = "") -> dict[str, Any]:
    """Return a response object."""
    item = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "incomplete" if status == "incomplete" else "completed",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
    }
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 10 + tokens,
    }
    ended = status in ("completed", "incomplete")
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "background": False,
        "error": {"code": "server_error", "message": "planned failure"} if status == "failed" else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "max_output_tokens": request.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": request["model"],
        "output": [item] if ended else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "auto",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if ended else None,
        "user": None,
        "metadata": {},
    }


def script(request: dict[str, Any], options: dict[str, str]) -> tuple[list[tuple[float, bytes, bool]], str]:
    """Return the events of an answer as (seconds, bytes, is a token), and how the connection ends."""
    ttft, gap = (float(options.get(name, "0")) / 1e3 for name in ("ttft", "gap"))
    stall = float(options.get("stall", "0")) / 1e3
    tokens, end = int(options.get("tokens", "8")), options.get("end", "ok")
    deltas = [f"w{index} " for index in range(tokens)]
    text = "".join(deltas)
    number = 0

    def make(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return event({"type": kind, "sequence_number": number - 1, **fields})

    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    opening = make("response.created", response=response(request, "in_progress", "", 0))
    opening += make("response.in_progress", response=response(request, "in_progress", "", 0))
    opening += make("response.output_item.added", output_index=0, item=item)
    opening += make("response.content_part.added", part=part, **place)
    pieces = [(0.0, opening, False)]
    whole = end in ("ok", "incomplete", "open")
    for index, delta in enumerate(deltas if whole else deltas[: tokens // 2]):
        at = ttft + index * gap + (stall if index >= tokens // 2 else 0.0)
        pieces.append((at, make("response.output_text.delta", delta=delta, logprobs=[], **place), True))
    at = pieces[-1][0]
    if end == "failed":
        pieces.append((at, make("response.failed", response=response(request, "failed", "", 0)), False))
    elif end == "error":
        pieces.append((at, make("error", code="server_error", message="planned error", param=None), False))
    elif whole:
        status = "incomplete" if end == "incomplete" else "completed"
        final = response(request, status, text, tokens, "max_output_tokens" if end == "incomplete" else "")
        closing = make("response.output_text.done", text=text, logprobs=[], **place)
        closing += make("response.content_part.done", part={**part, "text": text}, **place)
        closing += make("response.output_item.done", output_index=0, item=final["output"][0])
        closing += make(f"response.{status}", response=final)
        # With the last token, so that a stream costs one send for each token.
        pieces[-1] = (at, pieces[-1][1] + closing, pieces[-1][2])
    return pieces, end if end in ("cut", "reset", "hang", "open") else "leave" if "leave" in options else ""


class ServerProcess:
    """This server in a process of its own until the block ends; ``prefix`` are words before its command."""

    def __init__(self, answer: str = "", prefix: Sequence[str] = ()) -> None:
        command = [*prefix, sys.executable, __file__, "--answer", answer]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def truth(self) -> dict[str, Any]:
        """Return what the server really did since the last call of :meth:`reset`."""
        truth: dict[str, Any] = json.load(urllib.request.urlopen(f"{self.url}/truth"))
        return truth

    def reset(self) -> None:
        """Let the server forget what it did."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/reset", method="POST")).read()


class ScriptedServer:
    """One epoll loop; sends are due on a heap of absolute times."""

    def __init__(self, port: int, answer: str = "") -> None:
        self.options = answer
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.peers: dict[int, Peer] = {}
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.number = 0
        self.slots: list[float] = []
        self.scripts: dict[tuple[Any, ...], tuple[list[tuple[float, bytes, bool]], str]] = {}
        self.forget()

    def forget(self) -> None:
        """Forget what was seen."""
        self.requests = 0
        self.finished = 0
        self.starts: list[float] = []
        self.streams: list[tuple[float, list[float]]] = []

    def truth(self) -> dict[str, Any]:
        """Return what this server really did, in milliseconds."""
        ttft = [1e3 * (times[0] - begun) for begun, times in self.streams if times]
        gaps = [1e3 * (b - a) for _, times in self.streams for a, b in pairwise(times)]
        starts = [1e3 * (b - a) for a, b in pairwise(self.starts)]
        percents = (1, 50, 90, 99, 100)
        return {
            "requests": self.requests,
            "finished": self.finished,
            "tokens": sum(len(times) for _, times in self.streams),
            "ttft": {str(p): percentile(ttft, p) for p in percents},
            "gap": {str(p): percentile(gaps, p) for p in percents},
            "arrival_gaps": starts[:100_000],
        }

    def run(self) -> None:
        """Serve for ever."""
        fileno = self.epoll.fileno()
        while True:
            left = self.due[0][0] - perf_counter() if self.due else None
            if left is None or left > 0:
                # epoll's own time-out counts whole milliseconds; select on its descriptor is exact to the microsecond.
                if left is None or left > SPIN:
                    select.select([fileno], [], [], None if left is None else left - SPIN)
                for descriptor, flags in self.epoll.poll(0):
                    self.ready(descriptor, flags)
            now = perf_counter()
            while self.due and self.due[0][0] <= now:
                heapq.heappop(self.due)[2]()

    def ready(self, descriptor: int, flags: int) -> None:
        """Handle one readable or writable socket."""
        if descriptor == self.listener.fileno():
            try:
                while True:
                    peer, _ = self.listener.accept()
                    peer.setblocking(False)
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.peers[peer.fileno()] = Peer(peer)
                    self.epoll.register(peer, select.EPOLLIN)
            except BlockingIOError:
                return
        found = self.peers.get(descriptor)
        if found is None:
            return
        if flags & select.EPOLLOUT:
            unsent, found.unsent = found.unsent, b""
            self.epoll.modify(descriptor, select.EPOLLIN)
            self.send(found, unsent)
        if flags & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self.receive(found)

    def receive(self, peer: Peer) -> None:
        """Read from a peer and answer a whole request."""
        try:
            data = peer.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(peer)
            return
        peer.received += data
        head, blank, rest = peer.received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) >= length:
            peer.received = rest[length:]
            self.answer(peer, head.split(b" ", 2), rest[:length])

    def answer(self, peer: Peer, request_line: list[bytes], body: bytes) -> None:
        """Answer one request."""
        begun = perf_counter()
        if request_line[1] == b"/truth":
            self.plain(peer, 200, self.truth())
            return
        if request_line[1] == b"/reset":
            self.forget()
            self.plain(peer, 200, {})
            return
        if request_line[1].endswith(b"/models"):
            self.plain(peer, 200, {"object": "list", "data": [{"id": "tokens=8", "object": "model"}]})
            return
        if request_line[0] != b"POST":
            known = request_line[1].endswith(b"/health")
            self.plain(peer, 200 if known else 404, {} if known else {"error": {"message": "nothing is here"}})
            return
        request = json.loads(body)
        self.requests += 1
        self.starts.append(begun)
        key = self.options or request["model"]
        options = dict(parse_qsl(key))
        if self.requests > int(options.get("after", self.requests)):
            key = options["then"]
            options = dict(parse_qsl(key))
        if "drop" in options and self.requests % int(options["drop"]) == 0:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.drop(peer)
            return
        if "status" in options:
            error = {"message": "planned refusal", "type": "server_error", "param": None, "code": None}
            retry = b"Retry-After: %s\r\n" % options["retry"].encode() if "retry" in options else b""
            self.plain(peer, int(options["status"]), {"error": error}, retry)
            self.finished += 1
            return
        if not request.get("stream"):
            tokens = int(options.get("tokens", "8"))
            text = "".join(f"w{index} " for index in range(tokens))
            self.plain(peer, 200, response(request, "completed", text, tokens))
            self.finished += 1
            return
        cached = (key, request["model"], request.get("max_output_tokens"))
        if cached not in self.scripts:
            self.scripts[cached] = script(request, options)
        pieces, ending = self.scripts[cached]
        framing = options.get("framing", "chunked")
        headers = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\n"
        if framing == "length":
            payload = b"".join(data for _, data, _ in pieces)
            self.send(peer, headers + b"Content-Length: %d\r\n\r\n%s" % (len(payload), payload))
            self.finished += 1
            return
        headers += b"Transfer-Encoding: chunked\r\n\r\n" if framing == "chunked" else b"Connection: close\r\n\r\n"
        if "slots" in options:
            # The times at which the slots become free: a request takes the first, and holds it for its whole script.
            self.slots = self.slots or [0.0] * int(options["slots"])
            begun = max(begun, heapq.heappop(self.slots))
            heapq.heappush(self.slots, begun + pieces[-1][0])
        times: list[float] = []
        self.streams.append((begun, times))
        self.play(peer, begun, pieces, 0, times, ending, framing, headers)

    def play(
        self,
        peer: Peer,
        begun: float,
        pieces: list[tuple[float, bytes, bool]],
        index: int,
        times: list[float],
        ending: str,
        framing: str,
        before: bytes = b"",
    ) -> None:
        """Send all pieces that are due, then wait for the next."""
        while index < len(pieces):
            at, data, is_token = pieces[index]
            if begun + at > perf_counter():
                if before:
                    self.send(peer, before)
                self.number += 1
                rest = partial(self.play, peer, begun, pieces, index, times, ending, framing)
                due: tuple[float, int, Callable[[], None]] = (begun + at, self.number, rest)
                heapq.heappush(self.due, due)
                return
            index += 1
            data = b"%x\r\n%s\r\n" % (len(data), data) if framing == "chunked" else data
            if index == len(pieces) and ending in ("", "leave") and framing == "chunked":
                data += b"0\r\n\r\n"
            if peer.socket.fileno() < 0:
                return
            if is_token:
                times.append(perf_counter())
            self.send(peer, before + data)
            before = b""
        self.finished += ending not in ("hang", "open")
        if ending == "reset":
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if ending in ("cut", "reset", "leave") or (framing == "close" and ending not in ("hang", "open")):
            self.drop(peer)

    def plain(self, peer: Peer, status: int, value: Any, headers: bytes = b"") -> None:
        """Send a JSON body; ``headers`` are further header lines."""
        body = json.dumps(value).encode()
        self.send(
            peer,
            b"HTTP/1.1 %d Planned\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s"
            % (status, headers, len(body), body),
        )

    def send(self, peer: Peer, data: bytes) -> None:
        """Send, and keep what the socket does not take."""
        if peer.unsent:
            peer.unsent += data
            return
        try:
            sent = peer.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop(peer)
            return
        if sent < len(data):
            peer.unsent = data[sent:]
            self.epoll.modify(peer.socket, select.EPOLLIN | select.EPOLLOUT)

    def drop(self, peer: Peer) -> None:
        """Close a connection."""
        descriptor = peer.socket.fileno()
        if descriptor >= 0:
            self.peers.pop(descriptor, None)
            self.epoll.unregister(descriptor)
            peer.socket.close()


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(description="An endpoint whose timing is known.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0: any free one")
    parser.add_argument("--answer", default="", help="answer every request so, whatever model it names")
    arguments = parser.parse_args()
    server = ScriptedServer(arguments.port, arguments.answer)
    print("listening", server.port, flush=True)
    try:
        server.run()
    except KeyboardInterrupt:
        sleep(0)
        sys.exit(0)


if __name__ == "__main__":
    main()

"""The chat endpoint: ``POST /v1/chat/completions``, and the models of the sandbox; nothing else."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Headers, Request
from rejoinder.sandbox.chat.request_parsing import read_chat
from rejoinder.sandbox.chat.translation import choice_of, deltas_of, responses_body, usage_of
from rejoinder.sandbox.core import Sandbox
from rejoinder.sandbox.endpoint.generate import MODELS, ResolvedRequest, generate
from rejoinder.sandbox.endpoint.reply import JSON_HEADERS, ApiError, Piece, Reply, encode
from rejoinder.sandbox.endpoint.tokens import Json

_PATH: Final = "/v1/chat/completions"
_DIALECT: Final = "openai"
_EVENT_STREAM: Final[Headers] = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))


class ChatSandbox:
    """A strict, deterministic endpoint for ``POST /v1/chat/completions`` whose model repeats its input.

    It is an upstream for gateways that translate the Responses API to chat completions, so it serves no
    ``/v1/responses``. It refuses what the OpenAI API reference does not allow, unknown fields among it. The models are
    those of the sandbox: ``parrot-refusal`` refuses, ``parrot-failing`` ends every answer with an error.

    ``token_delay`` is the time in seconds before each token of output; ``key`` is required of every request if given;
    ``min_tokens`` makes short answers repeat themselves up to that many tokens; ``clock`` gives the Unix time in
    seconds. Safe to use from several threads.
    """

    def __init__(
        self,
        token_delay: float = 0.0,
        key: str | None = None,
        *,
        seed: int = 0,
        min_tokens: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.token_delay = token_delay
        self.seed = seed
        self.min_tokens = min_tokens
        self._clock = clock
        self._dialect = load_dialect(_DIALECT)
        # Serves the other operations, and checks keys.
        self._others = Sandbox(_DIALECT, key=key, clock=clock)
        self._lock = threading.Lock()
        self._number = 0

    def handle(self, request: Request) -> Reply:
        """Answer one request; what cannot be answered is refused in the error envelope."""
        path = request.path.partition("?")[0].rstrip("/")
        try:
            if path != _PATH:
                return self._other(request, path)
            self._others.authorise(request)
            if request.method != "POST":
                raise ApiError(405, "Use POST.", code="method_not_allowed", headers=(("allow", "POST"),))
            return self._answer(read_chat(request, MODELS))
        except ApiError as error:
            return _refusal(error)
        except RecursionError:
            return _refusal(ApiError(400, "The body is nested too deeply."))

    def forget(self) -> None:
        """Do nothing: chat completions are not stored."""

    def _other(self, request: Request, path: str) -> Reply:
        if path.startswith("/v1/models") or path == "/health":
            return self._others.handle(request)
        raise ApiError(404, f"There is nothing at {request.path[:200]}.", code="not_found")

    def _answer(self, chat: Json) -> Reply:
        with self._lock:
            self._number += 1
            number = self._number
        identity = hashlib.blake2s(f"{self.seed}/{number}".encode(), digest_size=12).hexdigest()
        body = responses_body(chat)
        resolved = ResolvedRequest(
            body=body,
            items=body["input"],
            fresh=body["input"],
            id=f"resp_{identity}",
            created_at=int(self._clock()),
            model=chat["model"],
            fails=chat["model"].endswith("-failing"),
            min_tokens=self.min_tokens,
        )
        response: Json = generate(resolved, self._dialect)[-1]["response"]
        completion: Json = {
            "id": f"chatcmpl-{identity}",
            "object": "chat.completion",
            "created": resolved.created_at,
            "model": resolved.model,
            "service_tier": "default",
        }
        if chat.get("stream") is True:
            return Reply(200, _EVENT_STREAM, self._stream(completion, response, chat))
        if response["status"] == "failed":
            raise ApiError(500, response["error"]["message"], code=response["error"]["code"])
        count = chat.get("n") or 1
        choice = choice_of(response, chat)
        completion["choices"] = [{"index": index, **choice} for index in range(count)]
        completion["usage"] = usage_of(response, count)
        seconds = self.token_delay * response["usage"]["output_tokens"]
        return Reply(200, JSON_HEADERS, iter([Piece(seconds, encode(completion))]))

    def _stream(self, completion: Json, response: Json, chat: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield the chunks of a stream, choices one after the other, and [DONE]."""
        with_usage = (chat.get("stream_options") or {}).get("include_usage") is True
        base = {**completion, "object": "chat.completion.chunk"}

        def chunk(choices: list[Json], usage: Any = None) -> bytes:
            return _event({**base, "choices": choices, **({"usage": usage} if with_usage else {})})

        count = chat.get("n") or 1
        choice = choice_of(response, chat)
        for index in range(count):
            for delta, logprobs in deltas_of(choice):
                own = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
                yield Piece(0.0 if "role" in delta else self.token_delay, chunk([own]))
            if response["status"] == "failed":
                error = {"type": "server_error", "param": None, **response["error"]}
                yield Piece(0.0, _event({"error": error}))
                return
            own = {"index": index, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
            yield Piece(0.0, chunk([own]))
        if with_usage:
            yield Piece(0.0, chunk([], usage_of(response, count)))
        yield Piece(0.0, b"data: [DONE]\n\n")


def _event(value: Any) -> bytes:
    return b"data: %b\n\n" % encode(value)


def _refusal(error: ApiError) -> Reply:
    kind = "authentication_error" if error.status == 401 else "invalid_request_error"
    kind = "server_error" if error.status >= 500 else kind
    body = {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}
    return Reply(error.status, (*JSON_HEADERS, *error.headers), iter([Piece(0.0, encode(body))]))

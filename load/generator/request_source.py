"""The requests of a run: for each slot a conversation of one or more requests, the same in every process.

What a slot sends depends on the seed and the slot alone: its kind, its lengths, its text and its canary. Without a
profile all requests are of one kind: a prompt, a corpus, or text as long as a trace says.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from rejoinder.contract import Dialect, load_dialect
from rejoinder.errors import UsageError
from rejoinder.load.schedule.traces import BLOCK_TOKENS, TraceEntry, read_trace
from rejoinder.load.settings import LoadSettings
from rejoinder.load.workload.canaries import slot_canary
from rejoinder.load.workload.corpus import Corpus, read_corpus
from rejoinder.load.workload.distributions import Distribution
from rejoinder.load.workload.filler_text import filler_text
from rejoinder.load.workload.profiles import Profile, RequestKind, load_profile, shipped_profiles
from rejoinder.model.base_form import BaseForm, InputForm
from rejoinder.wire.base_form import fit_body
from rejoinder.wire.request_options import read_request_options

DEFAULT_PROMPT: Final = "Write a short story about a lighthouse keeper who counts ships."
_CANARY_TOKENS: Final = 12
"""About how many tokens a canary and the words around it are."""


_SPENT: Final = random.Random(0)
"""Marks that nothing more is drawn."""


class PlannedRequest(NamedTuple):
    """One request. ``think`` is how long to wait before it; ``cancel_after`` when to give it up; ``poll`` how often to
    poll for a response in the background (0: it is not). All in seconds.
    """

    body: bytes
    think: float = 0.0
    cancel_after: float | None = None
    poll: float = 0.0


class RequestSource:
    """Gives the conversation of each slot of a run: the same slot always gets the same one.

    Without a corpus the text ends in the slot's canary, so that no two requests are equal and a prefix cache can
    answer all but the last tokens of a prompt, not the whole of it.
    """

    def __init__(self, settings: LoadSettings) -> None:
        self.settings = settings
        self.form = BaseForm(input=InputForm(settings.input_form))
        self.dialect = load_dialect(settings.dialect)
        self.extra_body = read_request_options(extra_body=settings.extra_body).extra_body
        self.trace = read_trace(settings.trace) if settings.trace else None
        if settings.profile:
            self.kinds: tuple[RequestKind, ...] = _spoken(load_profile(settings.profile), self.dialect)
        else:
            corpus = read_corpus(Path(settings.bodies)) if settings.bodies else Corpus()
            self.kinds = (RequestKind(name="", prompt=settings.prompt, corpus=corpus),)
        self._weights = [kind.weight for kind in self.kinds]
        # The long text is made once, which takes some 50 ms: now, not while something is measured.
        filler_text(1, 0)

    def conversation(self, slot: int) -> Conversation:
        """Return what a slot sends."""
        generator = random.Random(f"{self.settings.seed}/{slot}")
        kind = self.kinds[0] if len(self.kinds) == 1 else generator.choices(self.kinds, self._weights)[0]
        return Conversation(self, kind, slot, generator)

    def body(self, slot: int) -> bytes:
        """Return the body of a slot's first request as UTF-8 JSON."""
        request = self.conversation(slot).next(None)
        assert request is not None
        return request.body


def _spoken(profile: Profile, dialect: Dialect) -> tuple[RequestKind, ...]:
    """Return the kinds of requests of a profile, without the bodies of a built-in corpus that the dialect lacks."""
    if profile.path not in shipped_profiles().values() or not any(kind.corpus for kind in profile.kinds):
        return profile.kinds

    def is_spoken(kind: RequestKind, body: Mapping[str, Any]) -> bool:
        return dialect.sound_requests.is_valid(fit_body({"model": "m", **kind.body, **body}, dialect.usual_form, {}))

    kept = [replace(kind, corpus=kind.corpus.only(partial(is_spoken, kind))) for kind in profile.kinds]
    for kind, before in zip(kept, profile.kinds, strict=True):
        if before.corpus and not kind.corpus:
            raise UsageError(
                f"No request of the profile {profile.name} is valid in the dialect {dialect.label}.",
                "Choose another --profile, or write one for the dialect.",
            )
    return tuple(kept)


class Conversation:
    """The requests of one slot; :meth:`next` gives one after the other."""

    def __init__(self, source: RequestSource, kind: RequestKind, slot: int, generator: random.Random) -> None:
        self.kind = kind
        self.canary = slot_canary(source.settings.seed, slot) if source.settings.canaries else ""
        self._source = source
        self._slot = slot
        self._generator = generator
        self.left = max(1, self._draw(kind.turns, 1))
        """How many requests are still to come, if all goes well."""
        self._history: list[Any] = []

    def next(self, response: Mapping[str, Any] | None) -> PlannedRequest | None:
        """Return the next request after the response to the last one; ``None`` when the conversation is over.

        A conversation ends early when its last request got no response.
        """
        first = not self._history
        if self.left == 0 or (not first and response is None):
            return None
        self.left -= 1
        kind, settings = self.kind, self._source.settings
        body: dict[str, Any] = {"model": settings.model} if settings.model else {}
        body["stream"] = not kind.background
        body |= kind.body
        trace = self._source.trace
        entry = None if trace is None else trace[self._slot % len(trace)]
        if kind.corpus:
            body |= kind.corpus[self._slot % len(kind.corpus)]
            if self.canary:
                body["input"] = marked(body.get("input"), self.canary)
        else:
            text = self._text(entry, first)
            message = {"type": "message", "role": "user", "content": text}
            if first or response is None:
                body["input"] = [message] if kind.turns is not None and kind.history == "replay" else self._input(text)
            elif kind.history == "server":
                body["previous_response_id"] = response.get("id")
                body["input"] = self._input(text)
            else:
                self._history += map(self._source.dialect.as_input, response.get("output", []))
                body["input"] = [*self._history, message]
            self._history.append(message)
        if kind.background:
            body["background"] = True
        limit = entry.output_tokens if entry else self._draw(kind.output_tokens, settings.max_output_tokens)
        if limit:
            body.setdefault("max_output_tokens", limit)
        # A conversation that is repeated is a list from its first turn on.
        keeps = ("input",) if kind.turns is not None and kind.history == "replay" else ()
        body = fit_body(body, self._source.form, self._source.extra_body, keeps=keeps)
        think = 0.0 if first else self._seconds(kind.think)
        cancel = kind.cancel_share and self._generator.random() < kind.cancel_share
        request = PlannedRequest(
            json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"),
            think,
            self._seconds(kind.cancel_after) if cancel else None,
            kind.background,
        )
        if not self.left:
            # A generator is 2.5 KB, which every stream in flight would hold on to.
            self._generator, self._history = _SPENT, []
        return request

    def _input(self, text: str) -> Any:
        """Return a text of the user as input in the form that the endpoint takes."""
        return text if self._source.form.input is InputForm.STRING else [{"role": "user", "content": text}]

    def _text(self, entry: TraceEntry | None, first: bool) -> str:
        kind, generator, settings = self.kind, self._generator, self._source.settings
        parts = []
        if kind.prefix_tokens and first:
            # Sixteen bits are enough to tell prefixes of a pool apart.
            parts.append(filler_text(kind.prefix_tokens, 7919 * (1 + generator.randrange(kind.prefix_pool))))
        if kind.prompt:
            parts.append(kind.prompt)
        count = 0
        if entry is not None and not kind.prompt:
            count = entry.input_tokens
            for block in entry.blocks[: (count - 1) // BLOCK_TOKENS]:
                # Another seed has other blocks: a warm-up, or a repetition, must not fill the caches for the next run.
                parts.append(filler_text(BLOCK_TOKENS, 104_729 * block + settings.seed))
                count -= BLOCK_TOKENS
        elif kind.input_tokens is not None:
            count = self._draw(kind.input_tokens, 1)
        elif not kind.prompt and entry is None:
            parts.append(DEFAULT_PROMPT)
        if count:
            parts.append(filler_text(max(1, count - (_CANARY_TOKENS if self.canary else 0)), generator.getrandbits(16)))
        parts.append(f"(Request {self.canary or self._slot}.)")
        return " ".join(parts)

    def _draw(self, distribution: Distribution | None, default: int) -> int:
        return default if distribution is None else max(1, round(distribution.draw(self._generator)))

    def _seconds(self, distribution: Distribution | None) -> float:
        return 0.0 if distribution is None else max(0.0, distribution.draw(self._generator))


def marked(given: Any, mark: str) -> Any:
    """Return an input with a canary at its end, where there is a text of the user that can take one."""
    if isinstance(given, str):
        return f"{given} (Request {mark}.)"
    if not isinstance(given, list) or not given or not isinstance(given[-1], dict):
        return given
    last = given[-1]
    content = last.get("content")
    if last.get("role") != "user":
        return given
    if isinstance(content, str):
        return [*given[:-1], {**last, "content": f"{content} (Request {mark}.)"}]
    if isinstance(content, list) and content:
        part = {"type": "input_text", "text": f"(Request {mark}.)"}
        return [*given[:-1], {**last, "content": [*content, part]}]
    return given

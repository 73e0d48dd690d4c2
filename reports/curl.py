"""Recorded requests as command lines that send the same again: one with curl, several as a shell script."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from rejoinder.formatting import BODY_LIMIT, inert, printable, truncate
from rejoinder.model.exchange import Request, parse_json
from rejoinder.model.script import Step, Taken, replaced
from rejoinder.model.tags import Tag
from rejoinder.reports.excerpt import layout
from rejoinder.wire.redact import REDACTED

# What curl sets itself, and what would only repeat the recording client's habits.
_OWN_HEADERS: Final = frozenset(("host", "content-length", "user-agent", "connection", "transfer-encoding", "cookie"))
_NO_CHOICE: Final = frozenset({("accept", "*/*"), ("accept-encoding", "identity")})
"""Headers that say what a request without them says."""
_SECRET_HEADERS: Final = frozenset(("authorization", "x-api-key", "api-key"))
LAYOUT_LIMIT: Final = 64 * 1024
"""Bytes above which a body is not laid out: its beginning is all that is shown."""
_ESCAPED_LETTER: Final = re.compile(rb"(?<!\\)(\\\\)*\\u00[2-7]")
"""An escape that no writer of JSON needs, so that it is there on purpose."""
_KEY: Final = "$REJOINDER_API_KEY"
_SECOND_KEY: Final = "$REJOINDER_SECOND_API_KEY"


def request_url(target: str, request: Request) -> str:
    """Return the full address of a request: the origin of the target with the request's path."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return request.path
    return f"{parts.scheme}://{parts.netloc}{request.path}" if parts.scheme and parts.netloc else request.path


def curl(target: str, request: Request) -> tuple[str, bool]:
    """Return a command that repeats a request, and whether it has the whole body.

    A JSON body that survives a round trip is indented and fed through a here-document, so that it can be read and
    copied as it is; any other body is quoted byte by byte. Keys are named by ``$REJOINDER_API_KEY``, the values of
    other secret headers by variables that are named like the headers. Text from the recording cannot leave its quotes,
    and contains no character that acts on a terminal.
    """
    return _command(request, _quoted(request_url(target, request)), [])


def script(target: str, steps: Sequence[Step]) -> tuple[str, bool]:
    """Return a shell script that sends the steps of a minimal request, and whether it has all bodies whole.

    It needs curl and python3, which takes the values that later requests have from earlier replies. Each reply is
    printed with its status line. Keys are named by ``$REJOINDER_API_KEY`` and ``$REJOINDER_SECOND_API_KEY``.
    """
    blocks: list[str] = []
    whole = True
    picks = any(step.taken for step in steps)
    number = 0
    while number < len(steps):
        end = number + 1
        while end < len(steps) and steps[end].beside:
            end += 1
        group = range(number, end)
        lines = []
        for one in group:
            text, complete = _step(target, steps[one], one + 1, together=len(group) > 1)
            whole = whole and complete
            lines.append(text)
        if len(group) > 1:
            lines.append("wait")
        lines += [f"show {one + 1}" for one in group]
        blocks.append("\n".join(lines))
        number = end
    head = [_HEAD, *([_PICK] if picks else []), _SHOW]
    return "\n\n".join(["\n".join(head), *blocks]), whole


_HEAD: Final = """#!/bin/bash
# Needs curl and python3.
replies=$(mktemp -d)"""

_PICK: Final = """pick() { # pick N POINTER: a value from reply N, plain or streamed
python3 - "$replies/$1" "$2" "${3-}" <<'PYTHON'
import json, sys, urllib.parse
text = open(sys.argv[1], encoding="utf-8", errors="replace").read()
try:
    value = json.loads(text)
except ValueError:
    for line in text.splitlines():
        try:
            value = json.loads(line[5:])["response"] if line.startswith("data:") else value
        except (ValueError, KeyError, TypeError, NameError):
            pass
for name in sys.argv[2].split("/")[1:]:
    value = value[int(name) if isinstance(value, list) else name.replace("~1", "/").replace("~0", "~")]
print(urllib.parse.quote(str(value), safe="") if sys.argv[3] else json.dumps(value))
PYTHON
}"""

_SHOW: Final = """show() { # the status line and the body of reply N
echo "--- reply $1: $(head -n 1 "$replies/$1.head" | tr -d '\\r')"; cat "$replies/$1"; echo
}"""


def _step(target: str, step: Step, number: int, *, together: bool) -> tuple[str, bool]:
    """Return the lines that send one step and keep its reply as that of a number, and whether its body is whole."""
    reply = f'"$replies/{number}"'
    stopped = f" 2>/dev/null | head -c {step.read_limit} > {reply}" if step.read_limit is not None else ""
    options = [f'-D {reply[:-1]}.head"']
    options += [] if stopped else [f"-o {reply}"]
    options += [] if step.deadline is None else [f"--max-time {step.deadline:g}"]
    options += ["--limit-rate 1k"] if step.pace else []
    url = _quoted(request_url(target, step.request))
    named = [taken for taken in step.taken if taken.body is None and taken.text]
    if named:
        url = _expanded(request_url(target, step.request), {taken.text: _pick(taken, path=True) for taken in named})
    command, whole = _command(step.request, url, options, step, stopped)
    if step.until_ended:
        again = f'grep -qE \'"status": ?"(queued|in_progress)"\' {reply} || break'
        command = f"for _ in $(seq 60); do\n{command}\n{again}\nsleep 1\ndone"
    if step.wait:
        command = f"sleep {step.wait:g}\n{command}"
    title = inert(printable(f"# {number}. {step.request.method} {step.request.path}", keep=""))
    return f"{title}\n{{\n{command}\n}} &" if together else f"{title}\n{command}", whole


def _pick(taken: Taken, *, path: bool = False) -> str:
    return f"$(pick {taken.reply + 1} {_quoted(taken.pointer)}{' path' if path else ''})"


def _expanded(text: str, values: Mapping[str, str]) -> str:
    """Return a text as one double-quoted shell word, in which some parts are replaced by what the shell expands."""
    found = re.split("|".join(re.escape(value) for value in sorted(values, key=len, reverse=True)), text)
    held = re.findall("|".join(re.escape(value) for value in sorted(values, key=len, reverse=True)), text)
    parts = [_escaped_for_shell(printable(part, keep="")) for part in found]
    word = '"' + "".join(part + values.get(value, "") for part, value in zip(parts, [*held, ""], strict=True)) + '"'
    return inert(word, lambda mark: f'{mark}""')  # two quoted strings beside each other are one word


def _escaped_for_shell(text: str) -> str:
    return re.sub(r'([\\$`"])', r"\\\1", text)


def _command(
    request: Request, url: str, options: Sequence[str], step: Step | None = None, after: str = ""
) -> tuple[str, bool]:
    command = ["curl -sS", "-N"] if _streams(request) else ["curl -sS"]
    if request.method not in ("POST", "GET") or (request.method == "POST" and not request.body):
        command.append(f"-X {_quoted(request.method)}")
    lines = [" ".join([*command, *options, url])]
    for name, value in request.headers:
        lower = name.lower()
        if lower in _OWN_HEADERS or (lower, value) in _NO_CHOICE:
            continue
        if lower in _SECRET_HEADERS:
            prefix = "Bearer " if lower == "authorization" else ""
            key = _KEY if step is None else _key_of(step)
            lines.append(f'-H "{re.sub(r"[^A-Za-z-]", "", name)}: {prefix}{key}"')
        elif value == REDACTED:
            plain = re.sub(r"[^A-Za-z0-9-]", "", name)
            lines.append(f'-H "{plain}: ${{{plain.upper().replace("-", "_")}}}"')
        else:
            lines.append(f"-H {_quoted(f'{name}: {value}')}")
    if not request.body:
        return " \\\n  ".join(lines) + after, True
    if not any(name.lower() == "content-type" for name, _ in request.headers):
        # curl would call it a form; a recording without any header at all left out the usual ones.
        lines.append("-H 'Content-Type:'" if request.headers else "-H 'Content-Type: application/json'")
    taken = [one for one in step.taken if one.body is not None] if step is not None else []
    if taken:
        lines.append(f"--data-binary @- <<JSON{after}")
        text, whole = _expanded_body(request.body, taken)
        return " \\\n  ".join(lines) + f"\n{text}\nJSON", whole
    body = json_body(request.body)
    if body is not None:
        lines.append(f"--data-binary @- <<'JSON'{after}")
        return " \\\n  ".join(lines) + f"\n{truncate(body)}\nJSON", len(body) <= BODY_LIMIT
    lines.append(f"--data-binary {_quoted_bytes(request.body[:BODY_LIMIT])}")
    return " \\\n  ".join(lines) + after, len(request.body) <= BODY_LIMIT


def _key_of(step: Step) -> str:
    if Tag.WRONG_KEY in step.tags:
        return "rejoinder-wrong-key"
    return _SECOND_KEY if step.tenant == 2 else _KEY


def _expanded_body(body: bytes, taken: Sequence[Taken]) -> tuple[str, bool]:
    """Return a JSON body for a here-document that the shell expands, and whether it is whole."""
    value, marks = parse_json(body), {}
    unused = "value-from-reply"
    while unused.encode() in body:
        unused += "-"
    for number, one in enumerate(taken):
        mark = f"{unused}.{number}."
        value = replaced(value, one.body or "", mark)
        marks[f'"{mark}"'] = _pick(one)
    text = truncate(_escaped(layout(value)))
    whole = len(text) <= BODY_LIMIT
    text = _escaped_for_document(text)
    for mark, pick in marks.items():
        text = text.replace(mark, pick)
    return text, whole


def _escaped_for_document(text: str) -> str:
    return re.sub(r"([\\$`])", r"\\\1", text)


def json_body(body: bytes) -> str | None:
    """Return a JSON body indented, or ``None`` when indenting it would change what it says.

    Characters that must not reach a page are written as JSON escapes, which say the same.
    """
    if len(body) > LAYOUT_LIMIT or _ESCAPED_LETTER.search(body):
        return None
    try:
        text = body.decode("utf-8")
        pairs = 0

        def count(items: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal pairs
            pairs += len(items)
            return dict(items)

        value = json.loads(text, object_pairs_hook=count, parse_constant=_refuse, parse_float=_exact_float)
        indented = layout(value)
    except (ValueError, RecursionError):
        return None
    if pairs != _pairs(value):
        return None
    return _escaped(indented)


def _exact_float(text: str) -> float:
    """Return a number that prints as it was sent; raise ``ValueError`` for ``1e3``, ``0.10`` and their like."""
    value = float(text)
    if repr(value) != text:
        raise ValueError(text)
    return value


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _pairs(value: Any) -> int:
    """Return how many members the objects of a value have; fewer than were parsed means that some stood twice."""
    if isinstance(value, dict):
        return len(value) + sum(map(_pairs, value.values()))
    if isinstance(value, list):
        return sum(map(_pairs, value))
    return 0


def _escaped(text: str) -> str:
    """Return JSON text with a JSON escape for each unprintable character and within each command of a CI system."""
    if printable(text, keep="\n") != text:
        text = "".join(c if c == "\n" or printable(c, keep="") == c else json.dumps(c)[1:-1] for c in text)
    return inert(text, lambda mark: f"{mark[:-1]}\\u{ord(mark[-1]):04x}")


def _streams(request: Request) -> bool:
    body = parse_json(request.body)
    return (isinstance(body, dict) and body.get("stream") is True) or "stream=true" in request.path


def _quoted(text: str) -> str:
    """Return one shell word. Unprintable characters go through ``$'…'``, so that they arrive but do not show.

    So do texts with a marker that a CI system obeys.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    if inert(printable(text, keep="")) == text:
        return shlex.quote(text)
    return _quoted_bytes(text.encode("utf-8"))


def _quoted_bytes(data: bytes) -> str:
    """Return bytes as one shell word: readable ASCII as it is, everything else as an octal escape.

    Where a CI system would obey the text, the first characters of its markers are escaped as well.
    """
    text = data.decode("latin-1")
    obeyed = set("#[_:+-~^").intersection(text) if inert(text) != text else ()
    if not obeyed and all(0x20 <= octet < 0x7F for octet in data):
        return shlex.quote(text)
    named = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x27: "\\'", 0x5C: "\\\\"}
    named |= {ord(mark): f"\\{ord(mark):03o}" for mark in obeyed}
    # Three octal digits: a hexadecimal escape would swallow a digit that follows it in some shells.
    return "$'" + "".join(named.get(o) or (chr(o) if 0x20 <= o < 0x7F else f"\\{o:03o}") for o in data) + "'"

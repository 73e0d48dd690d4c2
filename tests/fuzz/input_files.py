"""Every kind of input file, valid examples of each, and mutations of them.

``python tests/fuzz/input_files.py [--seconds S] [--kind NAME]... [--seed N]`` fuzzes for longer than CI does: inputs
that make a reader crash, or be unclear, go into a folder that the last line names. With ``--atheris`` the coverage
of the readers guides the mutations (needs the package atheris and one ``--kind``).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from rejoinder import contract
from rejoinder.cli import COMMANDS, _load
from rejoinder.conformance.baseline import read_baseline
from rejoinder.contract import _source, extension_records, load_dialect, load_families, load_features, load_rules
from rejoinder.errors import RejoinderError
from rejoinder.extensions import set_extensions
from rejoinder.load.schedule.traces import read_trace
from rejoinder.load.workload.corpus import read_corpus
from rejoinder.load.workload.profiles import load_profile
from rejoinder.model.runfile import read_run
from rejoinder.reports import render_csv, render_ctrf, render_html, render_junit, render_markdown, summarize
from rejoinder.settings import load_settings, options_of
from rejoinder.wire.request_options import read_request_options

ROOT: Final = Path(__file__).resolve().parents[2]
MESSAGE: Final = 2000
"""Characters of a message; a longer one is no sentence."""


class Kind(NamedTuple):
    """A kind of input file: the file's name, valid examples, and what reads it."""

    file: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]


def verdict(kind: Kind, data: bytes, folder: Path) -> str:
    """Write an input and read it; return what is wrong with how it is taken, or nothing.

    A reader takes the file, or raises one sentence that names it, with what to do next.
    """
    path = folder / kind.file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    try:
        kind.read(path)
    except RejoinderError as error:
        if path.stem not in error.message and str(folder) not in error.message:  # a profile names further files
            return f"the message does not name the file: {error.message}"
        if not error.hint:
            return f"the error does not say what to do: {error.message}"
        if "\n" in error.message or len(error.message) > MESSAGE or not error.message.endswith((".", "?")):
            return f"the message is no sentence: {error.message[:MESSAGE]}"
    except Exception:  # whatever a reader lets through is what is looked for
        return traceback.format_exc(limit=-6)
    return ""


@cache
def _known() -> Mapping[str, Mapping[str, Any]]:
    return {name: options_of(_load(name)) for name in COMMANDS if name != "baseline"}


def _settings(path: Path) -> None:
    for command in ("check", "load"):
        load_settings(_known(), command, folder=path.parent, environ={})


def _reported(path: Path) -> None:
    run = read_run(path)
    summarize(run).plain(40)
    for write in (render_html, render_junit, render_markdown, render_ctrf, render_csv):
        write(run)


def _dialect(path: Path) -> None:
    _source.parse.cache_clear()  # each text is another dialect, which a long run would keep
    load_dialect(path)


def _extension(path: Path) -> None:
    """Use the extension that a file is a part of; the other files of its folder are sound."""
    folder = path.parent if path.parent.name != "rules" else path.parent.parent
    (folder / "rules").mkdir(exist_ok=True)
    for name, text in _EXTENSION.items():
        if folder / name != path:
            (folder / name).write_text(text, "utf-8")
    contract._rules._load_rules.cache_clear()
    contract._features._load_features.cache_clear()
    try:
        set_extensions([folder])
        load_families()
        load_features()
        load_rules()
        extension_records()
    finally:
        set_extensions([])


def _extra_body(path: Path) -> None:
    read_request_options(extra_body=f"@{path}")


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def _shipped(package: str, folder: str, pattern: str) -> Callable[[], list[bytes]]:
    def read() -> list[bytes]:
        place = files(package).joinpath(folder)
        return [one.read_bytes() for one in place.iterdir() if re.fullmatch(pattern, one.name)]

    return read


def _stored(folder: str, pattern: str) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes()[:200_000] for path in sorted((ROOT / folder).glob(pattern))]


_SETTINGS: Final = """model = "tiny"
timeout = 10.5
header = ["X-A: b"]
[check]
plan = "quick"
budget = "200requests"
baseline-strict = false
[load]
concurrency = 4
duration = "30s"
slo = ["ttft p95 < 300ms"]
"""
_DIALECT: Final = """name = "own"
title = "Own gateway"
source = "our API reference"
base = "openai"
aliases = ["mine"]
[stream]
done_sentinel = "required"
[response]
required = ["metadata"]
[overlay.request]
remove = ["/properties/service_tier"]
add."/properties/route" = { type = "string", minLength = 1 }
[overlay.events]
exclude."/$defs/response.output_text.delta/required" = ["logprobs"]
"""
_EXTENSION: Final = {
    "extension.toml": """name = "own"
[families]
NAUGHTY = "Own gateway"
""",
    "features.toml": """[own_greeting]
title = "greetings"
at = "/greeting"
is = ["Hello"]
shows = "/output/*/type"
shown = ["greeting"]
example = { greeting = "Hello" }
""",
    "rules/naughty.toml": """[[rule]]
id = "NAUGHTY-01"
title = "greeting is repeated"
statement = "A response repeats the `greeting` of its request."
level = "SHOULD"
levels = { openai = "OFF" }
features = ["own_greeting"]
argument = "Clients show it."
""",
}
"""A small extension, by the names of its files."""
_MOONCAKE: Final = """{"timestamp": 0, "input_length": 6755, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 27482, "input_length": 7319, "output_length": 490, "hash_ids": [0, 14, 15]}
"""
_BURST: Final = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,,,ChatGPT,472,18,490,Conversation log
45,,,ChatGPT,1087,230,1317,Conversation log
"""
_AZURE: Final = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""

KINDS: Final[Mapping[str, Kind]] = {
    "settings": Kind("rejoinder.toml", _texts(_SETTINGS), _settings),
    "pyproject": Kind(
        "pyproject.toml",
        _texts('[tool.rejoinder]\nmodel = "tiny"\n[tool.rejoinder.load]\nrate = 5\n'),
        _settings,
    ),
    "profile": Kind(
        "naughty-profile.toml",
        _shipped("rejoinder.load.workload", "shipped", r".*\.toml"),
        lambda path: load_profile.__wrapped__(str(path)),
    ),
    "trace": Kind(
        "naughty-trace.csv", _texts(_MOONCAKE, _BURST, _AZURE), lambda path: read_trace.__wrapped__(str(path))
    ),
    "corpus": Kind(
        "naughty-corpus.json", _texts('{"input": "Hi"}\n{"input": [1]}\n', '[{"input": "Hi"}]'), read_corpus
    ),
    "baseline": Kind("naughty-baseline.toml", _stored("docs/baselines", "*.toml"), read_baseline),
    "dialect": Kind(
        "naughty-dialect.toml",
        lambda: [
            _DIALECT.encode(),
            *(
                re.sub(rb'^name = "\w+"', b'name = "own"', text, count=1, flags=re.MULTILINE)
                for text in _shipped("rejoinder.contract", "dialects", r"openai\.toml")()
            ),
        ],
        _dialect,
    ),
    "extension": Kind("extension.toml", _texts(_EXTENSION["extension.toml"]), _extension),
    "extension rules": Kind("rules/naughty.toml", _texts(_EXTENSION["rules/naughty.toml"]), _extension),
    "extension features": Kind("features.toml", _texts(_EXTENSION["features.toml"]), _extension),
    "body": Kind("naughty-body.json", _texts('{"metadata": {"tenant": "a"}, "temperature": 0.5}'), _extra_body),
    "run": Kind("run.ndjson", _stored("tests/model/v1", "*.ndjson"), _reported),
}
"""The kinds of input files by name."""

# Mutations

_LONG: Final = "x" * 70_000
EXTREMES: Final[tuple[Any, ...]] = (
    *(0, -1, 1, 2**31, 2**63, 10**40, -(10**40), 0.0, -0.5, 1e-320, 1e308, -1e308, 10**400, float("inf"), float("nan")),
    *(True, False, None, "", " ", "\0", "\n::error::\x1b[31m\u202e", "\ud800", "*", "../../etc/passwd"),
    *(
        "1e999s",
        "99999999999999999999d",
        "NaN",
        "inf",
        "9" * 5000,
        _LONG,
        "a.b.c",
        "$ref",
        "#/$defs/x",
        "/",
        "~2",
        "[",
        "(",
    ),
    *([], {}, [[]], [{}], [None], {"": ""}, {"$ref": "#"}, {"a": {"b": {"c": 1}}}, ["x"] * 3000, [1, "a", {}, []]),
)
"""Values that readers get wrong."""
BYTES: Final[tuple[bytes, ...]] = (
    *(
        b"",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\r",
        b"\n",
        b'"',
        b"'",
        b"'''",
        b"[",
        b"]",
        b"{",
        b"}",
        b"=",
    ),
    *(b",", b":", b"#", b"\\", b"\\u0000", b"\\ud800", b"1e999", b"-", b"nan", b"inf", b"0x1", b"1979-05-27T07:32:00Z"),
    *(
        b"[" * 3000,
        b"{" * 3000,
        b'{"a":' * 3000,
        b"9" * 5000,
        b"a." * 3000 + b"a=1",
        b"[a]\n",
        b"[[a]]\n",
        b"[" + b"a." * 2000,
    ),
)
"""Pieces of text that readers get wrong."""


def mutated(data: bytes, chance: random.Random, kind: str) -> bytes:
    """Return a mutation of an example: of its values where it can be parsed, or of its bytes, once or a few times."""
    if chance.random() < 0.65:
        changed = _changed_values(data, chance, kind)
        if changed is not None and chance.random() < 0.8:
            return changed
        data = changed or data
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        upto = min(len(data), at + chance.choice((0, 0, 1, 4, 40, 400)))
        piece = chance.choice(BYTES) if chance.random() < 0.7 else data[upto : upto + chance.randrange(60)]
        data = data[:at] + piece + data[upto:]
    return data


def _changed_values(data: bytes, chance: random.Random, kind: str) -> bytes | None:
    """Return the document with a value or name replaced, moved, doubled or removed; ``None`` when it does not parse."""
    text = data.decode("utf-8", "replace")
    is_toml = KINDS[kind].file.endswith(".toml")
    try:
        if is_toml:
            return _toml(_changed(tomllib.loads(text), chance)).encode("utf-8", "surrogatepass")
        lines = text.split("\n")
        at = chance.randrange(len(lines)) if chance.random() < 0.8 else 0
        lines[at] = json.dumps(_changed(json.loads(lines[at]), chance))
        if chance.random() < 0.1:
            lines.insert(chance.randrange(len(lines)), lines[at])
        return "\n".join(lines).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError, TypeError):
        return None


def _changed(value: Any, chance: random.Random, depth: int = 0) -> Any:
    if isinstance(value, dict) and value and (depth == 0 or chance.random() < 0.8):
        name = chance.choice(list(value))
        match chance.randrange(10):
            case 0:
                return {key: child for key, child in value.items() if key != name}
            case 1:
                return {**value, str(chance.choice(EXTREMES))[:300]: chance.choice(EXTREMES)}
            case 2:
                return {**value, name: value[chance.choice(list(value))]}
            case _:
                return {**value, name: _changed(value[name], chance, depth + 1)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        if chance.random() < 0.2:
            return value[:at] + value[at + 1 :] + value[at:] * chance.choice((0, 2))
        return [*value[:at], _changed(value[at], chance, depth + 1), *value[at + 1 :]]
    if chance.random() < 0.05:
        deep = value
        for _ in range(chance.choice((5, 90, 150))):
            deep = [deep] if chance.random() < 0.5 else {"a": deep}
        return deep
    return chance.choice(EXTREMES)


def _toml(table: Mapping[str, Any]) -> str:
    return "".join(f"{_quoted(key)} = {_inline(value)}\n" for key, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_inline(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) or value is None:
        return _quoted(value or "")
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


def _quoted(text: str) -> str:
    # JSON writes surrogates, DEL and what is beyond the first plane as TOML does not.
    escaped = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    return escaped.encode("utf-8", "replace").decode()


# By hand


def main(arguments: list[str]) -> int:
    """Fuzz, print what was found, and return 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="Seconds to fuzz, in all kinds together.")
    parser.add_argument("--kind", action="append", choices=KINDS, help="Kind of file. Repeatable. Default: all.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the mutations.")
    parser.add_argument("--atheris", action="store_true", help="Mutate one kind by coverage, with Atheris.")
    options = parser.parse_args(arguments)
    kinds = options.kind or list(KINDS)
    crashes = Path(tempfile.mkdtemp(prefix="rejoinder-fuzz-"))
    if options.atheris:
        return _by_coverage(kinds[0], options.seconds, crashes)
    tried, found = dict.fromkeys(kinds, 0), dict[str, str]()
    chance, end = random.Random(options.seed), time.monotonic() + options.seconds
    seeds = {name: KINDS[name].seeds() for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            name = chance.choice(kinds)
            data = mutated(chance.choice(seeds[name]), chance, name)
            tried[name] += 1
            began = time.monotonic()
            problem = verdict(KINDS[name], data, Path(folder))
            took = time.monotonic() - began
            if not problem and took > 5:
                problem = f"took {took:.0f} s"
            (Path(folder) / KINDS[name].file).unlink()
            # One crash is one place: the last line of its traceback that belongs to rejoinder.
            places = re.findall(r'File ".*?/((?:rejoinder|conformance|load|reports)/[^"]*)", line (\d+)', problem)
            key = f"{name}: {places[-1] if places else re.sub(r'[^a-z ]', '', problem)[:60]}"
            if problem and key not in found:
                found[key] = problem
                (crashes / f"{len(found)}-{Path(KINDS[name].file).name}").write_bytes(data)
                print(f"== {len(found)}. {key}\n{problem[-1500:]}\n", flush=True)
    print(f"{tried}; {len(found)} kinds of problems, inputs in {crashes}")
    return int(bool(found))


def _by_coverage(name: str, seconds: float, crashes: Path) -> int:
    import atheris

    kind = KINDS[name]
    atheris.instrument_all()
    corpus = crashes / "corpus"
    corpus.mkdir()
    found_once = (path.read_bytes() for path in sorted((ROOT / "tests/fuzz/corpus").glob(f"{name}-*")))
    for number, seed in enumerate((*kind.seeds(), *found_once)):
        (corpus / f"{number}").write_bytes(seed)
    folder = Path(tempfile.mkdtemp())

    def one(data: bytes) -> None:
        if problem := verdict(kind, data, folder):
            raise AssertionError(problem)

    words = [sys.argv[0], f"-max_total_time={seconds:.0f}", f"-artifact_prefix={crashes}/", "-rss_limit_mb=2048"]
    atheris.Setup([*words, str(corpus)], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Static checks of texts: words to avoid, prose, dead links, rules without a source, options without help.

``python tools/lint.py`` checks every file that git tracks; ``python tools/lint.py FILE ...`` checks these. Each finding
is one line, ``file:line: what is wrong and what to do``. The exit code is 1 if there are any.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from proselint import checks
from proselint.config import DEFAULT, Config
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

ROOT: Final = Path(__file__).resolve().parents[1]
VOCABULARY: Final = Path(__file__).with_name("vocabulary.toml")
PROSE_KEYS: Final = (
    "argument",
    "description",
    "finding",
    "reason",
    "statement",
    "summary",
    "takes",
    "title",
    "unchecked",
    "why",
)
"""Keys of TOML files whose values people read."""

_TOML_STRING: Final = re.compile(rf'\b({"|".join(PROSE_KEYS)})\s*=\s*"((?:[^"\\\n]|\\.)+)"')
_JS_STRING: Final = re.compile(r"""(["'`])((?:(?!\1)[^\\\n]|\\.)*)\1""")
_HIDDEN: Final = re.compile(r"\{#.*?#\}|\{%.*?%\}|<(style|script)\b.*?</\1>", re.DOTALL)
_VALUE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_TAG: Final = re.compile(r"<[^<>]*>", re.DOTALL)
_BLOCK: Final = re.compile(
    r"</?(?:p|div|section|h\d|li|ul|ol|td|th|tr|table|caption|summary|details|dt|dd|option|button)\b"
)
_MARKUP: Final = re.compile(r"``[^`]*``|`[^`]*`|:\w+:")
_CODE: Final = "\0"
_END: Final = "\1"
_SENTENCE: Final = re.compile(r"[A-Za-z]+(?:[ ,;:'\n]+[A-Za-z]+){2}")
"""What distinguishes prose from identifiers: three words in a row."""


class Finding(NamedTuple):
    """Something to mend, at a line (counted from 1) of a file (relative to the root)."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class Text(NamedTuple):
    """A piece of prose and the line on which it begins; code in it is replaced by ``X1``, ``X2`` and so on."""

    line: int
    text: str
    docstring: bool = False


class Avoided(NamedTuple):
    """A word or phrase of ``vocabulary.toml``, and what to write in its place."""

    pattern: re.Pattern[str]
    instead: str
    docstrings: bool
    """Whether docstrings avoid it too, or only what users read."""


@cache
def read_vocabulary() -> list[Avoided]:
    """Return the words and phrases to avoid, from ``tools/vocabulary.toml``."""
    rows = tomllib.loads(VOCABULARY.read_text(encoding="utf-8"))["avoid"]
    return [
        Avoided(_phrase(pattern), row["instead"], row.get("docstrings", True))
        for row in rows
        for pattern in row["patterns"]
    ]


def _phrase(pattern: str) -> re.Pattern[str]:
    """Return a pattern that matches whole words, in any case, also across line breaks."""
    words = pattern.replace(" ", r"\s+")
    return re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)


def _numbered(text: str) -> str:
    """Give each piece of code a name of its own, so that two in a row are no repeated word."""
    numbers = count(1)
    return re.sub(_CODE, lambda _: f"X{next(numbers)}", text)


def markdown_texts(source: str) -> Iterator[Text]:
    """Yield the paragraphs, headings and table cells of a Markdown page, without code."""
    for token in _tokens(source):
        if token.type == "inline" and token.map:
            yield Text(token.map[0] + 1, _numbered("".join(_inline(token.children or []))))


def _inline(children: Iterable[Token]) -> Iterator[str]:
    for child in children:
        match child.type:
            case "text":
                yield child.content
            case "code_inline":
                yield _CODE
            case "softbreak" | "hardbreak":
                yield "\n"


@cache
def _tokens(source: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(_without_front_matter(source))


def _without_front_matter(source: str) -> str:
    found = re.match(r"---\n.*?\n---\n", source, re.DOTALL)
    return "\n" * found[0].count("\n") + source[found.end() :] if found else source


def python_texts(source: str) -> Iterator[Text]:
    """Yield the docstrings and strings of a Python module that hold prose.

    A string is skipped if the comment ``# lint: off`` follows on its first line, such as a prompt for a model.
    """
    tree = ast.parse(source)
    parts: set[int] = set()
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    lines = source.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts.update(id(value) for value in node.values)
            text = "".join(_string(value) for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        if _SENTENCE.search(_MARKUP.sub(_CODE, text)) and "# lint: off" not in lines[node.lineno - 1]:
            yield Text(node.lineno, _numbered(_MARKUP.sub(_CODE, text)), id(node) in docstrings)


def _string(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else _CODE


def toml_texts(source: str) -> Iterator[Text]:
    """Yield the values of a TOML file that people read: titles, statements, reasons."""
    for number, line in enumerate(source.splitlines(), 1):
        for found in _TOML_STRING.finditer(line):
            yield Text(number, _numbered(_MARKUP.sub(_CODE, found[2])))


def template_texts(source: str) -> Iterator[Text]:
    """Yield the lines of text of a Jinja template, without tags and expressions."""
    shown = _VALUE.sub(_CODE, _HIDDEN.sub(_line_breaks, source))
    shown = _TAG.sub(lambda tag: _END * bool(_BLOCK.match(tag[0])) + _line_breaks(tag), shown)
    line = 1
    for block in shown.split(_END):
        blank = block[: len(block) - len(block.lstrip())]
        if _SENTENCE.search(block):
            yield Text(line + blank.count("\n"), _numbered(block.strip()))
        line += block.count("\n")


def _line_breaks(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def script_texts(source: str) -> Iterator[Text]:
    """Yield the strings of a JavaScript file that hold prose."""
    for number, line in enumerate(source.splitlines(), 1):
        for found in _JS_STRING.finditer(line):
            if _SENTENCE.search(found[2]):
                yield Text(number, found[2])


READERS: Final = {
    ".md": markdown_texts,
    ".py": python_texts,
    ".toml": toml_texts,
    ".j2": template_texts,
    ".js": script_texts,
}


def words_to_avoid(file: str, texts: Iterable[Text]) -> Iterator[Finding]:
    """Yield the words and phrases of the vocabulary that occur."""
    for start, text, docstring in texts:
        for avoided in read_vocabulary():
            if docstring and not avoided.docstrings:
                continue
            for found in avoided.pattern.finditer(text):
                line = start + text[: found.start()].count("\n")
                yield Finding(file, line, f'"{" ".join(found[0].split())}": {avoided.instead}')


def prose(file: str, texts: Iterable[Text]) -> Iterator[Finding]:
    """Yield what proselint finds, except about typography and style guides."""
    config = _prose_config()
    for start, text, _ in texts:
        for result in LintFile(file, text).lint(config) if text else ():
            yield Finding(
                file, start + text[: max(0, result.check_result.span[0] - 1)].count("\n"), result.check_result.message
            )


@cache
def _prose_config() -> Config:
    CheckRegistry().register_many(checks.__register__)
    off = ("typography", "restricted", "annotations", "dates_times", "needless_variants", "industrial_language")
    return {"max_errors": 1000, "checks": {**DEFAULT["checks"], **dict.fromkeys(off, False)}}


def dead_links(path: Path, source: str) -> Iterator[Finding]:
    """Yield links of a Markdown page to files and headings of the repository that do not exist."""
    file = str(path.relative_to(ROOT))
    for token in _tokens(source):
        for child in token.children or []:
            href = str(child.attrGet("href") or child.attrGet("src") or "")
            if not href or re.match(r"[a-z]+:", href):
                continue
            name, _, anchor = unquote(href).partition("#")
            target = (path.parent / name).resolve() if name else path
            line = (token.map or [0])[0] + 1
            if not target.exists():
                if not _is_generated(target):
                    yield Finding(file, line, f"The link {href} leads nowhere: there is no {name}. Correct the path.")
            elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
                known = ", ".join(sorted(_anchors(target)))
                yield Finding(
                    file, line, f"The link {href} leads nowhere: the page has no such heading. It has {known}."
                )


def _is_generated(target: Path) -> bool:
    """Whether Sphinx writes this page when it builds the site; it checks links to such pages itself."""
    return (ROOT / "docs/reference") in target.parents


@cache
def _anchors(page: Path) -> set[str]:
    source = page.read_text(encoding="utf-8")
    anchors = set(re.findall(r"(?m)^\(([\w-]+)\)=$", source))
    tokens = _tokens(source)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or [])
            anchors.add(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return anchors


def rules_without_source(file: str, source: str) -> Iterator[Finding]:
    """Yield the rules that neither cite a document nor give an argument."""
    for row in tomllib.loads(source).get("rule", []):
        if not row.get("sources") and not row.get("argument"):
            line = source[: source.index(f'id = "{row["id"]}"')].count("\n") + 1
            message = f"Rule {row['id']} has no source. Add `sources`, or `argument` if no document states the rule."
            yield Finding(file, line, message)


def options_without_help(file: str, source: str) -> Iterator[Finding]:
    """Yield the declarations of command line options that have no help."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("click.option", "click.Option"):
            continue
        helps = [keyword.value for keyword in node.keywords if keyword.arg in ("help", None)]
        if not helps or (isinstance(helps[0], ast.Constant) and not helps[0].value):
            texts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
            name = next((text for text in texts if isinstance(text, str) and text.startswith("-")), "The option")
            yield Finding(file, node.lineno, f"{name} has no help. Add help= with one sentence about what it does.")


def lint(path: Path) -> Iterator[Finding]:
    """Yield what is wrong in one file."""
    reader = READERS.get(path.suffix)
    if reader is None or path == VOCABULARY:
        return
    file, source = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    top = path.relative_to(ROOT).parts[0]
    if top not in ("tests", "benchmarks"):
        try:
            texts = list(reader(source))
        except SyntaxError as error:
            yield Finding(file, error.lineno or 1, f"This is not Python: {error.msg}.")
            return
        yield from words_to_avoid(file, texts)
        if path.suffix in (".md", ".toml", ".j2"):
            yield from prose(file, texts)
    if path.suffix == ".md":
        yield from dead_links(path, source)
    if path.suffix == ".py" and top == "src":
        yield from options_without_help(file, source)
    if path.suffix == ".toml" and path.parent.name == "rules":
        yield from rules_without_source(file, source)


def main(names: list[str]) -> int:
    """Print the findings in the named files, or in every tracked file; return the exit code."""
    if not names:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        names = [str(ROOT / name) for name in listed.split("\0") if name]
    paths = [path for path in (Path(name).resolve() for name in names) if path.is_file()]
    findings = [finding for path in paths for finding in lint(path)]
    print(*findings, sep="\n" if findings else "", end="\n" if findings else "")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How complete each dialect is beside its reference: python benchmarks/dialect_table.py [DIALECT ...] [--vllm WHEEL]

Prints a Markdown table with one column for each dialect. The references are the typed clients that are installed
(openai, tzafon), the published OpenAPI document of Open Responses, and the source of vLLM from a wheel. The figures:

- fields, parameters and events that the reference has and the dialect lacks
- bodies that rejoinder sends as valid and the reference refuses
- permissions of the documents (freedoms of the sandbox) under which a rule of level MUST or SHOULD fails
- sentences of the specification's text without a rule and without a reason
- invalid replies and streams that break a MUST rule, of those in ``benchmarks/reply_mutations.py``

Exits with 1 if any of the first four is not 0, or the last is below 97 %.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from reply_mutations import PROMISED, reference, score, templates  # noqa: E402
from tests.open_responses import validator  # noqa: E402
from tools.drift import (  # noqa: E402
    PUBLISHED,
    VLLM_FOLDER,
    Differences,
    vllm_differences,
    walk_openai,
    walk_tzafon,
)

from rejoinder.conformance.proof.quiet import quiet_matrix  # noqa: E402
from rejoinder.conformance.running.plan import build_plan  # noqa: E402
from rejoinder.contract import (  # noqa: E402
    Dialect,
    dialect_names,
    documents_with_sentences,
    load_dialect,
    load_sentences,
)
from rejoinder.contract.branches import Branches  # noqa: E402
from rejoinder.contract.comparing import differences  # noqa: E402
from rejoinder.contract.openapi import convert, dialect_files, read_document  # noqa: E402
from rejoinder.model.tags import Tag  # noqa: E402
from rejoinder.model.verdict import ABSENT  # noqa: E402
from rejoinder.sandbox import load_freedoms  # noqa: E402
from rejoinder.strategies import each_choice, one_factor, request_bodies, sample  # noqa: E402
from rejoinder.wire.base_form import fit_body  # noqa: E402

_DRAWN: Final = 300
"""Random bodies that are held to the reference, besides those of the plan and of the systematic sets."""
_MODEL: Final = "example-model"
_NONE: Final = "–"

Accepts = Callable[[Any], bool]


@dataclass(slots=True)
class Row:
    """One line of the table: what it counts, the cell of each dialect, and whether each is as it must be."""

    title: str
    cells: dict[str, str] = field(default_factory=dict)
    kept: bool = True
    details: list[str] = field(default_factory=list)

    def count(self, dialect: str, wrong: Iterable[str], whole: int | None = None) -> None:
        """Set the cell of a dialect to a number that must be 0, of so many; ``wrong`` names what is counted."""
        found = sorted(wrong)
        self.cells[dialect] = f"{len(found):,}" if whole is None else f"{len(found):,} of {whole:,}"
        self.kept &= not found
        self.details += [f"{self.title}, {dialect}: {one}" for one in found]


def document_differences(dialect: Dialect) -> Differences:
    """Return how a dialect differs from the published document of Open Responses."""
    with tempfile.TemporaryDirectory() as folder:
        dialect_files(convert(read_document(PUBLISHED)), name="published").write(Path(folder))
        published = load_dialect(Path(folder) / "published.toml")
        return {
            f"{one.area} {one.place}": "missing here" if one.other is ABSENT else f"{one.one} there, {one.other} here"
            for one in differences(published, dialect)
            if one.kind == "presence" and one.area in ("request", "response", "events")
        }


def source_differences(wheel: Path) -> Differences:
    """Return how the dialect vllm differs from the source in a wheel of vLLM."""
    with zipfile.ZipFile(wheel) as archive:
        texts = [archive.read(f"{VLLM_FOLDER}/{name}.py").decode() for name in ("protocol", "streaming_events")]
    return vllm_differences(*texts)


def compared(dialect: Dialect, wheel: Path | None) -> tuple[str, Differences | None]:
    """Return the reference of a dialect, and how they differ; ``None`` where the reference is not at hand."""
    if dialect.name == "openresponses":
        return "OpenAPI document 2026-04-24", document_differences(dialect)
    if dialect.name == "vllm":
        return ("source of vLLM", None) if wheel is None else (wheel.stem, source_differences(wheel))
    package, walk = ("openai", walk_openai) if dialect.name == "openai" else ("tzafon", walk_tzafon)
    with contextlib.suppress(ImportError):
        return f"types of {package} {import_module(package).__version__}", walk()
    return f"types of {package}", None


def request_reference(dialect: Dialect) -> tuple[str, Accepts]:
    """Return what create requests are validated with: the reference of the dialect, or else the dialect's own schema.

    The schema of northstar is what its reference document says, token by token (tests/contract/test_seed.py). The types
    of tzafon lack some items of that document. The source of vLLM cannot run without an engine.
    """
    if dialect.name == "openresponses":
        return "document", validator("CreateResponseBody").is_valid
    if dialect.name == "openai":
        with contextlib.suppress(ImportError):
            from pydantic import TypeAdapter, ValidationError

            types = import_module("openai.types.responses.response_create_params")
            adapter: Any = TypeAdapter(types.ResponseCreateParams)

            def accepts(body: Any) -> bool:
                try:
                    _read(adapter.validate_python(body))
                except ValidationError:
                    return False
                return True

            return "types", accepts

    def own(body: Any) -> bool:
        return dialect.possible_requests.is_valid(body) and not any(one.applies(body) for one in dialect.exclusions)

    return "own schema", own


def _read(value: Any) -> None:
    """Read all elements of what was validated: those of an iterable are validated when they are read."""
    if isinstance(value, dict):
        value = value.values()
    if not isinstance(value, str | bytes) and isinstance(value, Iterable):
        for inner in value:
            _read(inner)


def valid_bodies(dialect: Dialect) -> Iterator[tuple[str, Any]]:
    """Yield the bodies that rejoinder sends as valid, with their names: of plans, of systematic sets and drawn ones."""
    for case in build_plan("full", dialect, model=_MODEL).cases:
        for request in case.requests:
            if Tag.VALID in request.tags and isinstance(request.body, dict):
                yield f"{case.id}/{request.role}", fit_body(request.body, dialect.usual_form, {})
    for generated in (*each_choice("item", dialect=dialect), *one_factor(dialect=dialect)):
        yield generated.id, generated.body
    for number, body in enumerate(sample(request_bodies(dialect=dialect), _DRAWN, seed=1)):
        yield f"drawn {number}", body


def permissions(dialect: Dialect, plan: str) -> tuple[list[str], int]:
    """Return the freedoms of a dialect under which a rule of level MUST or SHOULD fails, and how many there are."""
    rows = list(quiet_matrix(plan, [dialect.name], load_freedoms()))
    return [f"{row.freedoms[0]}: {', '.join(row.loud) or 'error'}" for row in rows if not row.good], len(rows)


def table(names: Iterable[str], wheel: Path | None, plan: str, most: int) -> list[Row]:
    """Return the rows of the table."""
    rows = {
        key: Row(title)
        for key, title in {
            "reference": "reference",
            "branches": "branches of the request",
            "missing": "fields and events that only the reference has",
            "refused": "valid bodies that the reference refuses",
            "permissions": "permissions under which a rule fails",
            "sentences": "sentences without a rule and a reason",
            "plain": "invalid responses that a MUST rule catches",
            "stream": "invalid streams that a MUST rule catches",
        }.items()
    }
    for name in names:
        dialect = load_dialect(name)
        label, found = compared(dialect, wheel)
        rows["reference"].cells[name] = label
        rows["branches"].cells[name] = f"{len(Branches.of_dialect(name).all):,}"
        if found is None:
            rows["missing"].cells[name] = _NONE
        else:
            rows["missing"].count(name, [place for place, what in found.items() if what == "missing here"])
        kind, accepts = request_reference(dialect)
        bodies = list(valid_bodies(dialect))
        rows["refused"].count(name, [place for place, body in bodies if not accepts(body)], len(bodies))
        rows["refused"].cells[name] += f" ({kind})"
        rows["permissions"].count(name, *permissions(dialect, plan))
        if name in documents_with_sentences():
            sentences = load_sentences(name)
            open_ones = [one.text for one in sentences if not one.rules and not one.reason]
            rows["sentences"].count(name, open_ones, len(sentences))
        replies, judge = templates(dialect), reference(dialect, PUBLISHED)
        for key, stream in (("plain", False), ("stream", True)):
            result = score(dialect, replies, judge, stream=stream, most=most)
            rows[key].cells[name] = f"{result.caught:,} of {result.invalid:,} ({result.share:.1%})"
            rows[key].kept &= result.share >= PROMISED
    return list(rows.values())


def markdown(rows: Iterable[Row], names: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the table."""
    names = list(names)
    yield " | ".join(["| ", *(f"`{name}`" for name in names)]) + " |"
    yield "| " + " | ".join(["---"] * (len(names) + 1)) + " |"
    for row in rows:
        yield "| " + " | ".join([row.title, *(row.cells.get(name, _NONE) for name in names)]) + " |"


def main() -> int:
    """Print the table and what is wrong, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dialects", nargs="*", default=dialect_names(), metavar="DIALECT")
    parser.add_argument("--vllm", type=Path, metavar="WHEEL", help="Wheel of vLLM. Default: its row stays empty.")
    parser.add_argument("--plan", default="smoke", help="Plan that is sent under each permission. Default: smoke.")
    parser.add_argument("--most", type=int, default=4_000, help="Invalid replies of each dialect and manner.")
    options = parser.parse_args()
    rows = table(options.dialects, options.vllm, options.plan, options.most)
    print("\n".join(markdown(rows, options.dialects)))
    for row in rows:
        print("\n".join(row.details), end="\n" if row.details else "")
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

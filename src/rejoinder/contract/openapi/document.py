"""OpenAPI documents: reading one within limits, and following its references."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from rejoinder.budgets import INPUT_OPENAPI
from rejoinder.contract._vocabulary import find
from rejoinder.errors import ContractError
from rejoinder.formatting import one_line
from rejoinder.input_file import parse_json_file, read_text
from rejoinder.model.verdict import ABSENT
from rejoinder.validation import pointer_keys

_VERSIONS: Final = re.compile(r"3\.[12](\.\d+)?(-.*)?")
_CORRECT: Final = "Correct the document."
_YAML: Final = "Convert it to JSON first: yq -o=json {} > openapi.json"


class Document:
    """An OpenAPI document. ``file`` is its path as errors name it, ``root`` the parsed JSON."""

    def __init__(self, file: str, root: Any) -> None:
        self.file = file
        if not isinstance(root, dict):
            raise self.error("", "openapi", "the document must hold one object")
        self.root: Mapping[str, Any] = root
        if "swagger" in root:
            raise self.error(
                "/swagger", "swagger", "expected OpenAPI 3.1", "Convert the document: npx swagger2openapi FILE"
            )
        version = root.get("openapi", ABSENT)
        if not isinstance(version, str) or not _VERSIONS.fullmatch(version):
            what = "it is missing" if version is ABSENT else f"version is {version!r}"
            raise self.error("/openapi", "openapi", f"{what}, expected 3.1", "Give an OpenAPI 3.1 document.")
        if not isinstance(root.get("paths"), dict):
            raise self.error("/paths", "paths", "it must be an object")

    @property
    def title(self) -> str:
        """The title that the document gives itself, or the empty string."""
        title = find(self.root, ["info", "title"])
        return one_line(title, 80) if isinstance(title, str) else ""

    @property
    def version(self) -> str:
        """The version that the document gives itself, or the empty string."""
        version = find(self.root, ["info", "version"])
        return one_line(version, 40) if isinstance(version, str) else ""

    def error(self, pointer: str, keyword: str, what: str, hint: str = _CORRECT) -> ContractError:
        """Return the error that names the file, the place and the keyword, ready to be raised."""
        place = one_line(pointer, 200) or "/"
        return ContractError(
            f"{self.file}: at {place}, keyword '{one_line(keyword, 60)}': {one_line(what, 300)}.", hint
        )

    def follow(self, node: Any, at: str) -> tuple[Any, str]:
        """Return a node without a reference that is all that it holds, and its place.

        Raises :class:`~rejoinder.errors.ContractError` for a reference that leads nowhere, out of the document or back
        to itself. Nothing is fetched.
        """
        seen: list[str] = []
        while isinstance(node, dict) and "$ref" in node and not set(node) - {"$ref", "summary", "description"}:
            reference, place = node["$ref"], at
            node, at = self.resolve(reference, place)
            if at in seen:
                raise self.error(place, "$ref", f"{reference!r} leads back to itself")
            seen.append(at)
        return node, at

    def resolve(self, reference: Any, at: str) -> tuple[Any, str]:
        """Return what a reference leads to, and its place; raises as :meth:`follow` does."""
        if not isinstance(reference, str):
            raise self.error(at, "$ref", "it must be a string")
        if not reference.startswith("#"):
            raise self.error(
                at,
                "$ref",
                f"{reference!r} leads out of the document, and rejoinder fetches no references",
                "Bundle the document into one file: npx @redocly/cli bundle FILE",
            )
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            raise self.error(at, "$ref", f"{reference!r} is no JSON pointer, and anchors are not supported")
        found = find(self.root, pointer_keys(pointer))
        if found is ABSENT:
            raise self.error(at, "$ref", f"{reference!r} does not exist")
        return found, pointer

    def table(self, node: Any, key: str, at: str) -> Mapping[str, Any]:
        """Return the object that a node has under a key, empty when there is none."""
        value = node.get(key, {}) if isinstance(node, dict) else {}
        if not isinstance(value, dict):
            raise self.error(f"{at}/{key}", key, "it must be an object")
        return value


def read_document(path: Path) -> Document:
    """Return the OpenAPI document in a JSON file.

    Raises :class:`~rejoinder.errors.ContractError` for a file that cannot be read, is over a limit, is no JSON or is no
    OpenAPI 3.1 document.
    """
    try:
        text = read_text(path, INPUT_OPENAPI)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ContractError(f"Cannot read {path}: {reason}.", "Check the path.") from error
    if path.suffix.lower() in (".yaml", ".yml") or re.match(r"(?:\s*#.*\n)*\s*(?:---|openapi\s*:)", text):
        raise ContractError(f"{path} is YAML, expected JSON.", _YAML.format(path))
    try:
        return Document(str(path), parse_json_file(text))
    except ValueError as error:
        raise ContractError(f"{path} is not valid JSON: {one_line(str(error))}.", _CORRECT) from error

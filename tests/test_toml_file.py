"""TOML files that people write: every error names file, line and key, and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rejoinder.errors import BaselineError, UsageError
from rejoinder.toml_file import TomlFile
from rejoinder.validation import Validator

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "description": "A name."},
        "when": {"type": "string", "pattern": "^[0-9-]+$", "description": "A day."},
        "size": {"anyOf": [{"type": "integer", "minimum": 1}, {"$ref": "#/$defs/box"}], "description": "A size."},
        "boxes": {"type": "array", "items": {"$ref": "#/$defs/box"}},
        "own": {"type": "object", "properties": {"name": {"not": {}, "description": "It has a name already."}}},
    },
    "$defs": {
        "box": {
            "type": "object",
            "additionalProperties": False,
            "required": ["width"],
            "properties": {
                "width": {"type": "number", "maximum": 9, "description": "How wide."},
                "a/b": {"enum": [1, 2]},
            },
        }
    },
}


def checked(text: str) -> None:
    TomlFile(Path("my.toml"), text, "test file").check(Validator(SCHEMA))


@pytest.mark.parametrize(
    "text",
    ["", "when = 2027-01-31\nsize = 3\n", "size.width = 2.5\n[[boxes]]\nwidth = 1\n[[boxes]]\nwidth = 2\n'a/b' = 1\n"],
)
def test_a_good_file_passes(text: str) -> None:
    checked(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nmae = 'x'", "my.toml, line 1: nmae is not a known key. Did you mean name?"),
        ("\nzzzzzz = 'x'", "my.toml, line 2: zzzzzz is not a known key. Use name, when, size, boxes, own."),
        ("name = 3", "my.toml, line 1: name is 3, expected string. A name."),
        ("when = 10:00:00", 'my.toml, line 1: when is "10:00:00", which is invalid. A day.'),
        ("size = 0", "my.toml, line 1: size is 0, expected at least 1. A size."),
        ("size = nan", "my.toml, line 1: size is nan, expected a finite number. Correct the file."),
        ("[size]\nwidht = 3", "my.toml, line 2: size.widht is not a known key. Did you mean width?"),
        ("[[boxes]]\nwidth = 3\n\n[[boxes]]\n", "my.toml, line 4: boxes[1].width is missing. How wide."),
        (
            "[[boxes]]\nwidth = 3\n\n[[boxes]]\n\nwidth = 10",
            "my.toml, line 6: boxes[1].width is 10, expected at most 9. How wide.",
        ),
        (
            "boxes = [{width = 1, 'a/b' = 3}]",
            "my.toml, line 1: boxes[0].a/b is 3, expected one of 1, 2. Correct the file.",
        ),
        ("[own]\nname = 'x'", "my.toml, line 2: own.name cannot be set here. It has a name already."),
    ],
)
def test_an_error_names_file_line_and_key(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(text)
    assert str(caught.value) == sentence


def test_errors_are_of_the_class_of_the_file() -> None:
    with pytest.raises(BaselineError, match=r"^The baseline my\.toml is not valid TOML: .*line 2"):
        TomlFile(Path("my.toml"), "a = 1\n=", "baseline", BaselineError)
    file = TomlFile(Path("my.toml"), "[a]\nb = 1", "baseline", BaselineError)
    assert str(file.error(("a", "c"), "is odd", "Mend it.")) == "my.toml, line 1: a.c is odd. Mend it."
    assert type(file.error((), "is odd")) is BaselineError

"""Colours can be told from their background, in light and in dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

CSS = "".join(
    files("rejoinder.reports").joinpath("templates", name).read_text("utf-8") for name in ("report.css", "load.css")
)
PALETTE = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS)
}
TEXTS = ["ink", "soft", "link", "fail", "warn", "error", "info", "pass", "quiet", "fresh"]


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("back", ["bg", "panel"])
def test_texts_have_contrast(text: str, back: str, theme: int) -> None:
    assert contrast(PALETTE[text][theme], PALETTE[back][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("text", ["ink", "soft"])
def test_code_has_contrast(text: str, theme: int) -> None:
    assert contrast(PALETTE[text][theme], PALETTE["code"][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("back", ["fail-back", "pass-back", "hit-back"])
def test_marks_have_contrast(back: str, theme: int) -> None:
    assert contrast(PALETTE["ink"][theme], PALETTE[back][theme]) >= 7


def test_every_colour_has_both_themes_and_is_used() -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", CSS))
    assert set(PALETTE) <= used
    assert used - set(PALETTE) <= {"tone", "sans", "mono", "tone, inherit"}


def test_no_colour_stands_outside_of_the_palette() -> None:
    body = CSS[CSS.index("}") :]
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", re.sub(r"#(?:findings|rules|load)\b", "", body))

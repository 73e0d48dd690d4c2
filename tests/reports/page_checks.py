"""What holds for every page, whatever the run."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from tests.surfaces import ACTIVE


class Page(HTMLParser):
    """Reads a page as a browser would: its elements, attributes, texts and ids, and whether its tags are balanced."""

    VOID = frozenset(("meta", "input", "br", "img", "link", "hr"))

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)
        self.close()
        self.unbalanced += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def check_page(text: str) -> Page:
    """Assert what holds for every page, whatever the run."""
    text.encode("utf-8")
    page = Page(text)
    assert page.unbalanced == []
    assert page.count("script") == 1
    assert page.count("style") == 1
    for tag in ("img", "iframe", "object", "embed", "link", "base", "video", "audio", "source", "foreignobject"):
        assert page.count(tag) == 0, tag
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("style", "src", "srcdoc", "action") for name in attributes), (
            tag
        )
        href = attributes.get("href")
        assert href is None or href.startswith("#"), href
    assert not ACTIVE.search(re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL))
    return page

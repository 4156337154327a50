"""Text that would do harm where it is not escaped, and ways to put it everywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from html.parser import HTMLParser
from typing import Any

RUN = "new Image().src='ASKED/ran'"
STRINGS = (
    f"<script>{RUN}</script>", f'"><img src=x onerror={RUN}>', f"' onmouseover='{RUN}",
    f"javascript:{RUN}", f"<svg onload={RUN}>", "</title></style></head>", "<!--", "-->", "]]>",
    "</style><style>@import url(ASKED/style)</style>", "{{ 7 * 7 }}", "{% raw %}", "&lt;b&gt;",
    "<base href=ASKED>", "<iframe src=ASKED>", "<link rel=stylesheet href=ASKED/link>",
    "<meta http-equiv=refresh content='0;url=ASKED/meta'>", "<img src=ASKED/img>",
    "\x00\x1b[2J\u202e", "$\\frac{$", "=cmd|' /C x'!A1",
)  # fmt: skip
CANARY = f"<script>{RUN}</script><img src=ASKED/img>"
HARMLESS = " harmless"


def changed(value: Any, more: str, ours: Collection[tuple[type, str]] = ()) -> Any:
    """A copy with `more` behind every string in it, the keys of mappings too; not in the fields
    `ours` of dataclasses."""

    def new(value: Any) -> Any:
        return changed(value, more, ours)

    if isinstance(value, str):
        return value + more
    if isinstance(value, dict) or hasattr(value, "items"):
        section = "name" in value  # its keys are named by the template
        return {k if section else new(k): new(of) for k, of in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(map(new, value))
    if isinstance(value, tuple):
        return type(value)(*map(new, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        theirs = [name for name in names if (type(value), name) not in ours]
        return dataclasses.replace(value, **{name: new(getattr(value, name)) for name in theirs})
    return value


class Recorder:
    """A template that keeps what it is given, to be shown again with other text."""

    def __init__(self, template: Any) -> None:
        self.template, self.about = template, {}

    def render(self, **about: Any) -> str:
        """The page as it is."""
        self.about = about
        return str(self.template.render(**about))

    def with_text(self, more: str) -> str:
        """The page with `more` behind all text; where the study is, is ours."""
        about = {n: v if n == "study" else changed(v, more) for n, v in self.about.items()}
        return str(self.template.render(**about))


class Outline(HTMLParser):
    """The tags with the names of their attributes, the links, the style, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.links: list[str] = []
        self.text = self.style = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.links += [str(v) for name, v in attrs if name in ("href", "src", "action", "style")]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == [("style",)]:
            self.style += data
        self.text += data

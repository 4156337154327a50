"""Put the examples into docs/extend.md: `python -m tests.examples.page`."""

from __future__ import annotations

import re

from tests.examples.adding import EXAMPLES

PAGE = EXAMPLES.parents[1] / "docs/extend.md"
PLACE = re.compile(r"(<!-- example: (\w+) -->\n).*?(<!-- end of \2 -->\n)", re.DOTALL)


def shown(name: str) -> str:
    """Return the files of an example as Markdown, and what goes into params.yaml."""
    folder, parts = EXAMPLES / name, []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        parts.append(f"`{path.relative_to(folder).as_posix()}`:\n\n```python\n{text}```\n")
    lines = (folder / "params.yaml").read_text(encoding="utf-8")
    return "\n".join([*parts, f"`params.yaml`:\n\n```yaml\n{lines}```\n"])


def filled(page: str) -> str:
    """Return the page with each example at its place."""
    return PLACE.sub(lambda found: f"{found[1]}\n{shown(found[2])}\n{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

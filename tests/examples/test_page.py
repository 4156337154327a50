"""docs/extend.md shows the examples as they are."""

from __future__ import annotations

import re

import pytest

from mmts.plan import REGISTRIES
from tests.examples.adding import EXAMPLES
from tests.examples.page import PAGE, PLACE, filled

TEXT = PAGE.read_text(encoding="utf-8")
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/params.yaml"))


def test_the_page_is_of_the_files() -> None:
    """Where not: `python -m tests.examples.page`."""
    assert filled(TEXT) == TEXT


def test_each_example_stands_there_once() -> None:
    found = [place[2] for place in PLACE.finditer(TEXT)]
    assert sorted(found) == NAMES
    assert len(re.findall("<!--", TEXT)) == 2 * len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_one_new_file_at_most(name: str) -> None:
    files = [path.relative_to(EXAMPLES / name) for path in (EXAMPLES / name).rglob("*.py")]
    assert len(files) <= 1
    for file in files:
        assert (EXAMPLES.parents[1] / file.parent).is_dir() and file.stem in TEXT


def test_each_registry_is_told_of() -> None:
    for registry in REGISTRIES:
        folder = registry.package.replace(".", "/")
        assert f"`{folder}`" in TEXT, folder
        assert f"`{registry.base.__name__}`" in TEXT, registry.base.__name__

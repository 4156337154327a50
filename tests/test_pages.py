"""What docs/cc3m.md and docs/own-pairs.md show: settings are valid, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mmts.config import check
from mmts.params import lookup, read_params
from mmts.settings.dataset import Dataset
from tests.making import changed, write_params

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8")
         for name in ("cc3m.md", "own-pairs.md")}  # fmt: skip
PARAMS = read_params(ROOT / "params.yaml")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[name], re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[list[str]]:
    lines = "".join(blocks(name, "sh")).replace("\\\n", "").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def overrides(command: list[str]) -> dict[str, Any]:
    """What `-S key=value` sets."""
    found = [word for flag, word in pairwise(command) if flag == "-S"]
    read = YAML(typ="safe").load
    return {key: read(value) for key, _, value in (word.partition("=") for word in found)}


@pytest.mark.parametrize("name", PAGES)
def test_commands_set_what_is_there(name: str, tmp_path: Path) -> None:
    runs = [command for command in commands(name) if command[:3] == ["dvc", "exp", "run"]]
    assert len(runs) == 3
    for run in runs:
        changes = overrides(run)
        assert changes and all(lookup(PARAMS, key, name) is not ... for key in changes)
        check(write_params(tmp_path / "params.yaml", PARAMS, changes))


def test_entries_of_a_dataset_are_valid() -> None:
    own, entries = PARAMS["datasets"]["my_pairs"], blocks("own-pairs.md", "yaml")
    assert len(entries) == 3
    for text in entries:
        parts = YAML(typ="safe").load(text)
        Dataset.model_validate(changed(own, parts))


@pytest.mark.parametrize("name", PAGES)
def test_links_and_names(name: str) -> None:
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", PAGES[name]):
        assert (ROOT / "docs" / target).is_file(), target
    for file in re.findall(r"`(tests/[\w/]+\.py)`", PAGES[name]):
        assert (ROOT / file).is_file(), file
    for method in re.findall(r"^\|.*\| `(\w+)` \|$", PAGES[name], re.MULTILINE):
        assert method in PARAMS["methods"], method

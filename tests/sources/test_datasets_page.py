"""The settings that docs/datasets.md shows are valid, and its layout is the one that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mmts.settings import Captions

PAGE = (Path(__file__).parents[2] / "docs/datasets.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
PARTS = re.findall(r"^\|.*\| `(\{.*?\})`", PAGE, re.MULTILINE)


@pytest.mark.parametrize("text", ENTRIES)
def test_entries(text: str) -> None:
    found = Captions.model_validate(YAML(typ="safe").load(text)["captions"])
    assert list(found.sources) == ["cc3m", "coco", "flickr30k"]


@pytest.mark.parametrize("text", PARTS)
def test_parts(text: str) -> None:
    train = YAML(typ="safe").load(text)
    Captions.model_validate({"sources": {"cc3m": {"kind": "cc3m", "train": train}}})


def test_they_were_found() -> None:
    assert (len(ENTRIES), len(PARTS)) == (2, 4)

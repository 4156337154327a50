"""The settings that docs/datasets.md shows are valid, and its layout is the one of params.yaml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mmts.settings.sources import Captions

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
    assert (len(ENTRIES), len(PARTS)) == (1, 4)


def test_the_files_of_params_yaml_are_in_the_layout() -> None:
    tree = YAML(typ="safe").load((Path(__file__).parents[2] / "params.yaml").read_text())
    captions = Captions.model_validate(tree["datasets"]["cc3m"]["captions"])
    cc3m, coco, flickr30k = (captions.sources[name] for name in ("cc3m", "coco", "flickr30k"))
    parts = (cc3m.train, cc3m.val)
    files = [part.tsv for part in parts] + [source.captions for source in (coco, flickr30k)]
    folders = [source.images for source in (*parts, coco, flickr30k)]
    layout = re.search(r"^data/raw/cc3m/\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert layout and all(f"{name}" in layout[1] for name in files)
    assert all(f"  {name}/" in layout[1] for name in folders)

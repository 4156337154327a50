"""What README and docs show: `-S` runs as written, settings are valid, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mmts.config import Config, load, resolved
from mmts.described import HEADING, described
from mmts.params import read_params
from mmts.plan import STAGES
from mmts.settings.dataset import Dataset
from mmts.settings.sources import Captions
from tests.making import changed

ROOT = Path(__file__).parent.parent
PATHS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"))
PAGES = {path.name: path.read_text(encoding="utf-8") for path in PATHS}
PARAMS = read_params(ROOT / "params.yaml")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGES[name], re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[list[str]]:
    lines = "".join(blocks(name, "sh")).replace("\\\n", "").splitlines()
    return [shlex.split(line, comments=True) for line in lines if "<<" not in line]


def overrides(command: list[str]) -> list[str]:
    """What follows each `-S`."""
    return [word for flag, word in pairwise(command) if flag == "-S"]


def experiments(name: str) -> list[list[str]]:
    return [found for command in commands(name) if (found := overrides(command))]


RUNS = [(name, run) for name in PAGES for run in experiments(name)]


@pytest.mark.parametrize(("name", "run"), RUNS, ids=[f"{name}-{run[0]}" for name, run in RUNS])
def test_what_is_set_by_a_command_runs_as_written(
    name: str, run: list[str], tmp_path: Path
) -> None:
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    shutil.copyfile(ROOT / "params.yaml", path)
    apply_overrides(path, run)
    assert read_params(path) != PARAMS
    load(path)


def test_they_were_found() -> None:
    found = {name: len(experiments(name)) for name in PAGES}
    assert {n: k for n, k in found.items() if k} == {
        "README.md": 3, "cc3m.md": 3, "ek100.md": 3, "own-pairs.md": 3, "params.md": 2,
        "youcook2.md": 6,
        "ssv2.md": 2,
    }  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_what_stands_in_the_text_is_set_as_it_says(name: str, tmp_path: Path) -> None:
    from dvc.utils.hydra import apply_overrides

    for text in re.findall(r"`((?:dvc exp run )?-S [^`]*)`", PAGES[name]):
        path = tmp_path / "params.yaml"
        shutil.copyfile(ROOT / "params.yaml", path)
        apply_overrides(path, overrides(shlex.split(text)))
        load(path)


@pytest.mark.parametrize("name", PAGES)
def test_commands_name_stages_that_there_are(name: str) -> None:
    for stage in re.findall(r"-m stages\.(\w+)", PAGES[name]):
        assert (ROOT / "stages" / f"{stage}.py").is_file(), stage
    for stage in re.findall(r"dvc repro (?:-\w+ )*([a-z]\w*)", PAGES[name]):
        assert stage in ("plan", *STAGES), stage


@pytest.mark.parametrize("name", PAGES)
def test_what_is_gone_is_spoken_of_nowhere(name: str) -> None:
    text = PAGES[name]
    if name == "params.md":  # the new places of old keys
        text = re.sub(
            r"### An earlier params.yaml.*?^## ", "", text, flags=re.DOTALL | re.MULTILINE
        )
    for gone in ("stages.check", "tau_default", "shift_mapping", "dvclive", "data/check",
                 "mmts/kinds.py", "head: null", "methods.<m>.alpha"):  # fmt: skip
        assert gone not in text, gone


def test_entries_of_a_dataset_are_valid() -> None:
    own, entries = PARAMS["datasets"]["my_pairs"], blocks("own-pairs.md", "yaml")
    assert len(entries) == 3
    for text in entries:
        parts = YAML(typ="safe").load(text)
        assert set(parts) <= set(Dataset.model_fields)
        resolved(changed(PARAMS, {"datasets.my_pairs": {**own, **parts}}))


def test_long_tails_are_valid() -> None:
    entries = [YAML(typ="safe").load(text) for text in blocks("ssv2.md", "yaml")]
    sources = PARAMS["datasets"]["ssv2_lt"]["captions"]["sources"]
    found = [Captions.model_validate({"sources": sources, **e.get("captions", e)}) for e in entries]
    assert len(found) == 4
    written = found[0].long_tail
    assert written and written == load(ROOT / "params.yaml").datasets["ssv2_lt"].captions.long_tail


@pytest.mark.parametrize("name", PAGES)
def test_links_and_names(name: str) -> None:
    folder = ROOT / "docs" if (ROOT / "docs" / name).is_file() else ROOT
    for target in re.findall(r"\]\(((?!http)[^)#]+)[^)]*\)", PAGES[name]):
        assert (folder / target).exists(), target
    for target, part in re.findall(r"\]\(((?!http)[^)#]*)#([^)]+)\)", PAGES[name]):
        headings = re.findall(r"^#+ (.*)", PAGES[Path(target).name or name], re.MULTILINE)
        slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert part in slugs, (target, part)
    for file in re.findall(r"`(tests/[\w/]+\.py)`", PAGES[name]):
        assert (ROOT / file).is_file(), file
    for method in re.findall(r"^\|.*\| `(\w+)` \|$", PAGES[name], re.MULTILINE):
        if name == "cc3m.md":
            assert method in PARAMS["methods"], method


# --- docs/params.md ----------------------------------------------------------------------------


def test_the_list_of_settings_is_that_of_the_classes() -> None:
    """Where not: `python -m stages.plan settings --page docs/params.md`."""
    assert PAGES["params.md"].partition(HEADING)[2] == f"\n{described()}"


def test_the_command_that_writes_it(tmp_path: Path) -> None:
    page = tmp_path / "params.md"
    page.write_text(f"# Mine\n\n{HEADING}\nold", encoding="utf-8")
    command = [sys.executable, "-m", "stages.plan", "settings"]
    subprocess.run([*command, "--page", str(page)], cwd=ROOT, check=True)
    assert page.read_text(encoding="utf-8") == f"# Mine\n\n{HEADING}\n{described()}"
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert printed == f"{described()}\n"


def test_every_setting_is_explained_somewhere() -> None:
    listed = re.findall(r"^### `([\w.]+)`", described(), re.MULTILINE)
    assert {"grid", "methods.NAME", "datasets.NAME.train", "report", "datasets.NAME.pack",
            "datasets.NAME.captions.sources.NAME.split"} <= set(listed)  # fmt: skip
    for name in ("ema_decay", "update_every", "class_columns", "rho", "tsne_points"):
        assert described().count(f"\n| `{name}` ") == 1
    assert "| `workers` † | `0` |" in described()


@pytest.fixture(scope="module")
def merged() -> Config:
    """params.yaml with all examples of the page, one after the other."""
    tree: dict[str, Any] = {**PARAMS, "datasets": dict(PARAMS["datasets"]),
                            "methods": dict(PARAMS["methods"])}  # fmt: skip
    examples = blocks("params.md", "yaml")
    assert len(examples) == 8
    for text in examples:
        for section, entries in YAML(typ="safe").load(text).items():
            tree[section].update(entries)
    return resolved(tree)


def test_the_examples_of_merging(merged: Config) -> None:
    mine = merged.datasets["mine"]
    numbers = {"fixed": 0.07, "alpha": 0.06, "shift_min": 0.05, "shift_max": 0.09}
    assert mine.temperature.model_dump() == numbers
    large = merged.datasets["mine_large"]
    assert large.train.batch_size == 1024 and large.captions == mine.captions
    assert merged.datasets["mine_cold"].temperature.model_dump() == {**numbers, "fixed": 0.03}
    assert merged.datasets["mine_by_class"].clusterings["default"].model_dump() == {
        "kind": "column", "column": "category",
    }  # fmt: skip
    assert merged.datasets["mine_plain"].temperature.alpha == "auto"
    found = [merged.cell(name, "info_nce_ts").alpha for name in ("mine", "mine_cold", "openmoji")]
    assert found == [0.01, 0.02, 0.02]
    low = merged.cell("mine", "info_nce_ts_low")
    assert (low.shift_min, low.alpha) == (0.05, 0.01)


def test_the_files_that_it_names(merged: Config, tmp_path: Path) -> None:
    from mmts.plan import Plan

    files = Plan(merged, ROOT / "params.yaml", tmp_path).files
    assert {"openmoji/embed.json", "openmoji/info_nce/train.json", "report.json", "code/train",
            "run/openmoji.json"} <= set(files)  # fmt: skip

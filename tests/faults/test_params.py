"""Params: each wrong key is one line that names it, exit code 1, and nothing is run or written."""

from __future__ import annotations

import json
import math
import random
import resource
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mmts.config import Sections, load, resolved
from mmts.errors import InputError, spelt
from mmts.kinds.clustering import CLUSTERINGS
from mmts.kinds.source import SOURCES
from mmts.kinds.text import TEXT_TOWERS
from mmts.kinds.vision import VISION_TOWERS
from mmts.params import check_keys, read_params, validated
from mmts.registry import Registry
from mmts.settings.grid import Grid, Report
from mmts.study.settings import Study
from tests.conftest import CELL, Project
from tests.faults import started
from tests.faults.params_cases import (
    TOWERS,
    Case,
    cases,
    dataset_schema,
    everything,
    kinds,
    method_schema,
)
from tests.making import PARAMS, changed

ROOT = Path(__file__).parents[2]
TINY = ("--dataset", "tiny")
BASE = (*CELL, "base")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "captions": TINY, "embed": TINY, "cluster": TINY, "shift": TINY, "pack": TINY,
    "train": BASE, "evaluate": BASE, "report": (),
}  # fmt: skip


@cache
def all_cases() -> tuple[list[Case], set[str], set[str]]:
    """The mistakes of the whole tree; classes of settings that have some, and that there are."""
    tree, seen, titles, found = everything(), set(), set(), []

    def add(schema: dict[str, Any], node: Any, *key: str) -> None:
        titles.update(schema.get("$defs", {}), (schema["title"],))
        resets = key[:1] in (("datasets",), ("methods",))
        found.extend(cases(schema, node, key, seen, resets=resets))

    add(Sections.model_json_schema(), tree)
    add(Grid.model_json_schema(), tree["grid"], "grid")
    add(Report.model_json_schema(), tree["report"], "report")
    for name, dataset in tree["datasets"].items():
        add(dataset_schema(), dataset, "datasets", name)
    method = method_schema()
    for part in ("objective", "modulator"):
        titles.update(kind["title"] for kind in method["properties"][part]["oneOf"])
    for registry in (SOURCES, CLUSTERINGS):
        titles.update(registry.modules)
    for name, entry in tree["methods"].items():
        add(method, entry, "methods", name)
    own = tree["methods"]["base"]["per_dataset"]["full"]
    add(method, own, "methods", "base", "per_dataset", "full")
    return found, seen, titles


def wrong(told: list[str], case: Case) -> str:
    """What is wrong with the lines of a case, or nothing."""
    if not told:
        return "accepted"
    for line in told:
        if "\n" in line or len(line) > 1000:
            return "not one line"
        rest = line.removeprefix(f"p: {case.named}")
        if not line.startswith(f"p: {case.named}") or rest[:1].isalnum():
            return "the key is not named"
    if case.meant and f"did you mean {case.meant}?" not in told[0]:
        return "no suggestion"
    return ""


def refusal(tree: Any, model: Any = None) -> list[str]:
    try:
        check_keys(tree, "p")
        validated(model, tree, {(): ""}, "p") if model else resolved(tree, "p")
    except InputError as error:
        return list(getattr(error, "lines", [str(error)]))
    return []


def test_a_tree_with_everything_is_sound() -> None:
    assert not resolved(everything(), "p").left_out
    _, seen, titles = all_cases()
    assert titles <= seen, f"no mistakes are made in {titles - seen}"


@pytest.mark.parametrize("what", ["type", "range", "missing", "misspelt", "odd", "name"])
def test_every_mistake_names_its_key(what: str, request: pytest.FixtureRequest) -> None:
    """With --fuzz each wrong type of each key, without about three a key."""
    tree = everything()
    chosen = [case for case in all_cases()[0] if case.what == what]
    if what == "type" and not request.config.getoption("fuzz"):
        chosen = chosen[::5]  # keys have 15 to 20, of which 5 is no divisor
    assert len(chosen) > 50
    told = [(case, refusal(case.of(tree))) for case in chosen]
    bad = [(wrong(message, case), case, message) for case, message in told if wrong(message, case)]
    assert not bad, f"{len(bad)} of {len(chosen)}, such as {bad[:5]}"


@pytest.mark.parametrize(("side", "registry"), [("vision", VISION_TOWERS), ("text", TEXT_TOWERS)])
def test_every_mistake_of_a_tower_names_its_key(side: str, registry: Registry[Any]) -> None:
    schema: dict[str, Any] = {}
    schema |= kinds(registry, schema)
    seen: set[str] = set()
    for tower in TOWERS[side]:
        tree = changed(PARAMS, {f"datasets.tiny.towers.{side}": tower})
        assert not resolved(tree, "p").left_out
        found = list(cases(schema, tower, ("datasets", "tiny", "towers", side), seen, resets=True))
        told = [(case, refusal(case.of(tree))) for case in found]
        bad = [(wrong(lines, case), case, lines) for case, lines in told if wrong(lines, case)]
        assert not bad, f"{len(bad)} of {len(found)}, such as {bad[:5]}"
    assert set(registry.modules) <= seen


def test_every_mistake_of_a_study_names_its_key() -> None:
    tree = read_params(ROOT / "study/params.yaml")
    found = list(cases(Study.model_json_schema(), tree, (), set()))
    assert len(found) > 500
    told = [(case, refusal(case.of(tree), Study)) for case in found]
    bad = [(wrong(message, case), case, message) for case, message in told if wrong(message, case)]
    assert not bad, f"{len(bad)} of {len(found)}, such as {bad[:5]}"


def facts(root: Path) -> dict[str, tuple[int, int]]:
    paths = [path for path in root.rglob("*") if path.name != "params.yaml"]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}


def test_plan_refuses_before_any_work(project: Project) -> None:
    dataset = cases(
        dataset_schema(), project.params["datasets"]["tiny"], ("datasets", "tiny"), set(),
        resets=True,
    )  # fmt: skip
    method = cases(
        method_schema(), project.params["methods"]["base"], ("methods", "base"), set(), resets=True
    )
    report = cases(Report.model_json_schema(), {}, ("report",), set())
    mine = [
        case for case in (*dataset, *method, *report)
        if as_json(case.value) and all(isinstance(part, str) for part in case.key)
    ]  # fmt: skip
    before = facts(project.root)
    for case in random.Random(0).sample(mine, 60):
        (project.root / "params.yaml").write_text(json.dumps(case.of(project.params)))
        ran = project.run("plan")
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1), (case, ran)
        assert ran.err.startswith(f"error: params.yaml: {case.named}"), (case, ran)
    assert facts(project.root) == before


def test_plan_tells_all_mistakes_a_line_each(project: Project) -> None:
    project.set(datasets__tiny__train__epochs=0, methods__base__objective="x", grid__seeds=[])
    ran = project.run("plan")
    assert ran.code == 1 and ran.out == ""
    lines = ran.err.splitlines()
    keys = ("grid.seeds", "datasets.tiny.train.epochs", "methods.base.objective")
    assert len(lines) == 3, lines
    for line, key in zip(lines, keys, strict=True):
        assert line.startswith(f"error: params.yaml: {key} is "), lines


@pytest.mark.parametrize("stage", list(ARGUMENTS))
def test_a_stage_refuses_an_older_plan(
    project: Project, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand; `dvc repro` runs `plan` itself."""
    monkeypatch.setattr(Project, "is_stale", lambda _: False)
    project.set(report__examples=3)
    before = facts(project.root)
    ran = started.run(stage, *ARGUMENTS[stage], told=tmp_path / "told")
    told = "error: data/plan is older than params.yaml; run `dvc repro plan`\n"
    assert (ran.code, ran.out, ran.err) == (1, "", told)
    assert facts(project.root) == before


def as_json(value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return value is ... or type(value) in (type(None), bool, int, float, str, list, dict)


GOOD = (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "p: it is empty; write a mapping of keys to settings"),
        (b"# nothing\n", "p: it is empty; "),
        (b"- a\n", "p: it is a list; write a mapping"),
        (b"text", "p: it is a str; write a mapping"),
        (b"grid: [1,\n", "p line 2: not valid YAML: "),
        (b"grid:\n\tseeds: [0]\n", "p line 2: not valid YAML: found character '\\t'"),
        (b"a: 1\na: 2\n", 'p line 2: not valid YAML: found duplicate key "a"'),
        (b"a: b: c\n", "p line 1: not valid YAML: "),
        (b"a: *b\n", "p line 1: not valid YAML: found undefined alias"),
        (b"a: 1\n---\nb: 2\n", "p line 2: not valid YAML: but found another document"),
        (b"a: !!python/object/apply:os.system [ls]\n", "p line 1: not valid YAML: could not deter"),
        (b"a: !mine 3\n", "p line 1: not valid YAML: could not determine a constructor"),
        (b"a: 1\nb: \x00\n", "p line 2: not valid YAML: unacceptable character"),
        (b"a: 1\nb: caf\xe9\n", "p line 2: not UTF-8; save it as that"),
        ("a: é\n".encode("utf-16"), "p line 1: not UTF-8; save it as that"),
        (b"a: " + b"9" * 5000, "p: not valid YAML: Exceeds the limit (4300 digits)"),
        (b"a: 2020-13-45\n", "p: not valid YAML: month must be in 1..12"),
        (b"a: !!int x\n", "p: not valid YAML: invalid literal for int()"),
        (b"a: !!bool x\n", "p: not valid YAML: 'x'"),
        (b"a: " + b"[" * 1000, "p: not valid YAML: it is nested too deeply"),
        (b"grid: {5: 1}\n", "p: grid.5 has the key 5, which is no text; write it in quotes"),
        (b"grid: {seeds: !!set {1}}\n", "p: grid.seeds is a set; write a list, such as [a, b]"),
        (b"grid: &a {datasets: *a}\n", "p has more than 200,000 values, an alias's each time"),
        (b'"a\\e[2Jb": 1\n', "p: 'a\\x1b[2Jb' is not a setting; there are: grid"),
    ],
)  # fmt: skip
def test_a_file_that_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p").write_bytes(data)
    with pytest.raises(InputError) as caught:
        load("p")
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_file_from_another_system(tmp_path: Path) -> None:
    path = tmp_path / "p"
    for data in (b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n")):
        path.write_bytes(data)
        assert load(path).grid.datasets == ("openmoji",)


def test_what_aliases_repeat_is_told_briefly(project: Project, tmp_path: Path) -> None:
    nine = [f"    - &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(30)]
    grid = "grid: {datasets: [tiny], methods: [base], seeds: [0]}\n"
    Path("params.yaml").write_text(f"{grid}report:\n  seed:\n    - &a0 [x]\n{''.join(nine)}")

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (2**32, 2**32))

    ran = started.run("plan", told=tmp_path / "told", prepare=prepare, seconds=30)
    assert (ran.code, ran.err.count("\n")) == (1, 1) and len(ran.err) < 500, ran
    assert ran.err.startswith("error: params.yaml has more than 200,000 values, an al"), ran


def test_a_folder_or_nothing_in_its_place(project: Project) -> None:
    Path("params.yaml").unlink()
    for make, told in ((lambda path: None, "is not there; run from the project's folder"),
                       (Path.mkdir, "Is a directory")):  # fmt: skip
        make(Path("params.yaml"))
        ran = project.run("plan")
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert ran.err.startswith("error: params.yaml") and ran.err.endswith(f"{told}\n")


@pytest.mark.parametrize("name", ["", "..", "../evil", "a.b", "tiny.pack", "a\x1b[2J", "a" * 65])
def test_a_name_on_the_command_line_that_is_none(project: Project, name: str) -> None:
    for arguments in (("captions", "--dataset", name), ("train", *CELL, name)):
        ran = project.run(*arguments)
        told = f"error: there is no plan of {arguments[-2][2:]} {spelt(name)}; "
        assert ran.code == 1 and ran.err.startswith(told) and ran.err.count("\n") == 1, ran

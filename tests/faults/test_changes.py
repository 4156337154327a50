"""What changes while a stage works or before it: nothing is recorded that was not used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mmts
from mmts.planned import Planned
from tests import making
from tests.conftest import CELL, Project, Ran
from tests.faults.ranks import cell, forget
from tests.faults.test_kills import tree

ROOT = Path(mmts.__file__).parents[1]
TINY = ("--dataset", "tiny")
MMTS = (*CELL, "mmts")


def refused(ran: Ran) -> str:
    assert ran.code == 1 and ran.err.count("\n") == 1 and ran.err.startswith("error: "), ran
    return ran.err.removeprefix("error: ")


# --- inputs --------------------------------------------------------------------------------------


def written_again(path: Path) -> None:
    """Equal bytes of another time: nobody knows which ones the stage has read."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


CHANGES: dict[str, Callable[[Path], object]] = {
    "changed": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "touched": written_again,
    "added": lambda path: path.with_name("zzz").write_bytes(b"new"),
    "removed": Path.unlink,
}
STAGES = {
    "captions": (TINY, "mmts.captions.build", "raw/tiny/pairs.csv", "captions/tiny"),
    "embed": (TINY, "mmts.embed.embed_texts", "captions/tiny/summary.json", "embed/tiny"),
    "cluster": (TINY, "mmts.cluster.numbered", "embed/tiny/text.npy", "cluster/tiny"),
    "shift": (TINY, "mmts.shift.shift_table", "cluster/tiny/kinds.parquet", "shift/tiny"),
    "pack": (TINY, "mmts.shards.write_shards", "captions/tiny/summary.json", "shards/tiny"),
    "train": (MMTS, "mmts.training.loop.train", "shards/tiny/train-000000.tar", "train/tiny/mmts"),
    "evaluate": (
        (*CELL, "base"), "mmts.evaluation.evaluate", "train/tiny/base/0/model.json",
        "evaluate/tiny/base",
    ),
}  # fmt: skip


def at(place: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have something change when a function has done its work."""
    import importlib

    module, _, name = place.rpartition(".")
    function = getattr(importlib.import_module(module), name)

    def changing(*given: object, **more: object) -> object:
        found = function(*given, **more)
        change()
        return found

    monkeypatch.setattr(place, changing)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stage", STAGES)
def test_an_input_that_changes_meanwhile_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch, stage: str, change: str
) -> None:
    """The output stays as it was, and no seed is kept."""
    arguments, place, name, output = STAGES[stage]
    path, before = Path("data") / name, tree(Path("data") / output)
    forget()
    at(place, monkeypatch, lambda: CHANGES[change](path))
    told = refused(project.run(stage, *arguments))
    named = path.with_name("zzz") if change == "added" else path
    changed = f"{named} has changed while `{stage}` was reading it; run the same command again\n"
    gone = f"{named}: No such file or directory\n"  # where the stage wants it once more
    assert told == changed or (change == "removed" and told == gone)
    assert tree(Path("data") / output) == before
    assert not list(Path("data/cache").rglob("kept/**/SHA256SUMS"))
    assert not list(Path("data").rglob(".*partial"))


def test_a_plan_that_is_written_meanwhile_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the stage alone: what is planned of others changes nothing."""

    def edit(key: str, value: object) -> Callable[[], None]:
        def plan() -> None:
            project.set(**{key: value})
            making.write_plan(Path())

        return plan

    before = tree(Path("data/shift/tiny"))
    with monkeypatch.context() as patch:
        at("mmts.shift.shift_table", patch, edit("datasets__tiny__train__epochs", 9))
        assert project.run("shift", *TINY).code == 0
    at("mmts.shift.shift_table", monkeypatch, edit("datasets__tiny__margin__shift_max", 0.25))
    told = refused(project.run("shift", *TINY))
    assert told.startswith("data/plan/tiny/shift.json has changed while `shift` was reading it; ")
    assert tree(Path("data/shift/tiny")) == before


def test_an_input_that_changes_between_two_runs_is_read_anew(project: Project) -> None:
    making.write_table(Path("data/raw/tiny/pairs.csv"), making.tiny_pairs(30))
    assert project.run("captions", *TINY).code == 0


# --- params.yaml and data/plan -------------------------------------------------------------------


def test_params_newer_than_the_plan_are_refused_by_hand(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under DVC the plan is the one that DVC has hashed: params.yaml may be edited meanwhile."""
    project.set(datasets__tiny__clusterings__default__k=3)
    monkeypatch.setattr(Project, "is_stale", lambda _: False)
    for stage, (arguments, *_) in STAGES.items():
        told = refused(project.run(stage, *arguments))
        assert told == "data/plan is older than params.yaml; run `dvc repro plan`\n", stage
    assert "dvc repro plan" in refused(project.run("report"))
    monkeypatch.setenv("DVC_STAGE", "cluster@tiny")
    before = tree(Path("data/cluster/tiny"))
    ran = project.run("cluster", *TINY)
    assert (ran.code, ran.err) == (0, "") and tree(Path("data/cluster/tiny")) == before
    monkeypatch.delenv("DVC_STAGE")
    assert project.run("plan").code == 0
    ran = project.run("cluster", *TINY)
    assert (ran.code, ran.err) == (0, "") and tree(Path("data/cluster/tiny")) != before


def test_a_mistake_leaves_the_old_plan(project: Project) -> None:
    before = tree(Path("data/plan"))
    project.set(datasets__tiny__train__epochs=0, methods__base__objective="info_ncee")
    ran = project.run("plan")
    assert ran.code == 1 and ran.err.count("error: params.yaml: ") == 2, ran
    assert tree(Path("data/plan")) == before
    Path("params.yaml").write_text("grid: [")
    refused(project.run("plan"))
    assert tree(Path("data/plan")) == before


def test_equal_settings_give_an_equal_plan(project: Project) -> None:
    def times() -> dict[Path, tuple[int, int]]:
        files = (path for path in Path("data/plan").rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}

    before, texts = times(), tree(Path("data/plan"))
    assert "; 0 files of the plan have changed" in project.run("plan").out
    assert times() == before  # not even written
    project.set(datasets__tiny__train__epochs=3)
    assert "; 3 files of the plan have changed" in project.run("plan").out
    project.set()
    assert project.run("plan").code == 0
    assert tree(Path("data/plan")) == texts


def test_a_plan_that_is_half_written_is_of_no_params(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file the command was killed at, and also where params.yaml is put back."""
    from mmts import plan as module

    old, whole = project.params, module.output_file
    for number in range(3):
        done = [0]

        def killed(path: Path, done: list[int] = done, number: int = number) -> object:
            done[0] += 1
            if "plan/" in str(path) and "cache" not in path.parts and done[0] > number:
                raise KeyboardInterrupt
            return whole(path)

        project.set(datasets__tiny__train__epochs=3 + number)
        with monkeypatch.context() as patch:
            patch.setattr(module, "output_file", killed)
            with pytest.raises(KeyboardInterrupt):
                making.write_plan(Path())
        for tree_ in (project.params, old):
            making.write_params(Path("params.yaml"), tree_)
            with pytest.raises(ValueError, match="run `dvc repro plan`"):
                Planned("train", dataset="tiny", method="base")
        making.write_plan(Path())
        Planned("train", dataset="tiny", method="base")


FILES = {
    "plan": "tiny/mmts/train.json", "code": "code/train", "modules": "run/code/train.json",
    "free": "run/tiny.json", "params": "run/params.json",
}  # fmt: skip
DAMAGES = {
    "missing": None, "empty": b"", "cut": b'{\n  "settings": {', "text": b"<html>",
    "binary": b"\xff\xfe\x00", "null": b"null", "list": b"[]", "object": b'{"settings": {}}',
}  # fmt: skip


DAMAGED = [(file, damage) for file in FILES for damage in DAMAGES
           if damage != "object" or file not in ("free", "modules")]  # fmt: skip
"""An object with other keys is a sound file of these two."""


@pytest.mark.parametrize(("file", "damage"), DAMAGED)
def test_a_damaged_plan_is_one_line_with_a_remedy(project: Project, file: str, damage: str) -> None:
    path, data, before = Path("data/plan", FILES[file]), DAMAGES[damage], tree(Path("data/train"))
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    project.is_stale = lambda: False  # type: ignore[method-assign]
    told = refused(project.run("train", *MMTS))
    assert told.startswith(f"{path} ") and told.endswith("; run `dvc repro plan`\n"), told
    assert tree(Path("data/train")) == before


def test_no_plan_at_all(project: Project) -> None:
    shutil.rmtree("data/plan")
    project.is_stale = lambda: False  # type: ignore[method-assign]
    told = refused(project.run("train", *MMTS))
    assert told == "data/plan is not there; run `dvc repro plan`\n"


# --- code: on a copy of the packages -------------------------------------------------------------


@pytest.fixture
def code(project: Project, tmp_path: Path) -> Path:
    """A copy of the packages, of which data/plan is."""
    for name in ("mmts", "stages"):
        shutil.copytree(ROOT / name, tmp_path / "code" / name,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    return tmp_path / "code"


def python(code: Path, *words: str, **more: str) -> Ran:
    """Run Python with a copy of the packages."""
    environment = {**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1", **more}
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False,
                         env=environment)  # fmt: skip
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def shift_that(what: str) -> str:
    """The command of a stage in a process that does something when the plan is read."""
    return f"""if 1:
        import sys
        from pathlib import Path
        import mmts.planned
        from stages.shift import main
        from stages.cli import run
        enter = mmts.planned.Planned.__enter__
        def entered(self):
            found = enter(self)
            {what}
            return found
        mmts.planned.Planned.__enter__ = entered
        sys.argv = ["shift", "--dataset", "tiny"]
        run(main)"""


def test_the_copy_works_as_it_is(code: Path) -> None:
    assert python(code, "-m", "stages.shift", *TINY).code == 0
    assert python(code, "-c", shift_that("import mmts.jpeg")).code == 1
    assert python(code, "-c", shift_that("import mmts.shift")).code == 0


@pytest.mark.parametrize("text", ["# a comment\n", "X = 1\n"])
def test_code_that_changes_before_a_stage_begins(code: Path, text: str) -> None:
    """Also by a comment: what the file is now is not what the plan was made of."""
    path, before = code / "mmts/shift.py", tree(Path("data/shift/tiny"))
    path.write_text(path.read_text() + text)
    for more in ({}, {"DVC_STAGE": "shift@tiny"}):
        told = refused(python(code, "-m", "stages.shift", *TINY, **more))
        assert told == (
            f"{path} has changed since data/plan was written; run `dvc repro`, or `dvc repro plan` "
            "and the same command again\n"
        )
    assert tree(Path("data/shift/tiny")) == before


def test_code_of_another_stage_changes_nothing(code: Path) -> None:
    for name in ("training/loop.py", "embed.py", "kinds/objective/clip.py"):
        path = code / "mmts" / name
        if path.exists():
            path.write_text(path.read_text() + "raise RuntimeError\n")
    assert python(code, "-m", "stages.shift", *TINY).code == 0


def test_code_that_is_gone(code: Path) -> None:
    (code / "mmts/sealed.py").rename(code / "mmts/sealed_.py")
    (code / "mmts/sealed.py").mkdir()
    ran = python(code, "-m", "stages.shift", *TINY)
    assert ran.code == 1


def test_a_module_that_changes_before_it_is_imported(code: Path) -> None:
    path = code / "mmts/kinds/objective/siglip.py"
    command = f"""if 1:
        from pathlib import Path
        from mmts.planned import Planned
        with Planned("train", dataset="tiny", method="mmts"):
            Path({str(path)!r}).open("a").write("# new")
            import mmts.kinds.objective.siglip"""
    for more in ({}, {"DVC_STAGE": "train@tiny-mmts"}):
        path.write_bytes((ROOT / path.relative_to(code)).read_bytes())
        ran = python(code, "-c", command, **more)
        told = ran.err.splitlines()[-1]
        assert ran.code == 1 and told.startswith(
            f"mmts.errors.InputError: {path} has changed since data/plan was written; run `dvc rep"
        ), ran


def test_a_module_that_changes_before_a_process_of_pack_imports_it(code: Path) -> None:
    path = code / "mmts/shards/cutting.py"
    command = f"""if 1:
        from pathlib import Path
        from mmts.planned import Planned
        from mmts.shards.cutting import cut_video
        from mmts.shards.workers import work_off
        with Planned("pack", dataset="tiny"):
            Path({str(path)!r}).open("a").write(TEXT)
            list(work_off(cut_video, ["no job"], 1, str))"""
    told = {}
    for text in ("", "# new"):
        ran = python(code, "-c", command.replace("TEXT", repr(text)))
        assert ran.code == 1, ran
        told[text] = ran.err.rstrip().splitlines()[-1]
    assert told[""] == "AttributeError: 'str' object has no attribute 'folder'"
    assert told["# new"].startswith(
        f"mmts.errors.InputError: {path} has changed since data/plan was written; run `dvc repro`"
    )


def test_a_module_that_is_not_in_the_plan(code: Path) -> None:
    """Such as one that is imported by a name that is made at run time."""
    (code / "mmts/unplanned.py").write_text("")
    before = tree(Path("data/shift/tiny"))
    command = shift_that("__import__('mmts.' + 'unplanned')")
    told = refused(python(code, "-c", command))
    assert told.startswith("mmts.unplanned is imported but not in the plan, so that DVC would not ")
    assert told.endswith("import it by its name in a module that the stage imports\n")
    assert tree(Path("data/shift/tiny")) == before


def test_the_plan_lists_what_the_stages_import(project: Project) -> None:
    """As the kinds that settings name: each is looked at before it is imported."""
    listed = json.loads(Path("data/plan/run/code/train.json").read_text())
    assert "mmts.kinds.objective.siglip" in listed and "mmts.kinds.modulator.tempnet" in listed
    assert "mmts.reporting.report" not in listed and "mmts.sources.table" not in listed
    assert (cell("base") / "SHA256SUMS").is_file()

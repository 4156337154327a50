"""Finished seeds: taken where nothing that decides them has changed, and nowhere else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from mmts.errors import InputError
from mmts.kept import Kept, folder_digest
from mmts.planned import Planned
from mmts.sealed import SUMS, sha256_file, write_sums
from tests import making

CELL = ("train", "tiny", "mmts")
INPUTS = [Path("data/embed/tiny"), Path("data/shards/tiny")]


def planned(**changes: object) -> None:
    """params.yaml with changes (`__` for a dot), and its plan."""
    keys = {name.replace("__", "."): value for name, value in changes.items()}
    making.write_params(Path("params.yaml"), making.PARAMS, keys)
    making.write_plan(Path())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with a plan and two inputs, of which one is sealed."""
    monkeypatch.chdir(tmp_path)
    for folder in INPUTS:
        folder.mkdir(parents=True)
        (folder / "file").write_text("one")
    write_sums(INPUTS[0])
    planned()


def kept() -> Kept:
    return Kept(Planned("train", dataset="tiny", method="mmts", inputs=INPUTS), CELL, INPUTS)


def write(seed: int = 0) -> Kept:
    """Keep a small result."""
    found = kept()
    with found.new(seed) as work:
        (work / "model").write_bytes(b"weights")
        (work / "below").mkdir()
        (work / "below/curves").write_text("1,2")
    return found


def test_a_finished_seed_is_kept_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert not kept().has(3)
    found = write(3)
    assert found.path(3) == Path("data/cache/kept/train/tiny/mmts") / found.digest / "3"
    assert kept().has(3) and not kept().has(4) and capsys.readouterr().out == ""


def test_one_that_fails_is_not_kept() -> None:
    with pytest.raises(KeyError), kept().new(0) as work:
        (work / "model").write_bytes(b"half")
        raise KeyError
    assert not kept().has(0) and not list(Path("data/cache/kept").rglob("model"))


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"X")


@pytest.mark.parametrize(
    ("name", "harm", "says"),
    [
        ("model", damage, "model is damaged: not the bytes that SHA256SUMS lists"),
        ("below/curves", Path.unlink, "below/curves is missing"),
        (SUMS, damage, "SHA256SUMS is damaged"),
    ],
)
def test_a_damaged_one_is_computed_again(
    name: str, harm: Callable[[Path], Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write().path(0)
    harm(folder / name)
    assert not kept().has(0)
    assert capsys.readouterr().out == f"{folder}/{says}; it is computed again\n"
    write()
    assert kept().has(0) and (folder / "below/curves").read_text() == "1,2"


def test_one_without_a_seal_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    (write().path(0) / SUMS).unlink()
    assert not kept().has(0) and capsys.readouterr().out == ""


def test_what_decides_the_result_is_another_folder() -> None:
    found = [kept().digest]
    planned(datasets__tiny__train__epochs=3)
    found.append(kept().digest)
    planned(datasets__tiny__margin__alpha=0.05)
    found.append(kept().digest)
    planned()
    (INPUTS[0] / "file").write_text("two")
    (INPUTS[0] / SUMS).unlink()
    write_sums(INPUTS[0])
    found.append(kept().digest)
    (INPUTS[1] / "file").write_text("two")
    found.append(kept().digest)
    code = Path("data/plan/code/train")
    code.write_text("0" * 64 + "\n")
    found.append(kept().digest)
    assert len(set(found)) == len(found)


def test_what_changes_nothing_is_the_same_folder() -> None:
    first = kept().digest
    for changes in (
        {"grid__seeds": [0, 1, 2]},
        {"grid__methods": ["mmts"]},
        {"datasets__tiny__train__workers": 2},
        {"datasets__tiny__temperature__fixed": 0.05},  # the method has a margin
        {"datasets__tiny__evaluate__bootstrap": 200},
    ):
        planned(**changes)
        assert kept().digest == first, changes


def test_the_digest_of_an_input_is_of_names_and_contents(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder_digest(folder)

    assert digest(a="1", b__c="2") == digest(b__c="2", a="1")
    others = [digest(a="1", b="2"), digest(a="2", b="1"), digest(a="1", c="2"), digest(a="1")]
    assert len(set(others)) == 4


def test_another_folder_for_all_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMTS_CACHE", str(tmp_path / "shared"))
    found = write()
    assert found.path(0).is_relative_to(tmp_path / "shared/kept") and kept().has(0)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_put_links_the_files(tmp_path: Path) -> None:
    found, folder = write(), tmp_path / "out/0"
    found.put(0, folder)
    assert contents(folder) == contents(found.path(0)) and len(contents(folder)) == 3
    assert (folder / "model").samefile(found.path(0) / "model")


def test_put_copies_where_the_disk_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links between disks")

    found, folder = write(), tmp_path / "out/0"
    monkeypatch.setattr(os, "link", refuse)
    found.put(0, folder)
    assert contents(folder) == contents(found.path(0)) and len(contents(folder)) == 3
    assert not (folder / "model").samefile(found.path(0) / "model")


def test_two_processes_take_turns_at_a_seed(tmp_path: Path) -> None:
    """The second waits, and finds what the first has done."""
    begun, at_work = tmp_path / "begun", kept()
    pid = os.fork()
    if pid == 0:
        with kept().turn(0):
            begun.touch()
            time.sleep(0.5)
            write(0)
        os._exit(0)
    while not begun.exists():
        time.sleep(0.01)
    assert not at_work.has(0)
    with at_work.turn(1), at_work.turn(0):
        assert at_work.has(0)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("named", ["weights", "files"])
def test_what_lies_outside_is_that_of_the_plan(tmp_path: Path, named: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"one")
    plan = Path("data/plan/tiny/mmts/train.json")
    content = json.loads(plan.read_text())
    digest = sha256_file(path)
    content[named] = {str(path): f"sha256 {digest}" if named == "weights" else digest}
    plan.write_text(json.dumps(content))
    before = Planned("train", dataset="tiny", method="mmts", inputs=INPUTS)
    path.write_bytes(b"two!")
    with pytest.raises(InputError, match="has changed since data/plan was written"):
        Planned("train", dataset="tiny", method="mmts", inputs=INPUTS)
    with pytest.raises(InputError, match="has changed while `train` was reading it"):
        before.check()


@pytest.mark.parametrize("links", [True, False])
def test_one_that_vanishes_while_it_is_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    found, plain = write(), os.link

    def late(source: Path, target: Path) -> None:
        if source.name == "model":
            rmtree(found.path(0))
        if not links:
            raise OSError("no links between disks")
        plain(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(InputError, match="/0 was deleted or changed while it was read; run the "):
        found.put(0, tmp_path / "out/0")

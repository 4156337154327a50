"""Two processes that make the same output at the same time; two `dvc repro`: tests/pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import patience as limits
from tests.conftest import CELL, Project
from tests.faults.ranks import cell, forget
from tests.faults.started import run, start

TINY = ("--dataset", "tiny")
STAGES = {
    "captions": (TINY, "data/captions/tiny"),
    "embed": (TINY, "data/embed/tiny"),
    "pack": (TINY, "data/shards/tiny"),
    "train": ((*CELL, "base"), "data/train/tiny/base"),
}


def files(folder: str) -> dict[str, bytes]:
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def held(gate: Path) -> Callable[[], None]:
    """What makes a command wait with all that it has written until there is a file `gate`."""

    def patch() -> None:
        from mmts import files, planned

        def wait(*given: Any) -> Any:
            while not gate.exists():
                time.sleep(0.01)
            return write_sums(*given)

        write_sums = files.write_sums
        files.write_sums = planned.write_sums = wait

    return patch


def patience(seconds: float) -> Callable[[], None]:
    """What makes a command wait for another so long."""

    def patch() -> None:
        import mmts.files as module

        module.PATIENCE = seconds

    return patch


def test_the_second_waits_for_a_seed_that_is_trained(project: Project, tmp_path: Path) -> None:
    """And takes it: two experiments of a queue may have a cell in common."""
    (arguments, output), told, gate = STAGES["train"], tmp_path / "told", tmp_path / "gate"
    undisturbed, written = files(output), cell("base")
    forget()
    first = start("train", *arguments, told=told, prepare=held(gate))
    until = time.monotonic() + limits.seconds(30)
    work = written.parent / f".{written.name}.partial"
    while not work.exists() and time.monotonic() < until:
        time.sleep(0.01)
    second = start("train", *arguments, told=told, prepare=patience(limits.seconds(30)))
    time.sleep(0.5)
    assert first.poll() is None and second.poll() is None
    gate.touch()
    ended = [one.wait() for one in (first, second)]
    assert [ran.code for ran in ended] == [0, 0], ended
    assert "seed 0 is at work in another process; waiting for it" in ended[1].out
    assert files(output) == undisturbed


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "train"])
def test_the_second_says_so_and_harms_nothing(project: Project, tmp_path: Path, stage: str) -> None:
    (arguments, output), told, gate = STAGES[stage], tmp_path / "told", tmp_path / "gate"
    undisturbed, written = files(output), Path(output)
    first = start(stage, *arguments, told=told, prepare=held(gate))
    work = written.parent / f".{written.name}.partial"
    until = time.monotonic() + limits.seconds(30)
    while not work.exists() and time.monotonic() < until:
        time.sleep(0.01)
    second = run(stage, *arguments, told=told, prepare=patience(0.1))
    assert second.code == 1
    assert second.err == (
        f"error: {written} is being written by another process; wait for its end, or stop it\n"
    )
    assert first.poll() is None and work.exists()
    gate.touch()
    ran = first.wait()
    assert ran.code == 0, ran.err
    assert files(output) == undisturbed
    assert [path.name for path in written.parent.iterdir() if path.name.startswith(".")] == []


def test_the_second_waits_for_one_that_is_about_to_end(project: Project, tmp_path: Path) -> None:
    undisturbed = files("data/embed/tiny")
    gate = tmp_path / "gate"

    def prepare() -> None:
        held(gate)()
        patience(limits.seconds(30))()  # about to, on a busy machine

    both = [start("embed", *TINY, told=tmp_path / "told", prepare=prepare) for _ in range(2)]
    time.sleep(0.5)
    gate.touch()
    assert [one.wait().code for one in both] == [0, 0]
    assert files("data/embed/tiny") == undisturbed

"""A study from beginning to end, and stopped in the middle in every way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest

from mmts.errors import InputError
from mmts.study.index import read_index
from mmts.study.pool import _run, alone
from mmts.study.records import Records
from stages.study import PREPARED, stage
from tests import patience
from tests.conftest import Project
from tests.making_run import in_a_fork
from tests.study.conftest import FILE, planned, write_study

RECORDS = FILE.parent / "tiny.jsonl"
NAMES = ["params.yaml", "tiny.json", "tiny.jsonl", "tiny.parquet"]
OF_THE_RUN = ("seconds", "cpu_seconds")


def results() -> list[dict[str, Any]]:
    """All lines but the times."""
    lines = [json.loads(line) for line in RECORDS.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in OF_THE_RUN} for line in lines]


def test_a_whole_study(study: Project, in_process: None) -> None:
    ran = study.run("study")
    assert ran.code == 0, ran.err
    assert ran.out == (
        "17 cells to train; Ctrl-C stops, and the same command goes on\n"
        "study/tiny.jsonl: all 17 cells are there\n"
    )
    assert sorted(path.name for path in FILE.parent.iterdir()) == NAMES
    files = {path: path.read_bytes() for path in FILE.parent.iterdir()}
    index, records = read_index(FILE.parent, "tiny"), Records(FILE.parent, "tiny").by_key
    assert index.keys() == set(records) and len(records) == 17
    assert [entry.name for entry in index.chosen] == ["base", "mmts"]
    tested = {key for key, record in records.items() if "test" in record}
    assert set(records) - tested == {key for entry in index.trials for key in entry.keys}

    ran = study.run("study", "--dataset", "tiny")  # nothing is missing
    assert (ran.code, ran.out) == (0, "study/tiny.jsonl: all 17 cells are there\n")
    assert {path: path.read_bytes() for path in FILE.parent.iterdir()} == files

    write_study(ablations__controls__grid={"control": ["reversed"]})
    assert study.run("study").out == "study/tiny.jsonl: all 16 cells are there\n"
    write_study()
    ran = study.run("study")
    assert ran.out.startswith("1 cells to train; ")
    lines = [json.loads(line)["key"] for line in RECORDS.read_text().splitlines()]
    assert lines == sorted(records) == sorted(lines)


def test_what_is_set_aside_is_not_trained_again(study: Project, in_process: None) -> None:
    assert study.run("study").code == 0
    before = Records(FILE.parent, "tiny").by_key
    write_study(set_aside=[{"methods": ["mmts"], "why": "They were trained otherwise."}])
    study.set(methods__mmts__shift="rank")  # another rule for a method that is set aside
    of_base = [key for key, record in before.items() if record["name"] == "base"]
    for _ in range(2):
        ran = study.run("study")
        assert (ran.code, ran.out) == (
            0,
            "set aside, neither trained nor shown: mmts: They were trained otherwise.\n"
            f"study/tiny.jsonl: all {len(of_base)} cells are there\n",
        )
        assert Records(FILE.parent, "tiny").by_key == before
        assert read_index(FILE.parent, "tiny").keys() == set(of_base)
    files = {path: path.read_bytes() for path in FILE.parent.iterdir() if path != FILE}
    write_study(set_aside=[{"datasets": ["tiny"], "why": "It leaks."}])
    ran = study.run("study")
    assert (ran.code, ran.out) == (0, "set aside, neither trained nor shown: tiny: It leaks.\n")
    assert {path: path.read_bytes() for path in FILE.parent.iterdir() if path != FILE} == files


def in_the_middle(study: Project, act: Any, told: Path) -> int:
    """The exit code of `python -m stages.study`, where `act` is called after two new records."""

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)
        sys.stdout = sys.stderr = open(told, "w")  # noqa: SIM115
        add, before = Records.add, len(Records(FILE.parent, "tiny").by_key)

        def counted(self: Records, record: dict[str, Any]) -> None:
            add(self, record)
            if len(self.by_key) == before + 2:
                (worker,) = multiprocessing.active_children()
                act(worker)

        Records.add = counted  # type: ignore[method-assign]
        ran = study.run("study", "--processes", "1")
        sys.stdout.flush()
        os._exit(ran.code)

    return in_a_fork(work)


def test_stopped_in_every_way(
    study: Project, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A killed process of it, Ctrl-C, kill -9: the records are those of an undisturbed study."""
    told, workers = tmp_path / "told", tmp_path / "workers"

    def note(worker: BaseProcess) -> BaseProcess:
        workers.write_text(str(worker.pid))
        status = Path(f"/proc/{worker.pid}/status")
        if status.exists():  # deaf from its very start, or it would tell of Ctrl-C while it imports
            ignored = dict(line.split(":\t") for line in status.read_text().splitlines())["SigIgn"]
            assert int(ignored, 16) >> (signal.SIGINT - 1) & 1
        return worker

    def gone() -> bool:
        process, until = int(workers.read_text()), time.monotonic() + patience.seconds(30)
        while psutil.pid_exists(process) and time.monotonic() < until:
            time.sleep(0.02)
        return not psutil.pid_exists(process)

    assert in_the_middle(study, lambda worker: note(worker).kill(), told) == 1
    said = told.read_text().splitlines()
    assert [line[:44] for line in said if "error" in line or "Trace" in line] == [
        "error: a process of the study was killed, pe"
    ]
    first = len(results())
    assert first >= 2 and gone()

    with patience.within(60):
        code = in_the_middle(
            study, lambda worker: (note(worker), os.killpg(0, signal.SIGINT)), told
        )
    assert code == 130, told.read_text()
    assert "\nstopped; the same command goes on from what is done\n" in told.read_text()
    assert "Traceback" not in told.read_text() and len(results()) == first + 2 and gone()

    code = in_the_middle(
        study, lambda worker: (note(worker), os.kill(os.getpid(), signal.SIGKILL)), told
    )
    assert code == -signal.SIGKILL and gone() and len(results()) == first + 4
    assert not (FILE.parent / "tiny.json").exists()

    request.getfixturevalue("in_process")
    assert study.run("study").code == 0
    done = results()
    for path in FILE.parent.glob("tiny*"):
        path.unlink()
    assert study.run("study").code == 0
    assert results() == done and len(done) == 17
    assert sorted(path.name for path in FILE.parent.iterdir()) == NAMES


def test_a_cell_that_cannot_be_trained_is_named(study: Project) -> None:
    base = planned().base
    cell = base.cell("mmts", {"clustering.k": 99}, 4, "f", "p")
    with pytest.raises(InputError) as caught:
        _run("k", cell, base.towers, False)
    assert str(caught.value).startswith("tiny mmts, seed 4: k is 99 but the training split has 19")


def test_one_study_of_a_dataset_at_a_time(study: Project) -> None:
    with alone(Path("data/cache/study/tiny")):
        ran = study.run("study")
    assert (ran.code, ran.err) == (
        1, "error: another study of tiny is under way here; wait for it, or end it\n",
    )  # fmt: skip


def test_the_stages_before_run_first(study: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.study.PREPARED", PREPARED)
    monkeypatch.setattr("stages.study.stage", stage)
    ran: list[str] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        ran.append(" ".join(command[1:]))
        return subprocess.CompletedProcess(command, 7 if "cluster" in ran[-1] else 0)

    monkeypatch.setattr(subprocess, "run", run)
    assert study.run("study").code == 7 and not RECORDS.exists()
    stages = ("captions", "embed", "cluster")
    assert ran == ["-m stages.plan", *(f"-m stages.{name} --dataset tiny" for name in stages)]

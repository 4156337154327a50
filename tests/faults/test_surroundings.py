"""Where a run may find itself: it works there, or says in one line why not."""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests import patience
from tests.conftest import CELL, CHAIN, Project, Ran
from tests.faults import mounts, started
from tests.faults.ranks import forget
from tests.making import tiny_pairs, write_table

ROOT = Path(__file__).parents[2]
ODD = "-a b'\"#%20[x]*$HOME;&😀n\u0303\\"
TINY = ("--dataset", "tiny")
BASE = (*CELL, "base")
ARGUMENTS = {
    "captions": TINY, "embed": TINY, "cluster": TINY, "shift": TINY, "pack": TINY,
    "train": BASE, "evaluate": BASE,
}  # fmt: skip
OUTPUTS = {
    "captions": "captions", "embed": "embed", "cluster": "cluster", "shift": "shift",
    "pack": "shards", "train": "train", "evaluate": "evaluate",
}  # fmt: skip
TRAINED = {
    "datasets__tiny__train__workers": 2,
    "datasets__tiny__towers__vision": {
        "name": "small_cnn", "weights": "random", "frozen": False, "image_size": 32,
    },
}  # fmt: skip
"""A vision tower that sees pictures in training, which two processes read."""
YEAR = 365 * 86400
MODEL = "data/train/tiny/base/0/model.safetensors"


def refused(ran: Ran) -> str:
    assert ran.code == 1 and ran.err.count("\n") == 1, ran
    assert ran.err.startswith("error: "), ran
    return ran.err.removeprefix("error: ")


def test_a_checkout_in_an_odd_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project.root.parent / ODD
    before = (project.root / MODEL).read_bytes()
    shutil.move(project.root, root)
    monkeypatch.chdir(root)
    project.root = root
    shutil.rmtree("data/train"), forget()
    for stage in (*CHAIN, ("evaluate", *CELL, "mmts"), ("report",)):
        ran = project.run(*stage)
        assert (ran.code, ran.err) == (0, ""), ran
    assert Path(MODEL).read_bytes() == before
    assert ODD not in Path("results/index.html").read_text(encoding="utf-8")


def test_make_in_an_odd_folder(tmp_path: Path) -> None:
    root = tmp_path / ODD
    tools = root / "tools/bin"
    tools.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", root)
    (root / "pyproject.toml").touch(), (root / "constraints.txt").touch()
    (tools.parent / ".installed").touch()
    for name in ("python", "dvc"):
        (tools / name).write_text('#!/bin/sh\necho "own ${0##*/} $*"\n')
        (tools / name).chmod(0o755)
    ran = subprocess.run(["make", "-s", "repro", "VENV=tools"], cwd=root, capture_output=True,
                         text=True, check=True)  # fmt: skip
    assert ran.stdout == "own python -m stages.plan\nown dvc repro\n"


def jumping() -> Callable[[], float]:
    """A clock that goes a year back or on at each look."""
    steps = [0]

    def now() -> float:
        steps[0] += 1
        return 1.7e9 + YEAR * (-1) ** steps[0]

    return now


@pytest.mark.parametrize("moment", [0, 2**32 + 5, -5])
def test_the_clock_is_wrong(project: Project, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    before = Path(MODEL).read_bytes()
    for path in (*Path("data/raw").rglob("*"), *Path("data/shards").rglob("*")):
        os.utime(path, (moment, moment))
    forget()
    clock = jumping()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(time, "time_ns", lambda: int(clock() * 1e9))
    for stage in CHAIN:
        ran = project.run(*stage)
        assert (ran.code, ran.err) == (0, ""), ran
    assert Path(MODEL).read_bytes() == before


@pytest.mark.parametrize("stage", list(ARGUMENTS))
def test_read_only_outputs(project: Project, tmp_path: Path, stage: str) -> None:
    folder = Path("data") / OUTPUTS[stage]
    before = [(path, path.stat().st_mtime_ns) for path in folder.rglob("*")]
    ran = started.run(stage, *ARGUMENTS[stage], told=tmp_path / "told",
                      prepare=lambda: mounts.read_only(folder))  # fmt: skip
    told = refused(ran)
    assert str(folder) in told and "Read-only file system" in told
    assert [(path, path.stat().st_mtime_ns) for path in folder.rglob("*")] == before


@pytest.mark.parametrize("stage", list(ARGUMENTS))
def test_read_only_inputs(project: Project, tmp_path: Path, stage: str) -> None:
    def prepare() -> None:
        mounts.read_only(Path("data/raw"))

    forget()
    ran = started.run(stage, *ARGUMENTS[stage], told=tmp_path / "told", prepare=prepare)
    assert (ran.code, ran.err) == (0, ""), ran


@pytest.mark.parametrize("stage", ["embed", "pack", "train", "evaluate"])
def test_read_only_caches(project: Project, tmp_path: Path, stage: str) -> None:
    """Who needs nothing new of them works; seeds are kept there before the output has them."""

    def run() -> Ran:
        return started.run(stage, *ARGUMENTS[stage], told=tmp_path / "told",
                           prepare=lambda: mounts.read_only(Path("data/cache")))  # fmt: skip

    ran = run()
    assert (ran.code, ran.err) == (0, ""), ran
    forget()
    ran, kept = run(), stage in ("train", "evaluate")
    assert ran.code == kept, ran
    if kept:
        told = refused(ran)
        assert "Read-only file system" in told and "data/cache/kept" in told


def little() -> None:
    """No home, no temporary folder that can be written, few open files, nobody else may read."""
    for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        os.environ[name] = "/proc/nowhere"
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.umask(0o77)


def test_little_is_there(project: Project, tmp_path: Path) -> None:
    project.run("evaluate", *CELL, "mmts")
    ran = started.run("report", told=tmp_path / "told", prepare=little)
    assert (ran.code, ran.err) == (0, ""), ran
    project.set(**TRAINED)
    for stage in ("captions", "embed", "pack", "train", "evaluate"):
        ran = started.run(stage, *ARGUMENTS[stage], told=tmp_path / "told", prepare=little)
        assert (ran.code, ran.err) == (0, ""), (stage, ran)


def test_a_temporary_folder_too_long_for_sockets(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    project.set(**TRAINED)

    def prepare() -> None:
        os.environ["TMPDIR"], tempfile.tempdir = str(folder), None

    ran = started.run("train", *BASE, told=tmp_path / "told", prepare=prepare)
    told = refused(ran)
    assert told.startswith(f"the folder of temporary files, {folder}, has a name above 70 bytes")
    assert "set TMPDIR to another, or train.workers" in told


def test_out_of_memory(project: Project, tmp_path: Path) -> None:
    project.set(datasets__tiny__train__head={"dim": 16384, "hidden": 16384})

    def prepare() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))

    ran = started.run("train", *BASE, told=tmp_path / "told", prepare=prepare)
    assert refused(ran).startswith("out of memory (")
    assert Path(MODEL).exists()


LIMITS = (
    ("captions", 0.6), ("captions", 1.0), ("pack", 0.6), ("embed", 1.0), ("train", 2.0),
    *(pytest.param(*limit, marks=pytest.mark.fuzz)
      for limit in (("captions", 1.5), ("embed", 2.5), ("train", 1.3))),
)  # fmt: skip
"""Gigabytes of addresses, as `ulimit -v` sets; some of them are enough on some machines."""


@pytest.mark.parametrize(("stage", "gigabytes"), LIMITS)
def test_a_limit_of_addresses(project: Project, stage: str, gigabytes: float) -> None:
    """No stage waits for threads that cannot start, and none takes a sound file for damaged."""
    most = int(gigabytes * 1e6) * 1024
    forget()
    ran = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *ARGUMENTS[stage]],
        capture_output=True, text=True, check=False, timeout=patience.seconds(60),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )  # fmt: skip
    if ran.returncode:
        told = ran.stderr.lower()
        # 127: of the dynamic linker
        assert ran.returncode in (1, 127) and told.count("\n") == 1 and "memory" in told, ran


SHORT = {
    "Python": MemoryError(),
    "threads": RuntimeError("can't start new thread"),
    "system": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "torch": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"),
    "Arrow": pa.ArrowMemoryError("malloc of size 64 failed"),
}
PLACES = {
    "safetensors.safe_open": "embed", "pandas.read_parquet": "embed",
    "pyarrow.parquet.read_table": "train", "PIL.ImageOps.exif_transpose": "captions",
    "concurrent.futures.ThreadPoolExecutor.submit": "captions",
}  # fmt: skip


@pytest.mark.parametrize(
    ("place", "error"),
    [(p, e) for p in PLACES for e in SHORT if "PIL" not in p or e == "Python"],
)
def test_wherever_memory_ends_it_is_said(
    project: Project, monkeypatch: pytest.MonkeyPatch, place: str, error: str
) -> None:
    """Also where a reader takes any error for a damaged file; no row is left out for it."""

    def short(*_: Any, **__: Any) -> Any:
        raise SHORT[error]

    for path in Path("data/cache/vectors").iterdir():
        path.unlink()
    forget()
    monkeypatch.setattr(place, short)
    told = refused(project.run(PLACES[place], *ARGUMENTS[PLACES[place]]))
    assert "memory" in told and told.endswith("or allow more memory (`ulimit -v`)\n"), told


def test_a_locale_without_the_letters(project: Project) -> None:
    rows = tiny_pairs()
    old, new = rows[0]["image"], "images/é😀.jpg"
    rows = [row | {"image": new, "caption": "😀 é"} if row["image"] == old else row for row in rows]
    write_table(Path("data/raw/tiny/pairs.csv"), rows)
    Path("data/raw/tiny", old).rename(Path("data/raw/tiny", new))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    command = [sys.executable, "-m", "stages.captions", *TINY]

    def run(**more: str) -> Ran:
        ran = subprocess.run(command, capture_output=True, text=True, check=False,
                             env=environment | more)  # fmt: skip
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    told = refused(run(PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"))
    assert told.startswith(
        "'data/raw/tiny/images/\\xe9\\U0001f600.jpg' cannot be named here, where"
    )
    assert told.endswith("text is ascii; set PYTHONUTF8=1, or the locale to C.UTF-8\n")
    assert run().code == 0


def test_a_terminal_without_the_letters(project: Project, tmp_path: Path) -> None:
    def prepare() -> None:
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(encoding="ascii", errors="strict")

    Path("params.yaml").rename("é😀.yaml")
    ran = started.run("plan", "--params", "é😀.yaml", told=tmp_path / "told", prepare=prepare)
    assert ran.code == 0 and ran.out.startswith("\\xe9\\U0001f600.yaml is fine: tiny; "), ran

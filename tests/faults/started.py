"""Stage commands in processes of their own, to be killed, starved and watched."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests import making, patience
from tests.conftest import Project, Ran
from tests.pipeline.warm import end_with_parent

ROOT = Path(__file__).parents[2]
HEAVY = (
    "jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure", "pandas", "pyarrow.parquet",
    "sentence_transformers", "sklearn.cluster", "sklearn.manifold", "torch",
)  # fmt: skip
_number = 0


class Started:
    """A stage command in a fork: it has its modules already, so its work begins at once."""

    def __init__(self, pid: int, out: Path, err: Path) -> None:
        self.pid, self._out, self._err = pid, out, err
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, a signal as its negative number; None while it runs."""
        if self._code is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def signal(self, number: int) -> None:
        """Send a signal to the command alone, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to the command and all that it has started, as a terminal does."""
        if self.poll() is None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:  # it has just begun, and has no group of its own yet
                os.kill(self.pid, number)

    def wait(self, seconds: float = 60) -> Ran:
        """Its end; killed after so many seconds of an idle machine, and the test fails."""
        limit = patience.seconds(seconds)
        until = time.monotonic() + limit
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        if self.poll() is None:
            self.signal_all(signal.SIGKILL)
            raise AssertionError(f"still running after {limit:.0f} s: {self._err.read_text()}")
        assert self._code is not None
        return Ran(self._code, self._out.read_text(), self._err.read_text())


def start(
    stage: str, *arguments: str, told: Path, prepare: Callable[[], None] | None = None
) -> Started:
    """Start `python -m stages.<stage> <arguments>` in the working folder.

    Where params.yaml has changed, data/plan is written first, as `dvc repro` does.

    Args:
        stage: a module of `stages`.
        arguments: of its command line.
        told: a folder for what it prints, outside the project.
        prepare: called in the new process first (limits, mounts, patches).
    """
    global _number
    for name in HEAVY:
        importlib.import_module(name)
    if stage not in ("plan", "study") and Path("params.yaml").exists():
        here = Project(Path.cwd(), lambda: ("", ""))
        if here.is_stale():
            making.write_plan(here.root)
    _number += 1
    told.mkdir(parents=True, exist_ok=True)
    out, err = told / f"{_number}.out", told / f"{_number}.err"
    out.touch(), err.touch()
    sys.stdout.flush(), sys.stderr.flush()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        code = 70
        try:
            end_with_parent(parent)
            os.setsid()
            _into(1, out), _into(2, err)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.environ["PYTHONPATH"] = str(ROOT)  # of the interpreters that it starts
            if prepare is not None:
                prepare()
            code = _command(stage, arguments)
        except BaseException as error:  # pytest's own handling must not run in the fork
            print(repr(error), file=sys.stderr)
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    return Started(pid, out, err)


def run(
    stage: str, *arguments: str, told: Path, prepare: Callable[[], None] | None = None,
    seconds: float = 60,
) -> Ran:  # fmt: skip
    """`start`, and wait for the end."""
    return start(stage, *arguments, told=told, prepare=prepare).wait(seconds)


def _into(descriptor: int, path: Path) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, descriptor)
    os.close(file)


def _command(stage: str, arguments: tuple[str, ...]) -> int:
    from stages.cli import run as run_command

    sys.argv = [stage, *arguments]
    try:
        run_command(importlib.import_module(f"stages.{stage}").main)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0

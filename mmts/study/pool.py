"""Cells in several processes, side by side."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmts.errors import InputError
from mmts.settings.towers import Towers
from mmts.study.cell import Cell

Task = tuple[Cell, bool]
"""What to train, and whether to test it."""

Record = dict[str, Any]


def run_all(
    tasks: Mapping[str, Task], towers: Mapping[str, Towers], processes: int,
    keep: Callable[[Record], None],
) -> None:  # fmt: skip
    """Run cells in order, `processes` at a time with one thread each.

    Whatever ends this early, Ctrl-C too, ends the processes at once.

    Args:
        tasks: by the key of the cell.
        towers: by dataset.
        processes: how many.
        keep: what to do with the record of each cell, when it is there.

    Raises:
        InputError: a process was killed, or a cell cannot be trained; what was kept stays.
    """
    others = multiprocessing.active_children()
    waiting = iter(tasks.items())
    running: set[Future[Record]] = set()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            while True:
                while len(running) < 2 * processes and (task := next(waiting, None)):
                    key, (cell, test) = task
                    with _deaf():
                        running.add(pool.submit(_run, key, cell, towers[cell.dataset], test))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    keep(future.result())
        except BaseException as error:
            for process in multiprocessing.active_children():
                if process not in others:
                    process.kill()
            if isinstance(error, BrokenProcessPool | SystemExit):
                raise InputError(
                    "a process of the study was killed, perhaps for its memory; run the same "
                    "command again, which goes on from what is done, with fewer --processes if it "
                    "stays so"
                ) from None
            raise


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other studies from a dataset; InputError where one is under way.

    Args:
        folder: of the dataset's cache. The system frees its lock when this process ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another study of {folder.name} is under way here; wait for it, or end it"
            ) from None
        yield


@contextmanager
def _deaf() -> Iterator[None]:
    """A process that begins meanwhile does not hear Ctrl-C, which a terminal sends to all."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin() -> None:
    """Of a new process: one thread, nothing on the screen, and its parent's end is its own."""
    import torch

    torch.set_num_threads(1)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  bars of trainings; warnings of controls
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(key: str, cell: Cell, towers: Towers, test: bool) -> Record:
    from mmts.study.run import run_cell

    try:
        return run_cell(key, cell, towers, test)
    except InputError as error:
        raise InputError(f"{cell.dataset} {cell.name}, seed {cell.seed}: {error}") from None

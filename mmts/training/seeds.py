"""The seeds of a cell, one after the other or side by side."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TextIO

from mmts.errors import InputError, told
from mmts.settings.training import Train
from mmts.training.joining import end_with_parent
from mmts.training.signals import STOPPING

POLL = 0.05  # seconds
SIGNALS = (*STOPPING, signal.SIGINT)


def at_once(settings: Train, device: str, seeds: int) -> int:
    """Return how many seeds are trained side by side.

    On a CPU, where each has one thread and decodes for itself, as many as there are cores; else
    one.
    """
    if device != "cpu" or settings.threads != 1 or settings.workers:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(seeds, cores or 1))


def each(seeds: Sequence[int], train: Callable[[int], None], count: int) -> None:
    """Call `train` with each seed in a fork of this process, `count` at a time.

    SIGTERM and Ctrl-C go on to the forks, which save a checkpoint, and are waited for; a second
    Ctrl-C ends them at once. Those that still work when one has failed are waited for too.

    Raises:
        SystemExit: with the code of the first that has ended with one, or of a signal.
        InputError: one was killed.
    """
    fork = multiprocessing.get_context("fork")
    left, failed, asked = list(seeds), 0, 0
    running: dict[int, BaseProcess] = {}
    with _forwarding(running) as signals:
        while running or (left and not failed and not signals):
            while left and len(running) < count and not failed and not signals:
                seed = left.pop(0)
                process: BaseProcess = fork.Process(
                    target=_work, args=(train, seed, count > 1, os.getpid())
                )
                with _later():  # or the fork would have our handlers when a signal comes
                    process.start()
                    running[seed] = process
                if signals:  # came before the fork was in the list: another thread may take it
                    process.terminate()
            for seed, process in list(running.items()):
                if process.is_alive():
                    continue
                process.join()
                del running[seed]
                code = process.exitcode or 0
                if code and not failed:
                    failed, asked = code, seed
                    for other in running.values():
                        other.terminate()
            time.sleep(POLL)
    if signals and (left or failed):
        raise SystemExit(128 + signals[0])
    if failed < 0:
        name = signal.Signals(-failed).name
        raise InputError(
            f"the training of seed {asked} was killed ({name}), perhaps for its memory; the same "
            "command goes on from what is done"
        )
    if failed:
        raise SystemExit(failed)


@contextmanager
def _forwarding(running: dict[int, BaseProcess]) -> Iterator[list[int]]:
    """Pass SIGTERM, SIGUSR1 and Ctrl-C on as SIGTERM; yields the signals that have come."""
    come: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        again = number == signal.SIGINT and number in come
        come.append(number)
        for process in running.values():
            (process.kill if again else process.terminate)()

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield come
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _later() -> Iterator[None]:
    """Have signals wait for the end of the block; in a fork, for `_work`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(train: Callable[[int], None], seed: int, shared: bool, parent: int) -> None:
    """Train a seed in a fork, whose lines begin with it where several share the screen."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes it on
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    end_with_parent(parent)
    if shared:
        sys.stdout = _Prefixed(sys.stdout, f"seed {seed}: ")
        sys.stderr = _Prefixed(sys.stderr, f"seed {seed}: ")
    code = 0
    try:
        train(seed)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        code = 1
        lines = told(error)
        for line in lines:
            print(f"error: {line}", file=sys.stderr)
        if not lines:
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


class _Prefixed(io.TextIOBase):
    """Whole lines with something in front; no terminal, so that nobody draws a bar."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
        self._stream, self._prefix, self._line = stream, prefix, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(f"{self._prefix}{line}\n" if line else "")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

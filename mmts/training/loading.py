"""Worker processes that load: what they raise, and what happens where one of them dies."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from signal import SIG_DFL, SIGCHLD, SIGINT, raise_signal, signal, strsignal
from traceback import clear_frames
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mmts.errors import InputError
from mmts.training.signals import deaf

T = TypeVar("T")
CPU = torch.device("cpu")
REMEDY = "lower train.workers (in evaluate: evaluate.workers) or give more memory, /dev/shm too"
LONGEST = 70
"""Bytes of the name of the folder of temporary files: sockets in it have about 107 for theirs."""
DEATH = re.compile(
    r"DataLoader worker .*(?:(signal: [\w ]+)|exited unexpectedly(?: with (exit code \d+))?)"
)
"""What torch says of a worker process that is gone."""


def loaded(
    dataset: Dataset[T], batches: Iterable[Any] | None, workers: int, device: torch.device = CPU
) -> Generator[T, None, None]:
    """What a dataset gives for each of `batches`, or, for None, of its own accord.

    Raises:
        InputError: that of a worker process, as one line; or there is no place for its sockets.
        RuntimeError: a worker process died, see `deaths_told`.
    """
    if workers:
        _check_sockets()
    loader: DataLoader[T] = DataLoader(
        dataset,
        batch_size=1 if batches is not None else None,
        batch_sampler=batches,
        generator=torch.Generator(),  # of its own: it draws a number, and is to move no other state
        worker_init_fn=deaf,
        collate_fn=_handed_over,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    try:
        yield from _known_deaths(loader)
    except BaseException as error:
        for part in _chain(error):
            clear_frames(part.__traceback__)  # they hold the loader, whose processes end with it
        if not isinstance(error, InputError):
            raise
        told = str(error).strip().rpartition("InputError: ")[2]  # a worker's has its traceback
        raise InputError(told) from None


def _check_sockets() -> None:
    """InputError where a worker process cannot hand over a batch: it would be awaited forever."""
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) > LONGEST:
        raise InputError(
            f"the folder of temporary files, {folder}, has a name above {LONGEST} bytes, too long "
            "for worker processes; set TMPDIR to another, or train.workers (in evaluate: "
            "evaluate.workers) to 0"
        )


@contextmanager
def deaths_told() -> Iterator[None]:
    """InputError where a worker process died; torch raises wherever this process then is."""
    try:
        yield
    except RuntimeError as error:
        if not DEATH.match(str(error)):
            raise
        known = [match for part in _chain(error) if (match := DEATH.match(str(part)))]
        raise _death(next((m[1] or m[2] for m in known if m.lastindex), "")) from None


def _known_deaths(loader: DataLoader[T]) -> Iterator[T]:
    """What it gives; where its connection to a process breaks, it is awaited that one has ended."""
    others = active_children()
    processes: list[BaseProcess] = []
    try:
        with _ctrl_c_later():
            batches = iter(loader)
            processes += [process for process in active_children() if process not in others]
        yield from batches
    except (KeyboardInterrupt, GeneratorExit):
        _end(processes)  # what they are at would be waited for
        raise
    except BaseException as error:
        broken = isinstance(error, ConnectionError | EOFError)
        how = _end_of_one(processes, 2 if broken else 0)
        if how and (broken or DEATH.match(str(error))):
            raise _death(how) from None
        raise


def _end_of_one(processes: list[BaseProcess], seconds: float) -> str:
    """How one of them has ended that was killed, within so many seconds; the others end with it.

    It may have held the lock of the queue that they share, and they do not hear SIGTERM.
    """
    with _handled(SIGCHLD, SIG_DFL):  # torch would raise in here
        ended = wait([process.sentinel for process in processes], seconds)
        for process in processes:
            if process.sentinel in ended:
                process.join()
        codes = [process.exitcode for process in processes if process.exitcode]
        if codes:
            _end(processes)
    if not codes:
        return ""
    return f"signal: {strsignal(-codes[0])}" if codes[0] < 0 else f"exit code {codes[0]}"


def _end(processes: list[BaseProcess]) -> None:
    """Kill processes whose batches nobody takes any more."""
    with _handled(SIGCHLD, SIG_DFL):  # torch would raise in here
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """It has to wait; processes that begin meanwhile never end by it.

    A terminal sends it to all of them; this process answers, and ends the others.
    """
    heard: list[int] = []
    with _handled(SIGINT, lambda number, _: heard.append(number)):
        yield
    if heard:
        raise_signal(SIGINT)


@contextmanager
def _handled(number: int, handler: Any) -> Iterator[None]:
    """Another handler of a signal; the main thread alone hears it, and alone can set one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal(number, handler)
    try:
        yield
    finally:
        signal(number, before)


def _death(how: str) -> InputError:
    how = f" ({how})" if how else ""
    return InputError(f"a process that loads pictures was killed{how}; {REMEDY}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those before it."""
    part: BaseException | None = error
    while part is not None:
        yield part
        part = part.__context__


def _handed_over(batch: T) -> T:
    """It, in a worker process with its tensors in shared memory.

    The thread that sends it would put them there. Where there is no room it would print so, and
    nobody would hear of the batch again.
    """
    if get_worker_info() is None:
        return batch
    for part in _parts(batch):
        if isinstance(part, Tensor):
            try:
                part.share_memory_()  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                told = f"a process that loads pictures cannot hand them over ({error}); {REMEDY}"
                raise InputError(told) from None
    return batch


def _parts(batch: object) -> Iterator[object]:
    """What a batch is made of, in tuples and mappings too."""
    inner = batch.values() if isinstance(batch, dict) else batch
    if isinstance(batch, dict | tuple):
        for part in inner:  # type: ignore[attr-defined]
            yield from _parts(part)
    else:
        yield batch

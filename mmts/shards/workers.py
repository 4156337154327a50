"""Long jobs in several processes, each telling how far it is."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from mmts.errors import InputError, in_short, out_of_memory
from mmts.planned import finder

J = TypeVar("J")
M = TypeVar("M")


def work_off(
    work: Callable[[J], Iterable[M]], jobs: Sequence[J], workers: int, name: Callable[[J], str]
) -> Generator[tuple[int, M]]:
    """What `work` yields for each job, with the job's number, as it comes.

    Closing the iterator ends the processes at once; so does the end of this process, however it
    comes.

    Args:
        work: a function of a module, for the processes to import.
        jobs: what it is called with, one after the other.
        workers: processes; 0 works in this one.
        name: what a job is called in the message about a process that died at it.

    Raises:
        InputError: what `work` raises, also for an OSError; or a process died.
    """
    if workers == 0:
        for number, job in enumerate(jobs):
            for message in work(job):
                yield number, message
        return
    crew = _Crew(work, [(name(job), job) for job in jobs], workers)
    try:
        yield from crew.messages()
    finally:
        crew.end()


class _Crew:
    """The processes, and the job that each is at, by the pipe to it."""

    def __init__(
        self, work: Callable[[Any], Iterable[Any]], jobs: Sequence[tuple[str, Any]], workers: int
    ) -> None:
        context = get_context("spawn")  # a fork would copy threads' locks
        self.waiting = deque(enumerate(jobs))
        self.processes: dict[Connection, BaseProcess] = {}
        self.at: dict[Connection, tuple[int, str]] = {}
        with _ctrl_c_ignored():  # the processes inherit it: this one alone answers
            for _ in range(min(workers, len(jobs))):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, work, finder()), daemon=True)
                process.start()
                theirs.close()
                self.processes[ours] = process

    def messages(self) -> Iterator[tuple[int, Any]]:
        """Until all jobs are done."""
        for pipe in self.processes:
            self._next(pipe)
        while self.at:
            for pipe in [pipe for pipe in wait(list(self.at)) if isinstance(pipe, Connection)]:
                try:
                    kind, value = pipe.recv()
                except (EOFError, ConnectionError):
                    raise self._died(pipe) from None
                if kind == "message":
                    yield self.at[pipe][0], value
                elif kind == "done":
                    self._next(pipe)
                elif kind == "refused":
                    raise InputError(value)
                elif kind == "memory":
                    raise MemoryError(value)
                else:
                    raise RuntimeError(f"in a process of pack.workers:\n{value}")

    def _next(self, pipe: Connection) -> None:
        self.at.pop(pipe, None)
        if not self.waiting:
            return
        number, (name, job) = self.waiting.popleft()
        self.at[pipe] = number, name
        try:
            pipe.send(job)
        except ConnectionError:
            raise self._died(pipe) from None

    def _died(self, pipe: Connection) -> InputError:
        process = self.processes[pipe]
        process.join()
        return InputError(
            f"{self.at[pipe][1]}: the process at it died (exit code {process.exitcode}); lower "
            "pack.workers if memory ran out, else leave this out"
        )

    def end(self) -> None:
        """Stop the processes, whatever they are at."""
        for process in self.processes.values():
            process.terminate()
        for pipe, process in self.processes.items():
            process.join()
            pipe.close()


def _serve(pipe: Connection, work: Callable[[Any], Iterable[Any]], imports: Any) -> None:
    """The life of a process: a job after the other, until nobody is left to answer to.

    It has imported the code anew, so it has to see to it that this is still that of the plan.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            if imports is not None:
                imports.begin()
                imports = None
            for message in work(job):
                pipe.send(("message", message))
            answer = ("done", "")
        except BrokenPipeError:
            return
        except InputError as error:
            answer = ("refused", str(error))
        except OSError as error:
            answer = ("refused", f"{error.filename or 'file'}: {error.strerror or error}")
        except Exception as error:
            answer = ("failed", traceback.format_exc())
            if out_of_memory(error):
                answer = ("memory", in_short(error))
        pipe.send(answer)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

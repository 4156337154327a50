"""Becoming the launcher of the processes that train together; what is said where it loses one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

from mmts.errors import InputError
from mmts.training.joining import end_with_parent

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

AGENT = "torch.distributed.elastic"


def launch(launcher: tuple[str, ...], module: str, arguments: list[str]) -> NoReturn:
    """Run `python -m module arguments` by a launcher, and end as its processes do.

    `torchrun` runs in this process: its report of a page would bury our line. Any other program
    takes the place of this process.

    Args:
        launcher: train.launcher, the words of a command.
        module, arguments: of the command that each process runs.

    Raises:
        InputError: there is no such program, it refuses its arguments, or a process was lost.
        SystemExit: with the code of the process that ended first, or 128 and the signal that ended
            the launcher.
    """
    sys.stdout.flush()
    command = ["-m", module, *arguments]
    if launcher[0] == "torchrun":
        _torchrun([*launcher[1:], *command])
    try:
        os.execvp(launcher[0], [*launcher, *command])  # noqa: S606
    except OSError as error:
        raise InputError(
            f"train.launcher starts with {launcher[0]}, which is no program here ({error.strerror})"
        ) from None


def start(command: list[str]) -> int:
    """Run a command and wait for it; SIGTERM goes on to it. Returns its exit code."""
    process = subprocess.Popen(command, preexec_fn=end_with_parent)  # noqa: S603
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:  # a terminal has sent it to the command too
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code


def _torchrun(arguments: list[str]) -> NoReturn:
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError

    if "LOGLEVEL" not in os.environ:  # torchrun's own variable
        for name in [name for name in logging.root.manager.loggerDict if name.startswith(AGENT)]:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        given = run.parse_args(arguments)  # type: ignore[no-untyped-call]
    except SystemExit as stop:
        if stop.code:
            raise InputError("train.launcher: torchrun refuses it; its words are above") from None
        raise
    try:
        run.run(given)  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        raise _end(error) from None
    except SignalException as stop:
        raise SystemExit(128 + stop.sigval) from None
    except (ValueError, RendezvousError) as error:
        raise InputError(f"train.launcher: torchrun does not start ({error})") from None
    raise SystemExit(0)


def _end(error: ChildFailedError) -> Exception | SystemExit:
    """The error of the process that failed first; one that was not killed has told its own."""

    def order(rank: int) -> tuple[int, bool, int]:
        failure = error.failures[rank]  # seconds; a killed one explains others of the same second
        return int(failure.timestamp), not _killed(failure.exitcode), rank

    rank = min(error.failures, key=order)
    code = error.failures[rank].exitcode
    if not _killed(code):
        return SystemExit(code if code > 0 else 128 - code)
    return InputError(
        f"process {rank} of the training was killed ({signal.Signals(-code).name}), and the others "
        "were ended; the same command goes on from the last checkpoint"
    )


def _killed(code: int) -> bool:
    """Whether this is the code of a process that a signal has ended, but not the launcher's own."""
    return code < 0 and code != -signal.SIGTERM

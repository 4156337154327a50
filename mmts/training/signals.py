"""Stopping between two steps when the system asks for it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

STOPPING = (signal.SIGTERM, signal.SIGUSR1)
"""SIGUSR1 is what SLURM sends ahead of the time limit where `--signal=USR1@120` asks for it."""


class GracefulStop:
    """While it is entered, SIGTERM and SIGUSR1 set `asked` and do nothing else.

    Ctrl-C goes on to raise KeyboardInterrupt at once.

    Attributes:
        asked: the number of the first such signal, 0 for none.
        noted: whether any has come to this process.
        begun: whether there is something to save. Until it is True, a signal ends the process at
            once, with the exit code of `leave`.
    """

    noted = False

    def __init__(self, begun: bool = True) -> None:
        self.asked, self.begun = 0, begun
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> GracefulStop:
        self.listen()
        return self

    def listen(self) -> None:
        """Enter without an exit, for a process that listens until it ends."""
        self._before = {number: signal.signal(number, self._note) for number in STOPPING}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.asked = self.asked or number
        GracefulStop.noted = True
        if not self.begun:
            raise SystemExit(128 + number)


def leave(number: int, step: int, total: int, checkpoint: Path) -> NoReturn:
    """End the process as the shell reports a signal: 143 for SIGTERM, 138 for SIGUSR1.

    Not 0: DVC would take the stage as done.
    """
    print(
        f"stopped by {signal.Signals(number).name} after step {step} of {total}; {checkpoint} is "
        "saved, and the same command goes on from there",
        file=sys.stderr,
    )
    raise SystemExit(128 + number)


def deaf(_: int = 0) -> None:
    """The worker_init_fn of a DataLoader whose process stops gracefully.

    A cluster's SIGTERM goes to all processes of a job. A worker that dies of it takes the training
    process along before its checkpoint; this one waits until that process ends it.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)

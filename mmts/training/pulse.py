"""Whether the other processes of a training still run: each says so every second."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

BEAT = 1.0  # seconds
SILENCE = 50  # beats without a word, after which a process counts as lost
HUSHED = 2  # beats, where something else has told that one is lost
LEFT = 1 << 40  # beats that nobody lives to see: left in good order
KEY = "mmts/pulse"
REMEDY = "the same command goes on from the last checkpoint"


class Pulse:
    """Ends this process, with a line on stderr, where another has been silent for too long.

    A process that is killed closes its connections, which its fellows notice at once. One that
    hangs, or whose machine is gone, does not: they would wait for hours. Silence is counted in
    beats of this process, so that a machine that slept does not take itself for the only one.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        """
        Args:
            store: of the group. It is asked through a connection of its own.
            rank, size: which of how many this process is.
        """
        self._store, self._rank, self._size = store.clone(), rank, size  # type: ignore[attr-defined]
        self._quiet = {other: 0 for other in range(size) if other != rank}
        self._store_lost, self._stopped = False, threading.Event()
        for run in (self._beat, self._watch):  # the first may wait for an answer for ever
            threading.Thread(target=run, name=f"pulse{run.__name__}", daemon=True).start()

    def stop(self, *, well: bool) -> None:
        """No longer say, nor ask, who runs; `well`: the others need not miss this process."""
        self._stopped.set()
        if well and not self._store_lost:
            try:
                self._store.add(f"{KEY}/{self._rank}", LEFT)
            except RuntimeError:  # whoever has the store has left before
                self._store_lost = True

    def lost(self, beats: int = HUSHED) -> str:
        """Which processes have been silent for so many beats."""
        found = [rank for rank, quiet in self._quiet.items() if quiet >= beats or self._size == 2]
        if not found or (self._store_lost and self._size > 2):
            return f"another of the {self._size} processes"
        names = " and ".join(map(str, found))
        return f"process{'es' * (len(found) > 1)} {names} of {self._size}"

    def _beat(self) -> None:
        heard = dict.fromkeys(self._quiet, 0)
        try:
            while not self._stopped.wait(BEAT):
                self._store.add(f"{KEY}/{self._rank}", 1)
                for other in heard:
                    beats = self._store.add(f"{KEY}/{other}", 0)
                    if beats != heard[other] or beats >= LEFT:
                        heard[other], self._quiet[other] = beats, 0
        except RuntimeError:
            self._store_lost = True

    def _watch(self) -> None:
        while not self._stopped.wait(BEAT):
            for other in self._quiet:
                self._quiet[other] += 1
            if max(self._quiet.values()) > SILENCE and not self._stopped.is_set():
                print(
                    f"error: {self.lost(SILENCE)} has not been heard of for {SILENCE * BEAT:.0f} s "
                    f"and counts as lost; {REMEDY}",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
                os._exit(1)

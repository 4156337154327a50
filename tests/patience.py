"""Time limits that hold on a busy machine.

A test must not fail because others use the processors. There are two kinds of limits:

- `seconds` is for waiting: a hang is endless, so the limit only has to come at some time.
- `within` is for what the project promises ("ends within 5 s"). It grows by as much as the machine
  is overcommitted, and no more, so that the promise can still be broken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GENEROUS = 5.0


def slowness() -> float:
    """Return how many processes want each processor, at least 1.

    The load average lags by a minute, the number of running processes jumps: take the higher one.
    """
    wanting = os.getloadavg()[0]
    stat = Path("/proc/stat")
    if stat.exists():
        wanting = max(wanting, *(
            int(line.split()[1])
            for line in stat.read_text().splitlines() if line.startswith("procs_running ")
        ), 0)  # fmt: skip
    return max(1.0, wanting / (os.cpu_count() or 1))


def seconds(idle: float) -> float:
    """Return how long to wait for what takes up to `idle` seconds on an idle machine."""
    return GENEROUS * idle * slowness()


@contextmanager
def within(idle: float) -> Iterator[None]:
    """Assert that the block takes at most `idle` seconds, more only where the machine is busy."""
    before, begun = slowness(), time.monotonic()
    yield
    took = time.monotonic() - begun
    allowed = idle * max(before, slowness())
    assert took <= allowed, f"took {took:.1f} s where {idle:g} s are promised ({allowed:.1f} s now)"

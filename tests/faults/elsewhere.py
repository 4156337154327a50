"""All stages in an interpreter of its own: `python -m tests.faults.elsewhere CONNECTIONS`.

In the working folder, which has params.yaml and data/raw/tiny. Folders are listed backwards, the
clock is a year ahead, and the file CONNECTIONS gets a line for each connection that is tried.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.conftest import CELL, CHAIN, Project
from tests.faults.watching import watch

YEAR = 366 * 24 * 3600
REST = (("evaluate", *CELL, "mmts"), ("report",))


class Entries:
    """What os.scandir gives, by name from the first to the last, or backwards."""

    def __init__(self, entries: Any, *, backwards: bool) -> None:
        with entries:
            self._left = sorted(entries, key=lambda entry: entry.name, reverse=not backwards)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if not self._left:
            raise StopIteration
        return self._left.pop()

    def close(self) -> None:
        self._left = []


def list_folders(*, backwards: bool) -> None:
    """From now on by name, or from the last name to the first."""
    names, entries = os.listdir, os.scandir
    os.listdir = lambda *folder: sorted(names(*folder), reverse=backwards)
    os.scandir = lambda *folder: Entries(entries(*folder), backwards=backwards)


def main() -> None:
    for name in ("HF_HUB_OFFLINE", "DVC_NO_ANALYTICS"):  # which no user sets
        os.environ.pop(name, None)
    watch(Path(sys.argv[1]))
    list_folders(backwards=True)
    now = time.time
    time.time = lambda: now() + YEAR
    for stage in (*CHAIN, *REST):
        assert Project(Path.cwd(), lambda: ("", "")).run(*stage).code == 0, stage


if __name__ == "__main__":
    main()

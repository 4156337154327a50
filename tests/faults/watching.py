"""Which connections a process tries. Needs nothing: its text can be any interpreter's start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ASKED = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
SENT = ("socket.connect", "socket.sendto", "socket.sendmsg")


def watch(path: Path) -> None:
    """From now on `path` gets a line for each connection that this process or a fork of it tries.

    Not for those within the machine, whose addresses are names of files.
    """

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ASKED or (event in SENT and isinstance(arguments[1], tuple)):
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{event} {arguments}\n")

    sys.addaudithook(hear)


def watch_all(folder: Path, told: Path) -> None:
    """Every interpreter that begins with `folder` on its PYTHONPATH watches."""
    text = Path(__file__).read_text(encoding="utf-8")
    (folder / "sitecustomize.py").write_text(f"{text}\n\nwatch(Path({str(told)!r}))\n", "utf-8")

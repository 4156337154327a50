"""Calls that might never end or fill the memory: in a fork, with little of both."""

from __future__ import annotations

import math
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from mmts.errors import InputError
from tests import patience


def apart(call: Callable[[], object], memory: int = 1 << 28, seconds: int = 20) -> str:
    """What a call returns, as text, or the words of its InputError after `refused: `.

    The test fails where it takes more memory (bytes that this process does not have yet) or more
    seconds of the processor, waits much longer, or raises something else.
    """
    limit = math.ceil(patience.seconds(seconds))
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(limit)
        try:
            told = str(call())
        except InputError as error:
            told = f"refused: {error}"
        except BaseException as error:
            told = f"raised {error!r}"
        os.write(there, told.encode("utf-8", "backslashreplace")[:60_000])
        os._exit(0)
    os.close(there)
    with open(here, "rb") as file:
        told = file.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, (
        f"ended by {signal.Signals(-code).name} ({seconds} CPU seconds, {limit} in all)"
    )
    assert not told.startswith("raised"), told
    return told

"""What reading a file came to: a result, or the one refusal there is."""

from __future__ import annotations

import faulthandler
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmts
from mmts.errors import InputError

SECONDS, ROOM = 20, 3 << 30
OURS = Path(mmts.__file__).parent


class Refused:
    """A reader's InputError; its line."""

    def __init__(self, line: str) -> None:
        self.line = line


class TooLong(BaseException):
    """A reader does not come to an end. No Exception: no reader can take it for damage."""


def outcome(read: Callable[..., Any], *arguments: Any) -> Any:
    """What `read` returns, or Refused; any other error and any foreign warning is raised.

    It has SECONDS of time and ROOM of address space more than the process has by now: a reader
    that believes a size in a hostile file fails with a MemoryError.
    """
    with warnings.catch_warnings(record=True) as said, _limits():
        warnings.simplefilter("always")
        try:
            found = read(*arguments)
        except InputError as error:
            assert str(error).strip(), "an InputError without a word"
            str(error).encode()  # it can be printed
            found = Refused(str(error))
    foreign = [w for w in said if not _is_ours(w)]
    assert not foreign, f"{foreign[0].category.__name__}: {foreign[0].message}"
    return found


def _is_ours(said: warnings.WarningMessage) -> bool:
    """Ours; or of libraries about damage, which no command shows (`stages.cli`), or Python's on the
    text of a .npy, which no command shows either."""
    if said.category is DeprecationWarning and said.filename == "<unknown>":
        return True
    ours = OURS in Path(said.filename).parents or Path(said.filename) == Path(__file__)
    theirs = {"PIL", "torch", "transformers"} & set(Path(said.filename).parts)
    return (said.category is UserWarning and ours) or bool(theirs)


@contextmanager
def _limits() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLong(f"not done after {SECONDS} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(6 * SECONDS, exit=True, file=sys.__stderr__)  # hung in C
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)

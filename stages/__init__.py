"""One command a DVC stage: read, call mmts, write."""

import sys
from types import TracebackType


def _quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """No traceback of a Ctrl-C that comes before a command has begun; Python ends by the signal."""
    if kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _quietly

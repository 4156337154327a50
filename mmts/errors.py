"""The one error type that users are meant to read, and names and causes in its words."""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something outside the code is wrong: a parameter, a file, a row.

    The message is one line that names the key or the row, the value, the bound and the remedy.
    Stage commands print it without a traceback and exit with 1. What it says of a file can be
    printed whatever the file holds: it goes through `one_line`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text from outside for a terminal: on one line, what is no printable character escaped."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def first_line(error: BaseException) -> str:
    """What an error says, without what it adds on further lines; its type where that is nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def in_short(error: BaseException) -> str:
    """What an error says on all its lines, its first 160 characters; as `first_line` otherwise."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def known(name: str, names: Collection[str]) -> str:
    """The names that exist, the nearest one first."""
    listed = {_plain(str(n)): str(n) for n in names}
    close = difflib.get_close_matches(_plain(name), listed, n=1)
    hint = f"did you mean {listed[close[0]]}? " if close else ""
    every = ", ".join(str(n) for n in names)
    return f"{hint}there are: {every}" if listed else "the section is empty"


def _plain(name: str) -> str:
    """Without what is easily mistaken: capitals and hyphens."""
    return name.casefold().replace("-", "_")


def spelt(name: str) -> str:
    """A name as errors show it: in quotes where it is empty, or could not be told on one line."""
    return name if name.isprintable() and name == name.strip() != "" else repr(name)


class KindFault(InputError):  # noqa: N818
    """The file of a kind is wrong, whatever names it; the message begins with the file."""


KIND = re.compile(r"(?:^|/)(mmts/kinds/[a-z]+/(?!_)\w+\.py)$")
"""A file of a kind, which a user may have written."""


def kind_file(module: str) -> str:
    """Return the file of a module as errors name it."""
    return f"{module.replace('.', '/')}.py"


def fault(error: BaseException, file: str = "") -> str:
    """Return what the file of a kind has raised, with the last of its lines that was run.

    Args:
        error: what was raised.
        file: of the kind, such as mmts/kinds/objective/siglip.py; empty to look for one.

    Returns:
        A line for the user; empty where no file is given, and none is in the traceback.
    """
    lines = [(frame.f_code.co_filename, n) for frame, n in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        lines.append((error.filename, error.lineno))
    named = [(found[1], n) for name, n in lines if (found := KIND.search(name.replace("\\", "/")))]
    at = next((n for name, n in reversed(named) if name == file or not file), None)
    file = file or (named[-1][0] if named else "")
    if not file:
        return ""
    said = error.msg if isinstance(error, SyntaxError) else first_line(error)
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    said = said if f"{said}: " == kind else f"{kind}{said}"
    return f"{file}{f' line {at}' if at else ''}: {said}; mend the file"


@contextmanager
def blamed(file: str) -> Iterator[None]:
    """Turn whatever is raised into a KindFault of the file."""
    try:
        yield
    except Exception as error:
        raise KindFault(fault(error, file)) from error


NO_MEMORY = (
    "out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory",
    "can't start new thread", "launch worker thread", "failed to map segment",
)  # fmt: skip
"""What libraries say of too little memory, or of threads that have no room for a stack."""


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or the one it was raised in place of, is for want of memory."""
    while error is not None:
        said = str(error)
        if isinstance(error, MemoryError) or any(words in said for words in NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


MORE_MEMORY = (
    "lower a batch size, workers, or the size of a layer, or allow more memory (`ulimit -v`)"
)


def told(error: Exception) -> list[str]:
    """Return the lines that tell a user what to mend; none for a fault of the program.

    What passed through the file of a kind is for the one who wrote it.
    """
    lines: list[str] = []
    if isinstance(error, InputError):
        more = f"; if memory ran out, {MORE_MEMORY}" if out_of_memory(error) else ""
        lines = getattr(error, "lines", [f"{error}{more}"])
    elif isinstance(error, UnicodeEncodeError) and not error.encoding.startswith("utf"):
        lines = [
            f"{error.object!r} cannot be named here, where text is {error.encoding}; set "
            "PYTHONUTF8=1, or the locale to C.UTF-8"
        ]
    elif isinstance(error, (OSError, MemoryError, RuntimeError, ImportError)):
        if out_of_memory(error):
            lines = [f"out of memory ({in_short(error)}); {MORE_MEMORY}"]
        elif isinstance(error, OSError):
            name = f"{error.filename}: " if error.filename else ""
            lines = [f"{name}{error.strerror or error}"]
    if not lines and (line := fault(error)):
        lines = [line]
    return [one_line(line) for line in lines]

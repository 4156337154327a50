"""What all stage commands share: one-line errors, exit codes, plain warnings."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MORE_MEMORY = (
    "lower a batch size, workers, or the size of a layer, or allow more memory (`ulimit -v`)"
)


def run(command: Callable[..., Any], **others: Callable[..., Any]) -> None:
    """Run a Typer command; what the user can mend is one line on stderr and exit code 1.

    Typer itself turns Ctrl-C into exit code 130.

    Args:
        command: runs unless the first argument is the name of one of the others.
        others: further commands by name.
    """
    import typer

    warnings.showwarning = _plain_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # where the terminal takes ASCII alone
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    name, *rest = sys.argv[1:] or [""]
    if name in others:
        command, arguments = others[name], rest
        more = None
    else:
        arguments = sys.argv[1:]
        more = (
            f"Other commands, with a --help of their own: {', '.join(others)}." if others else None
        )
    app.command(epilog=more)(command)
    with told():
        app(arguments, standalone_mode=True)


@contextmanager
def told() -> Iterator[None]:
    """End with one line on stderr and exit code 1 for what the user can mend in the block."""
    from mmts.errors import InputError, out_of_memory

    try:
        yield
    except InputError as error:
        more = f"; if memory ran out, {MORE_MEMORY}" if out_of_memory(error) else ""
        _fail(*getattr(error, "lines", [f"{error}{more}"]))
    except OSError as error:
        if out_of_memory(error):
            _fail(_no_memory(error))
        name = f"{error.filename}: " if error.filename else ""
        _fail(f"{name}{error.strerror or error}")
    except UnicodeEncodeError as error:
        if error.encoding.startswith("utf"):
            raise
        _fail(
            f"{error.object!r} cannot be named here, where text is {error.encoding}; set "
            "PYTHONUTF8=1, or the locale to C.UTF-8"
        )
    except (MemoryError, RuntimeError, ImportError) as error:
        if not out_of_memory(error):
            raise
        _fail(_no_memory(error))


def _fail(*messages: str) -> None:
    from mmts.errors import one_line

    for message in messages:
        print(f"error: {one_line(message)}", file=sys.stderr)
    raise SystemExit(1) from None


def _no_memory(error: Exception) -> str:
    from mmts.errors import in_short

    return f"out of memory ({in_short(error)}); {MORE_MEMORY}"


def _is_ours(filename: str) -> bool:
    import mmts

    return Path(mmts.__file__).parent in Path(filename).parents


def _plain_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any
) -> None:
    from mmts.errors import one_line

    if issubclass(category, UserWarning) and _is_ours(filename):
        print(f"warning: {one_line(str(message))}", file=sys.stderr)

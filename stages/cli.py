"""What all stage commands share: one-line errors, exit codes, plain warnings."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run(command: Callable[..., Any], **others: Callable[..., Any] | str) -> None:
    """Run a Typer command; what the user can mend is one line on stderr and exit code 1.

    Typer itself turns Ctrl-C into exit code 130.

    Args:
        command: runs unless the first argument is the name of one of the others.
        others: further commands by name; a text is the module whose `main` it is.
    """
    import typer

    from mmts.errors import told

    warnings.showwarning = _plain_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # where the terminal takes ASCII alone
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    name, *rest = sys.argv[1:] or [""]
    if name in others:
        other, arguments = others[name], rest
        command = importlib.import_module(other).main if isinstance(other, str) else other
        more = None
    else:
        arguments = sys.argv[1:]
        more = (
            f"Other commands, with a --help of their own: {', '.join(others)}." if others else None
        )
    app.command(epilog=more)(command)
    try:
        app(arguments, standalone_mode=True)
    except Exception as error:
        lines = told(error)
        if not lines:
            raise
        for line in lines:
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


def _is_ours(filename: str) -> bool:
    import mmts

    return Path(mmts.__file__).parent in Path(filename).parents


def _plain_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any
) -> None:
    from mmts.errors import one_line

    if issubclass(category, UserWarning) and _is_ours(filename):
        print(f"warning: {one_line(str(message))}", file=sys.stderr)

"""The one error type that users are meant to read."""


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

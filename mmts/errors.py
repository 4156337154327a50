"""The one error type that users are meant to read."""


class InputError(ValueError):
    """Something outside the code is wrong: a parameter, a file, a row.

    The message is one line that names the key or the row, the value, the bound and the remedy.
    Stage commands print it without a traceback and exit with 1.
    """

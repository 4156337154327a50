"""A full disk, in the words of all that write, told in one line of ours."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmts.errors import InputError, in_short

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
WORDS = re.compile(
    r"\b(errno|os error) (28|122|27)\b"  # pyarrow; safetensors
    r"|\d+ requested and \d+ written"  # numpy
    r"|disk is full"  # sqlite
    r"|unexpected pos \d+ vs",  # torch.save
    re.IGNORECASE,
)


def is_full(error: BaseException) -> bool:
    """Whether an error says that a file has no room: the disk, the quota or its size is at an end.

    Not all that write raise an OSError, and those that do may leave out its number.
    """
    return (isinstance(error, OSError) and error.errno in FULL) or (
        not isinstance(error, InputError) and WORDS.search(str(error)) is not None
    )


def reason(error: BaseException) -> str:
    """What the disk said, in a few words."""
    if is_full(error):
        return "the disk is full"
    said = error.strerror if isinstance(error, OSError) else None
    return said or in_short(error)


@contextmanager
def room(path: Path | str, remedy: str = "give the same command again") -> Iterator[None]:
    """A block that writes `path`, or below it: InputError naming it where the disk is full."""
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        raise InputError(
            f"{path} could not be written ({reason(error)}); make room there and {remedy}"
        ) from None

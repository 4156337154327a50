"""The processes that train together, as checkpoints see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from safetensors import SafetensorError

from mmts.disk import reason
from mmts.errors import InputError

DISK = (OSError, RuntimeError, SafetensorError)
"""What a full or broken disk raises: Python, torch and safetensors have an error each."""


class Elsewhere(SystemExit):
    """Another process has a problem, which it tells; this one ends without a word."""


class Processes(NamedTuple):
    """This process among those that train together; alone where nothing else is said.

    rank, size: which of how many.
    highest: the highest of the numbers that all processes give; each waits for all others.
    """

    rank: int = 0
    size: int = 1
    highest: Callable[[int], int] = int

    @contextmanager
    def together(self, told: Callable[[str], str] | None = None) -> Iterator[None]:
        """A block that fails in all processes where it fails in one, so that none waits for ever.

        Args:
            told: what the disk said -> the message; None leaves its errors as they are.

        Raises:
            InputError: one line, in each process that has a problem.
            Elsewhere: in the others.
        """
        problem: BaseException | None = None
        try:
            yield
        except DISK as error:
            problem = error if told is None else InputError(told(reason(error)))
        except Exception as error:
            problem = error
        if self.highest(int(problem is not None)):
            raise (problem or Elsewhere(1)) from None

"""How many threads share a computation on a CPU: its last digits depend on them.

oneDNN adds up a convolution, and torch the gradients of weights that all rows share, in as many
parts as there are threads. Matrix products and what else heads and losses do are the same for any
number of threads (tests/faults/test_reproducible.py).

Heads on cached features are too small for several threads, which wait for each other in busy
loops: beside other work a cell took 170 CPU seconds where one thread takes 24. They get one. Only
the encoding of clips, and of texts by a trained tower, gets all: it is long, and its products are
large.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from mmts.settings.training import Train
    from mmts.towers.model import Model


@contextmanager
def threads(count: int | None, device: torch.device) -> Iterator[int]:
    """Let `count` threads share each computation of torch; None, or another device than a CPU: all.

    Yields:
        How many there were before, as there are again in the end: OMP_NUM_THREADS, or the cores.
    """
    before = torch.get_num_threads()
    wanted = before if count is None or device.type != "cpu" else count
    torch.set_num_threads(wanted)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def of_training(settings: Train) -> int | None:
    """Return what `threads` takes for a training: `train.threads`."""
    return settings.threads or None


def of_encoding(model: Model, side: str) -> int | None:
    """Return what `threads` takes to encode one side, vision or text."""
    return 1 if model.one_thread(side) else None

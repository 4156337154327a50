"""How many threads share a computation on a CPU: its last digits depend on them.

oneDNN adds up a convolution, and torch the gradients of weights that all rows share, in as many
parts as there are threads. Matrix products and what else heads and losses do are the same for any
number of threads (tests/faults/test_reproducible.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mmts.settings import Train
from mmts.towers.two_tower import TwoTower


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


def of_training(model: TwoTower, settings: Train) -> int | None:
    """For `threads`: train.threads where the weights depend on it, else None for all there are."""
    alone = isinstance(model.vision, nn.Identity) and isinstance(model.text, nn.Identity)
    exact = settings.precision == "fp32" and not settings.compile
    return None if alone and exact else settings.threads


def of_encoding(model: TwoTower, pictures: bool) -> int | None:
    """For `threads`: one where a trained tower sees pictures, else None for all there are."""
    return 1 if pictures and not isinstance(model.vision, nn.Identity) else None

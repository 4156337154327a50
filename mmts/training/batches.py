"""Batches of pairs: one caption a picture or clip and epoch, drawn from (seed, epoch)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmts.errors import InputError
from mmts.training.batch import Batch, together
from mmts.training.loading import loaded
from mmts.training.pairs import Ints, Pairs, Picks
from mmts.training.positives import RelevantCaptions

CPU = torch.device("cpu")


class Plan(NamedTuple):
    """What is drawn for a training; all of it follows from the seed and the epoch.

    An item's caption is one of its own, or of `positives`.
    """

    first: Ints
    """[items + 1], see `Pairs`."""
    batch_size: int
    seed: int
    positives: RelevantCaptions | None = None

    def drawn(self, epoch: int) -> tuple[Ints, Picks]:
        """The order of the items in an epoch, and the pick of each item, by its number."""
        rng = np.random.default_rng([self.seed, epoch])
        counts = np.diff(self.first)
        order = rng.permutation(len(counts))
        if self.positives is None:
            captions = self.first[:-1] + (rng.random(len(counts)) * counts).astype(np.int64)
        else:
            captions = self.positives.draw(rng)
        seeds = rng.integers(0, 2**62, len(counts))
        return order, Picks(np.arange(len(counts)), captions, seeds)

    def batches(self, epoch: int, skip: int = 0, share: slice = slice(None)) -> Iterator[Picks]:
        """The rows `share` of each batch of an epoch, from batch `skip` on: every item once.

        What does not fill a batch is left for other epochs.
        """
        order, picks = self.drawn(epoch)
        size = self.batch_size
        for start in range(skip * size, len(order) - size + 1, size):
            yield picks.part(order[start : start + size][share])


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Full batches an epoch; InputError where there is none."""
    if items < batch_size:
        raise InputError(
            f"train.batch_size {batch_size} is larger than the training split ({items} media "
            "items); lower it"
        )
    return items // batch_size


def parts(rows: int, count: int) -> list[slice]:
    """The rows of a batch in `count` parts of nearly one size, or fewer that have one row each."""
    ends = np.linspace(0, rows, min(rows, max(1, count)) + 1).astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(ends)]


def load_batches(
    pairs: Pairs, batches: Iterable[Picks], rows: int, workers: int, device: torch.device = CPU
) -> Generator[Batch, None, None]:
    """Load batches of `rows` pairs in order onto a device, in `workers` processes.

    The processes share out each batch among them, so that none holds a whole one of clips. They
    load ahead, and live until the last batch or until this is closed.
    """
    shares = parts(rows, workers)
    pieces = (batch.part(share) for batch in batches for share in shares)
    yield from joined(loaded(pairs, pieces, workers, device), len(shares), device)


def joined(
    pieces: Generator[Batch, None, None], count: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Batches on a device, each made of `count` pieces; `pieces` end with them."""
    with closing(pieces):
        for first in pieces:
            yield together([piece.to(device) for piece in (first, *islice(pieces, count - 1))])


def vision_batches(
    pairs: Pairs, batch_size: int, workers: int, device: torch.device = CPU
) -> Iterator[dict[str, Tensor]]:
    """The streams of all items in order, not augmented, ready to be copied to a device."""
    if not pairs.decodes:
        workers = 0
    count = len(pairs)
    items = (list(range(s, min(s + batch_size, count))) for s in range(0, count, batch_size))
    yield from loaded(_Inputs(pairs), items, workers, device)


class _Inputs(Dataset[dict[str, Tensor]]):
    """The streams of `Pairs` alone, not augmented."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __getitems__(self, items: list[int]) -> dict[str, Tensor]:
        return self.pairs.streams(items)

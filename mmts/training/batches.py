"""Batches of pairs: one caption a picture or clip and epoch, drawn from (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmts.errors import InputError
from mmts.training.batch import Batch
from mmts.training.pairs import Ints, Pairs, Pick
from mmts.training.positives import RelevantCaptions
from mmts.training.signals import deaf

T = TypeVar("T")
CPU = torch.device("cpu")


def epoch_picks(
    first: Ints, batch_size: int, seed: int, epoch: int, positives: RelevantCaptions | None = None
) -> list[list[Pick]]:
    """The batches of one epoch: every item once, in an order from (seed, epoch).

    What does not fill a batch is left for other epochs. An item's caption is one of its own, or
    of `positives`.
    """
    rng = np.random.default_rng([seed, epoch])
    counts = np.diff(first)
    order = rng.permutation(len(counts))
    if positives is None:
        captions = first[:-1] + (rng.random(len(counts)) * counts).astype(np.int64)
    else:
        captions = positives.draw(rng)
    seeds = rng.integers(0, 2**62, len(counts))
    full = len(order) - len(order) % batch_size
    return [
        [Pick(int(i), int(captions[i]), int(seeds[i])) for i in order[s : s + batch_size]]
        for s in range(0, full, batch_size)
    ]


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Full batches an epoch; InputError where there is none."""
    if items < batch_size:
        raise InputError(
            f"train.batch_size {batch_size} is larger than the training split ({items} media "
            "items); lower it"
        )
    return items // batch_size


class _Inputs(Dataset[Tensor]):
    """The vision inputs of `Pairs` alone, not augmented."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __getitems__(self, items: list[int]) -> Tensor:
        return self.pairs.inputs(items)

    def __getitem__(self, item: Any) -> Tensor:
        return self.pairs.inputs([item])


def epoch_batches(
    pairs: Pairs, picks: list[list[Pick]], workers: int, device: torch.device = CPU
) -> Iterator[Batch]:
    """Load the batches in order onto a device, in `workers` processes.

    The processes share out each batch among them, so that none holds a whole one of clips.
    """
    parts = [_pieces(batch, max(1, workers)) for batch in picks]
    loaded = _loaded(pairs, [part for batch in parts for part in batch], workers)
    for of_batch in parts:
        found = [next(loaded).to(device) for _ in of_batch]
        whole = len(found) == 1
        yield (
            found[0] if whole else Batch(*(torch.cat(field) for field in zip(*found, strict=True)))
        )


def _pieces(batch: list[Pick], count: int) -> list[list[Pick]]:
    """A batch in at most `count` pieces of nearly one size, in order."""
    size = -(-len(batch) // count)
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def vision_batches(pairs: Pairs, batch_size: int, workers: int) -> Iterator[Tensor]:
    """The vision inputs of all items in order, not augmented."""
    if pairs.features is not None:
        workers = 0  # nothing to decode
    count = len(pairs)
    items = [list(range(s, min(s + batch_size, count))) for s in range(0, count, batch_size)]
    # a generator of its own: looking at a split must not move the random state of the training
    yield from _loaded(_Inputs(pairs), items, workers, torch.Generator())


def _loaded(
    dataset: Dataset[T],
    batches: list[list[Any]],
    workers: int,
    generator: torch.Generator | None = None,
) -> Iterator[T]:
    loader: DataLoader[T] = DataLoader(
        dataset,
        batch_sampler=batches,
        generator=generator,
        worker_init_fn=deaf,
        collate_fn=_as_is,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader


def _as_is(batch: Any) -> Any:
    return batch

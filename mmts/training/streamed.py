"""Training batches from shards behind a URL, with the captions that local shards would have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from mmts.errors import InputError
from mmts.settings.training import Train
from mmts.shards.remote import Streamed
from mmts.shards.stream import ShardStream
from mmts.shards.streamed import StreamedReader
from mmts.training.batch import Batch
from mmts.training.batches import Plan, parts, steps_per_epoch
from mmts.training.checkpoint import Position
from mmts.training.distributed import World
from mmts.training.pairs import Pairs, Picks


class StreamedBatches(IterableDataset[Batch]):
    """In each worker, its parts of this rank's batches, from a position to the end of the training.

    Each epoch has as many steps as with local shards. A worker whose shards are used up goes on
    with them in another order, so that some samples come twice in an epoch; of one that has more,
    some do not come. A sample's caption and augmentation are those that the plan draws for it.
    """

    def __init__(
        self, pairs: Pairs, plan: Plan, settings: Train, world: World, at: Position
    ) -> None:
        """
        Args:
            pairs: of a `StreamedReader`.
            plan: what is drawn.
            settings: `stream`, workers and epochs count.
            world: the ranks.
            at: where to begin; what comes before in its epoch is read and left.

        Raises:
            InputError: the vision tower is frozen; there are fewer shards than readers; the first
                of them does not come.
        """
        stream, shards = settings.stream, pairs.shards
        if stream is None or pairs.features is not None or not isinstance(shards, StreamedReader):
            raise InputError(
                "train.stream is set but the vision tower is frozen, whose features are read here; "
                "set it to null"
            )
        self._pairs, self._shards, self._plan = pairs, shards, plan
        self._at, self._epochs = at, settings.epochs
        self._parts = parts(plan.batch_size // world.size, settings.workers)
        self._steps = steps_per_epoch(len(pairs), plan.batch_size)
        workers = len(self._parts)
        self._stream = ShardStream(
            stream.url, "train", seed=plan.seed, buffer=-(-stream.buffer // workers),
            rank=world.rank, ranks=world.size, workers=workers, shards=shards.shards,
            streams=shards.streams,
        )  # fmt: skip
        self._stream.reach()

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker = 0 if info is None else info.id
        rows = self._parts[worker].stop - self._parts[worker].start
        for epoch in range(self._at.epoch, self._epochs):
            _, picks = self._plan.drawn(epoch)
            skip = self._at.batch if epoch == self._at.epoch else 0
            if skip == self._steps:
                continue
            with closing(self._stream.endless(epoch, worker, len(self._parts))) as samples:
                for step in range(self._steps):
                    found = list(islice(samples, rows))
                    if step >= skip:
                        yield self._batch(found, picks)

    def _batch(self, samples: list[Streamed], picks: Picks) -> Batch:
        numbers = self._shards.hold(samples)
        try:
            return self._pairs.__getitems__(picks.part(np.array(numbers)))
        except InputError as error:
            if self._shards.asked is None:
                raise
            name = self._shards.asked.name
            raise InputError(f"{name}: {error}; copy the shard again") from None

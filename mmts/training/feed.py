"""What a training is fed: its batches, from the local shards or from those behind a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from mmts.settings.training import Train
from mmts.training.batch import Batch
from mmts.training.batches import Plan, joined, load_batches, parts
from mmts.training.checkpoint import Position
from mmts.training.distributed import World
from mmts.training.loading import deaths_told, loaded
from mmts.training.pairs import Pairs, Picks
from mmts.training.streamed import StreamedBatches


@contextmanager
def feed(
    pairs: Pairs, plan: Plan, settings: Train, world: World, at: Position
) -> Iterator[Iterator[Batch]]:
    """The batches of this rank from a position to the end of the training.

    The worker processes load ahead, over the ends of epochs too, and end with the block.

    Raises:
        InputError: shards that cannot be streamed, see `StreamedBatches`; a worker that was killed.
    """
    share, workers, device = world.share(plan.batch_size), settings.workers, world.device
    rows = share.stop - share.start
    if settings.stream is None:
        ahead = _ahead(plan, settings.epochs, share, at)
        batches = load_batches(pairs, ahead, rows, workers, device)
    else:
        stream = StreamedBatches(pairs, plan, settings, world, at)
        count = len(parts(rows, workers))
        batches = joined(loaded(stream, None, min(workers, count), device), count, device)
    with deaths_told(), closing(batches):
        yield batches


def _ahead(plan: Plan, epochs: int, share: slice, at: Position) -> Iterator[Picks]:
    yield from plan.batches(at.epoch, at.batch, share)
    for epoch in range(at.epoch + 1, epochs):
        yield from plan.batches(epoch, share=share)

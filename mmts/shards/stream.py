"""The samples of shards behind a URL, in an order that follows from seed and epoch.

For sets that do not fit on the machine. Those that do are better read by `ShardReader`, which
shuffles truly.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from mmts.errors import InputError
from mmts.shards.remote import NO_STREAMS, Remote, Streamed

SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.tar")


class ShardStream(IterableDataset[Streamed]):
    """The samples of one split, in an order from (seed, epoch), each once an epoch.

    The shards are permuted and dealt out to ranks and DataLoader workers, each of which mixes its
    samples in a buffer. So the order depends on how many there are, and ranks get as many samples
    as their shards have: take `endless`, or stop all at the fewest.

    The SHA-256 of a shard is known when its last byte has come: a damaged one stops the epoch then,
    after its samples have been given.
    """

    def __init__(
        self, base: str, split: str, *, seed: int, buffer: int = 1000, rank: int = 0,
        ranks: int = 1, workers: int = 1, shards: Mapping[str, Mapping[str, Any]] | None = None,
        streams: Mapping[str, str] = NO_STREAMS,
    ) -> None:  # fmt: skip
        """
        Args:
            base: where the shards are, see `Remote`.
            split: of the shards.
            seed: of the order.
            buffer: samples that each worker mixes; 0 keeps the order within shards.
            rank, ranks: which share of the shards.
            workers: that read in each rank, where that is known.
            shards: as in manifest.json: `split`, and `sha256` where it is to be checked. Without
                it, that of `base` is read.
            streams: names of the further streams that are read, and the endings of their files.

        Raises:
            InputError: the manifest cannot be read or has a name that is no plain file name; there
                are fewer shards than readers.
        """
        self.remote, self.seed, self.buffer, self.epoch = Remote(base, streams), seed, buffer, 0
        self.rank, self.ranks = rank, ranks
        found = shards if shards is not None else self.remote.manifest()["shards"]
        for name, facts in found.items():
            if not SHARD_NAME.fullmatch(name):
                raise InputError(f"the manifest of {base} names a shard {name!r}; expected x.tar")
            if not _sound(facts):
                raise InputError(f"the manifest of {base} says of {name} what is not so; copy it")
        found = {n: f for n, f in found.items() if f.get("split", split) == split}
        if len(found) < ranks * workers:
            readers = f"{ranks} processes" + (f" of {workers} workers" if workers > 1 else "")
            raise InputError(
                f"{base} has {len(found)} shards of split {split} for {readers}; use fewer, or "
                "pack with a smaller pack.shard_size"
            )
        self.digests = {name: facts.get("sha256") for name, facts in found.items()}
        self.samples = sum(facts.get("samples", 0) for facts in found.values())

    def reach(self) -> None:
        """InputError, within seconds, where the first shard of this rank does not come."""
        order = np.random.default_rng([self.seed, 0]).permutation(len(self.digests))
        self.remote.reach(list(self.digests)[order[self.rank]])

    def set_epoch(self, epoch: int) -> None:
        """Before a DataLoader's workers start: the epoch that the next pass is."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Streamed]:
        info = get_worker_info()
        workers, worker = (1, 0) if info is None else (info.num_workers, info.id)
        return self._pass(self.epoch, worker, workers, 0)

    def endless(self, epoch: int, worker: int, workers: int) -> Generator[Streamed, None, None]:
        """A pass over a worker's shards of an epoch, then others over the same in new orders."""
        for again in count():
            nothing = True
            for sample in self._pass(epoch, worker, workers, again):
                nothing = False
                yield sample
            if nothing:
                raise InputError(f"shards of {self.remote.base} have no samples; copy them again")

    def _pass(self, epoch: int, worker: int, workers: int, again: int) -> Iterator[Streamed]:
        reader = self.rank * workers + worker
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.digests))
        own = order[reader :: self.ranks * workers]
        rng = np.random.default_rng([self.seed, epoch, reader, *([again] if again else [])])
        if again:
            own = rng.permutation(own)
        every = list(self.digests)
        names = [every[number] for number in own]
        samples = (s for name in names for s in self.remote.samples(name, self.digests[name]))
        return mixed(samples, self.buffer, rng)


def _sound(facts: Any) -> bool:
    """Whether a manifest can say this of a shard."""
    if not isinstance(facts, Mapping) or not isinstance(facts.get("split", ""), str):
        return False
    samples, digest = facts.get("samples", 0), facts.get("sha256")
    return type(samples) is int and samples >= 0 and isinstance(digest, (str, type(None)))


def mixed(samples: Iterable[Streamed], size: int, rng: np.random.Generator) -> Iterator[Streamed]:
    """The samples, each drawn from the `size` that are held, and in the end from what is left."""
    held: list[Streamed] = []
    for sample in samples:
        if len(held) < size:
            held.append(sample)
        elif size == 0:
            yield sample
        else:
            at = int(rng.integers(size))
            held[at], sample = sample, held[at]
            yield sample
    for at in rng.permutation(len(held)):
        yield held[at]

"""One process or many: who this one is, and what it asks the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from mmts.training.processes import Processes

T = TypeVar("T")


class World(NamedTuple):
    """The processes that train one model; rank 0 logs, validates and writes."""

    rank: int
    size: int
    device: torch.device
    group: dist.ProcessGroup | None
    control: dist.ProcessGroup | None = None
    """For single numbers on the CPU, so that asking does not wait for the GPU."""
    local_rank: int = 0
    """Which of the processes on its machine."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """The rows of each global batch that are this rank's."""
        own = batch_size // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def wait(self) -> None:
        """Until all ranks are here."""
        self.highest(0)

    def highest(self, number: int) -> int:
        """The highest of the numbers that the ranks give."""
        if self.control is None:
            return number
        found = torch.tensor([number])
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return int(found.item())

    @contextmanager
    def first_then_others(self) -> Iterator[None]:
        """A block that one process of each machine ends before the others there begin it.

        What the first downloads, or checks and remembers, the others find done. It fails in all
        where it fails in one, see `Processes.together`.
        """
        together = self.processes.together
        if self.local_rank:
            with together():
                pass
        with together():
            yield
        if not self.local_rank:
            with together():
                pass

    def from_first(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, a pickled copy of it on the others; fails in all where it fails."""
        found: list[T | None] = [None]
        with self.processes.together():
            if self.first:
                found = [make()]
        if self.control is not None:
            dist.broadcast_object_list(found, src=0, group=self.control)
        return cast(T, found[0])

    @property
    def processes(self) -> Processes:
        """The ranks as checkpoints see them."""
        return Processes(self.rank, self.size, self.highest)

    def mean(self, gradients: list[Tensor]) -> None:
        """Average gradients over the ranks, in place."""
        for gradient in gradients if self.group is not None else ():
            dist.all_reduce(gradient, group=self.group)
            gradient /= self.size

    def gathered(self, rows: Tensor) -> Tensor:
        """[n, ...] of each rank -> [N, ...]; no gradient."""
        if self.group is None:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous(), group=self.group)
        return torch.cat(parts)

"""One process or many: who this one is, and the objective over the batch of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmts.losses import Objective, Tau
from mmts.losses.ranks import gather_with_gradient
from mmts.training.batch import Batch
from mmts.training.processes import Processes
from mmts.training.relevancy import relevant_pairs

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


class GlobalLoss:
    """tau and loss of the global batch, from this rank's rows.

    Gradients are those of the global loss times the number of ranks, as `DistributedDataParallel`
    averages them (see mmts.losses.ranks). `info_nce` and `max_margin` compute each row on its own
    rank, if tau belongs to the rows; other objectives and modulators see the whole batch on every
    rank, so that all keep the same state.
    """

    def __init__(
        self, objective: Objective, modulator: nn.Module, world: World, threshold: float,
        seed: int = 0, *, by_row: bool = False,
    ) -> None:  # fmt: skip
        """
        Args:
            objective, modulator: as in `mmts.training.loop.train`.
            world: the ranks.
            threshold: see `relevant_pairs`.
            seed: of a modulator's random numbers, the same on all ranks.
            by_row: whether objective and modulator compute each row on its own rank.
        """
        self.seed = seed
        self._random = any(isinstance(m, nn.Dropout) and m.p > 0 for m in modulator.modules())
        self.objective, self.modulator = objective, modulator
        self.world, self.threshold = world, threshold
        self.by_row = by_row

    def __call__(self, step: int, batch: Batch, vision: Tensor, text: Tensor) -> tuple[Tensor, Tau]:
        """The loss of the global batch, and tau of this rank's rows or of all.

        Args:
            step: counted from 0.
            batch: this rank's rows; its vision and text inputs are not looked at.
            vision, text: [n, D] unit rows, float32.
        """
        group = self.world.group
        by_row = self.by_row and not batch.classes.shape[1]
        if group is not None and not by_row:
            vision, text = (gather_with_gradient(rows, group) for rows in (vision, text))
            batch = batch._replace(
                cluster_id=self.gathered(batch.cluster_id),
                index=self.gathered(batch.index),
                classes=self.gathered(batch.classes),
                caption=self.gathered(batch.caption),
            )
        with self._same_random_numbers(step):
            tau = self.modulator(step, batch, vision, text)
        positives = relevant_pairs(batch.classes, self.threshold)
        more = {"group": group} if group is not None and by_row else {}
        loss = self.objective(vision, text, tau, index=batch.ids, positives=positives, **more)
        return loss, tau

    @contextmanager
    def _same_random_numbers(self, step: int) -> Iterator[None]:
        """For a modulator with dropout: those of the step, whatever the rank."""
        if not self._random:
            yield
            return
        cuda = self.world.device.type == "cuda"
        with torch.random.fork_rng([self.world.device] if cuda else []):
            torch.manual_seed(self.seed * 1_000_003 + step)
            yield

    def gathered(self, rows: Tensor) -> Tensor:
        """[n, ...] of each rank -> [N, ...]."""
        if self.world.group is None:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world.size)]
        dist.all_gather(parts, rows.contiguous(), group=self.world.group)
        return torch.cat(parts)

"""What is logged of the steps, and the end of a run whose numbers are none any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from mmts.errors import InputError
from mmts.losses import Tau
from mmts.training.batch import Batch
from mmts.training.checkpoint import Position
from mmts.training.distributed import World
from mmts.training.log import RunLog
from mmts.training.speed import Progress
from mmts.training.tau_and_loss import TOTAL

SHOWN = 5  # sample ids in a message
LATEST = 1 << 62  # above any step


class _Step(NamedTuple):
    """A step on its device."""

    terms: Mapping[str, Tensor]
    tau: Tensor
    norm: Tensor


class Watch:
    """Looks at every step on its device, so that no step waits for a number."""

    def __init__(
        self, world: World, log: RunLog | None, bar: tqdm[Any], progress: Progress, *,
        every: int, total: int, sample_ids: Callable[[int, Tensor], list[str]],
    ) -> None:  # fmt: skip
        """
        Args:
            world: the ranks.
            log: of rank 0.
            bar, progress: what shows how far the training is.
            every: steps between two logged points.
            total: steps of the whole training.
            sample_ids: (step, numbers of this rank's items) -> the samples of the step.
        """
        self.world, self._log, self._bar, self._progress = world, log, bar, progress
        self._every, self._total, self._sample_ids = every, total, sample_ids
        self._bad = torch.full((3,), -1.0, dtype=torch.float64, device=world.device)
        self._recent: deque[tuple[int, Tensor]] = deque(maxlen=every)

    def step(
        self, at: Position, batch: Batch, rate: float, tau: Tau, terms: Mapping[str, Tensor],
        norm: Tensor,
    ) -> None:  # fmt: skip
        """See the step that was taken at a position, and log it where it is time to.

        All ranks must call it together.

        Raises:
            InputError: what `check` raises, where it logs.
        """
        step = at.step
        self._recent.append((step, batch.index.clone()))
        now = _Step({name: term.detach() for name, term in terms.items()}, _flat(tau, norm), norm)
        self._remember(step, now)
        if step % self._every == 0 or step == self._total - 1:
            self.check()
            point = self._point(now) | {"learning_rate": rate, "grad_norm": norm.item()}
            if self._log is not None:
                self._log.point(step, at.epoch, **point)
            self._bar.set_postfix(loss=f"{point[TOTAL]:.3f}", refresh=False)
        self._bar.update()
        if self.world.first and self._progress.due():
            self._progress.tell(step + 1, now.terms[TOTAL].item(), rate)

    def _remember(self, step: int, now: _Step) -> None:
        """The first step whose loss is not finite, and its lowest and highest tau."""
        low, high = now.tau.aminmax()
        at = torch.full_like(low, step, dtype=torch.float64)  # filled there: nothing waits
        found = torch.stack([at, low.double(), high.double()])
        first = ~torch.isfinite(now.terms[TOTAL]) & (self._bad[0] < 0)
        self._bad = torch.where(first, found, self._bad)

    def check(self) -> None:
        """Raise InputError if a loss was not finite; all ranks must ask together."""
        step, low, high = self._bad.tolist()
        first = LATEST - self.world.highest(LATEST - int(step) if step >= 0 else 0)
        if first == LATEST:
            return
        if self.world.group is not None:
            ends = torch.stack([-self._bad[1], self._bad[2]])
            dist.all_reduce(ends, dist.ReduceOp.MAX, group=self.world.group)
            low, high = -ends[0].item(), ends[1].item()
        (items,) = (items for number, items in self._recent if number == first)
        ids = self._sample_ids(first, items)
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        raise InputError(
            f"features cannot be used or the loss is not finite at step {first} (tau {low:.4g} to "
            f"{high:.4g}; samples {', '.join(ids[:SHOWN])}{more}); lower train.learning_rate or "
            "raise the temperatures"
        )

    def _point(self, now: _Step) -> dict[str, float]:
        """The terms and the taus of a step."""
        taus = now.tau.double()
        low, high, middle = taus.min(), taus.max(), taus.mean()
        if self.world.group is not None:
            ends = torch.stack([-low, high])
            dist.all_reduce(ends, dist.ReduceOp.MAX, group=self.world.group)
            dist.all_reduce(middle, group=self.world.group)
            low, high, middle = -ends[0], ends[1], middle / self.world.size
        return {
            **{name: term.item() for name, term in now.terms.items()},
            "tau_min": low.item(),
            "tau_mean": middle.item(),
            "tau_max": high.item(),
        }


def _flat(tau: Tau, like: Tensor) -> Tensor:
    parts = tau if isinstance(tau, tuple) else (tau,)
    return torch.cat([torch.as_tensor(p, device=like.device).detach().reshape(-1) for p in parts])

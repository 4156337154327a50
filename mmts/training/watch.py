"""What is logged of the steps, and the end of a run whose numbers are none any more."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from mmts.errors import InputError
from mmts.training.distributed import World
from mmts.training.step import Stepped

SHOWN = 5  # sample ids in a message
LATEST = 1 << 62  # above any step


class Watch:
    """Looks at every step on its device, so that no step waits for a number."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._bad = torch.full((3,), -1.0, dtype=torch.float64, device=world.device)
        self._last: Stepped | None = None

    def see(self, step: int, stepped: Stepped) -> None:
        """Remember the first step whose loss is not finite, and its lowest and highest tau."""
        self._last = stepped
        low, high = _taus(stepped).aminmax()
        at = torch.full_like(low, step, dtype=torch.float64)  # filled there: nothing waits
        now = torch.stack([at, low.double(), high.double()])
        first = ~torch.isfinite(stepped.loss) & (self._bad[0] < 0)
        self._bad = torch.where(first, now, self._bad)

    def check(self, sample_ids: Callable[[int], list[str]]) -> None:
        """InputError if a loss was not finite; all ranks must ask together.

        Args:
            sample_ids: the samples of a step.
        """
        step, low, high = self._bad.tolist()
        first = LATEST - self.world.highest(LATEST - int(step) if step >= 0 else 0)
        if first == LATEST:
            return
        if self.world.group is not None:
            ends = torch.stack([-self._bad[1], self._bad[2]])
            dist.all_reduce(ends, dist.ReduceOp.MAX, group=self.world.group)
            low, high = -ends[0].item(), ends[1].item()
        ids = sample_ids(first)
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        raise InputError(
            f"features cannot be used or the loss is not finite at step {first} (tau {low:.4g} to "
            f"{high:.4g}; samples {', '.join(ids[:SHOWN])}{more}); lower train.learning_rate or "
            "raise the temperatures"
        )

    @property
    def loss(self) -> float:
        """The loss of the last step."""
        assert self._last is not None
        return self._last.loss.item()

    def point(self, rate: float) -> dict[str, float]:
        """The numbers of the last step; all ranks must ask together."""
        assert self._last is not None
        taus = _taus(self._last).double()
        low, high, middle = taus.min(), taus.max(), taus.mean()
        if self.world.group is not None:
            ends = torch.stack([-low, high])
            dist.all_reduce(ends, dist.ReduceOp.MAX, group=self.world.group)
            dist.all_reduce(middle, group=self.world.group)
            low, high, middle = -ends[0], ends[1], middle / self.world.size
        return {
            "loss": self._last.loss.item(),
            "tau_min": low.item(),
            "tau_mean": middle.item(),
            "tau_max": high.item(),
            "learning_rate": rate,
            "grad_norm": self._last.norm.item(),
        }


def _taus(stepped: Stepped) -> Tensor:
    parts = stepped.tau if isinstance(stepped.tau, tuple) else (stepped.tau,)
    like = stepped.loss
    return torch.cat([torch.as_tensor(p, device=like.device).detach().reshape(-1) for p in parts])

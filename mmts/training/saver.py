"""What a training keeps: a moving average of the weights, and checkpoints between two steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mmts.towers.model import Model
from mmts.training.checkpoint import Checkpoints, Position
from mmts.training.log import RunLog
from mmts.training.signals import GracefulStop, leave
from mmts.training.step import Stepper
from mmts.training.tau_and_loss import TauAndLoss

if TYPE_CHECKING:
    from mmts.training.watch import Watch


class MovingAverage:
    """An exponential moving average of the weights, if any; buffers are the model's own.

    Attributes:
        module: None without one.
    """

    def __init__(self, model: Model, decay: float | None) -> None:
        """`decay`: share of the old average in the new one; None for no average."""
        self.module: AveragedModel | None = None
        if decay is not None:
            update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            self.module = AveragedModel(model, multi_avg_fn=update)

    def update(self, model: Model) -> None:
        """Take in the weights after a step."""
        if self.module is not None:
            self.module.update_parameters(model)

    def of(self, model: Model) -> Model:
        """Return the model that is validated and saved."""
        return model if self.module is None else cast(Model, self.module.module)


class Saver:
    """Writes checkpoints where they are due, and ends the run where a signal has asked for it."""

    def __init__(
        self, keeper: Checkpoints | None, stepper: Stepper, average: MovingAverage,
        losses: TauAndLoss, log: RunLog | None, total: int,
    ) -> None:  # fmt: skip
        """
        Args:
            keeper: of the checkpoints; None for none.
            stepper, average, losses, log: what is saved.
            total: steps of the whole training.
        """
        self._keeper, self._total, self._world = keeper, total, stepper.world
        self._weights = {"model": stepper.model, "ema": average.module}
        self._state = {
            "optimizer": stepper.optimizer, "scaler": stepper.scaler, **losses.parts, "log": log
        }  # fmt: skip

    def resume(self, path: Path | None) -> Position:
        """Go on from a checkpoint, if there is one; see `Checkpoints.resume`."""
        found = None
        if self._keeper is not None:
            found = self._keeper.resume(self._weights, self._state, path)
        return found or Position(0, 0, 0)

    def save_if_due(self, at: Position, stop: GracefulStop, watch: Watch) -> None:
        """Write a checkpoint where one is due, and end where a signal has asked for it."""
        if self._keeper is None:
            if stop.asked:
                raise SystemExit(128 + stop.asked)
            return
        wish = self._keeper.wish(at.step, stop.asked)
        if wish.save:
            watch.check()
            path = self._keeper.save(at, self._weights, self._state)
            if wish.stop and self._world.first:
                leave(wish.stop, at.step, self._total, path)
            if wish.stop:
                raise SystemExit(128 + wish.stop)  # rank 0 tells why

    def stop_if_asked(self, at: Position, stop: GracefulStop, watch: Watch) -> None:
        """Save a checkpoint and end, as after a step, if a signal has come since the last one.

        All ranks must ask together.
        """
        if self._world.highest(stop.asked):
            self.save_if_due(at, stop, watch)

"""A training under way: its epochs, and what happens between two steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from mmts.settings.training import Train
from mmts.towers.two_tower import TwoTower
from mmts.training.batch import Batch
from mmts.training.batches import Plan, steps_per_epoch
from mmts.training.checkpoint import Checkpoints, Position
from mmts.training.log import RunLog
from mmts.training.pairs import Pairs
from mmts.training.signals import GracefulStop, leave
from mmts.training.speed import Progress, Speedometer
from mmts.training.step import Stepper
from mmts.training.validation import logged, measure_of, validate
from mmts.training.watch import Watch


def learning_rate(step: int, total: int, settings: Train) -> float:
    """Linear warm-up from warmup_from, then a cosine from learning_rate to min_learning_rate."""
    if step < settings.warmup_steps:
        span = settings.learning_rate - settings.warmup_from
        return settings.warmup_from + span * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    span = settings.learning_rate - settings.min_learning_rate
    return settings.min_learning_rate + span * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def moving_average(model: TwoTower, decay: float | None) -> AveragedModel | None:
    """An exponential moving average of the weights; buffers are the model's own."""
    if decay is None:
        return None
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=update)


class Run:
    """The state of a training on this rank; its methods are called by all ranks together.

    Attributes:
        at: steps done, the epoch, and how many of them in it.
        total: steps of the whole training.
        metrics: of the last look at the validation split; of rank 0.
        speed: of the steps.
    """

    def __init__(
        self, stepper: Stepper, average: AveragedModel | None, plan: Plan, pairs: Pairs,
        val_pairs: Pairs | None, log: RunLog | None, keeper: Checkpoints | None,
    ) -> None:  # fmt: skip
        """`average`: see `moving_average`; the others as of `mmts.training.loop.train`."""
        self._stepper, self._pairs, self._val, self._log = stepper, pairs, val_pairs, log
        self._plan, self._settings = plan, stepper.settings
        self._world, self._keeper = stepper.world, keeper
        self._per_epoch = steps_per_epoch(len(pairs), self._settings.batch_size)
        self.total = self._settings.epochs * self._per_epoch
        self._average = average
        self._weights = {"model": stepper.model, "ema": average}
        self._state = {
            "optimizer": stepper.optimizer, "scaler": stepper.scaler,
            "objective": stepper.loss.objective, "modulator": stepper.loss.modulator, "log": log,
        }  # fmt: skip
        self._watch = Watch(self._world)
        self._recent: deque[tuple[int, Tensor]] = deque(maxlen=self._settings.log_every)
        self.metrics: dict[str, float] = {}
        self.at = Position(0, 0, 0)

    def resume(self, path: Path | None) -> Position:
        """Go on from a checkpoint, if there is one; see `Checkpoints.resume`."""
        if self._keeper is not None:
            self.at = self._keeper.resume(self._weights, self._state, path) or self.at
        left = self.total - self.at.step
        self.speed = Speedometer(self._stepper.model, self._settings, self._world, left)
        self._progress = Progress(self.at.step, self.total, self._settings.batch_size)
        return self.at

    @property
    def kept(self) -> TwoTower:
        """The model that is validated and saved."""
        average = self._average
        return self._stepper.model if average is None else cast(TwoTower, average.module)

    def epoch(
        self, number: int, batches: Iterator[Batch], stop: GracefulStop, bar: tqdm[Any]
    ) -> None:
        """The steps of an epoch that are not done yet."""
        if number > self.at.epoch:
            self.at = Position(self.at.step, number, 0)
        self._stepper.model.train()
        if not self.at.batch:  # as a DataLoader did at its start: the same weights as ever
            torch.empty((), dtype=torch.int64).random_()
        self.speed.start()
        for _ in range(self.at.batch, self._per_epoch):
            batch = self.speed.next(batches)
            self._step(batch, bar)
            self._save(stop)
        self._watch.check(self._samples)
        self.speed.stop()

    def _step(self, batch: Batch, bar: tqdm[Any]) -> None:
        step, epoch, done = self.at
        rate = learning_rate(step, self.total, self._settings)
        self._recent.append((step, batch.index.clone()))
        self._watch.see(step, self._stepper(step, batch, rate))
        if self._average is not None:
            self._average.update_parameters(self._stepper.model)
        if step % self._settings.log_every == 0 or step == self.total - 1:
            self._watch.check(self._samples)
            point = self._watch.point(rate)
            if self._log is not None:
                self._log.point(step, epoch, **point)
            bar.set_postfix(loss=f"{point['loss']:.3f}", refresh=False)
        self.at = Position(step + 1, epoch, done + 1)
        bar.update()
        if self._world.first and self._progress.due():
            self._progress.tell(step + 1, self._watch.loss, rate)

    def _save(self, stop: GracefulStop) -> None:
        """Write a checkpoint where one is due, and end where a signal has asked for it."""
        if self._keeper is None:
            if stop.asked:
                raise SystemExit(128 + stop.asked)
            return
        wish = self._keeper.wish(self.at.step, stop.asked)
        if wish.save:
            self._watch.check(self._samples)
            path = self._keeper.save(self.at, self._weights, self._state)
            if wish.stop and self._world.first:
                leave(wish.stop, self.at.step, self.total, path)
            if wish.stop:
                raise SystemExit(128 + wish.stop)  # rank 0 tells why

    def stop_if_asked(self, stop: GracefulStop) -> None:
        """Save a checkpoint and end, as after a step, if a signal has come since the last one.

        All ranks must ask together.
        """
        if self._world.highest(stop.asked):
            self._save(stop)

    def _samples(self, step: int) -> list[str]:
        """The sample ids of one of the last steps; of streamed ones, of this rank's alone."""
        (items,) = (items for number, items in self._recent if number == step)
        if self._settings.stream is None:
            epoch, done = divmod(step, self._per_epoch)
            items = torch.from_numpy(next(self._plan.batches(epoch, done)).items)
        return [self._pairs.sample_ids[item] for item in items.tolist()]

    def validate(self, epoch: int) -> None:
        """Look at the validation split on rank 0, where it is time to after an epoch."""
        due = (epoch + 1) % self._settings.validate_every == 0
        due = due or epoch == self._settings.epochs - 1
        if not due or self._val is None or not self._world.first:
            return
        size = min(256, self._settings.batch_size)
        self.metrics = validate(
            self.kept, self._val, self._world.device, size, self._settings.workers
        )
        if self._log is not None:
            self._log.point(self.at.step - 1, epoch, **logged(self.metrics, measure_of(self._val)))

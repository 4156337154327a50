"""The training loop, top to bottom."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mmts.errors import InputError
from mmts.losses import Objective
from mmts.settings.training import Train
from mmts.towers.model import Model
from mmts.towers.threads import of_training, threads
from mmts.training.batches import Plan, steps_per_epoch
from mmts.training.checkpoint import Checkpoints
from mmts.training.device import pick_device
from mmts.training.distributed import World
from mmts.training.feed import feed
from mmts.training.log import RunLog
from mmts.training.pairs import Pairs
from mmts.training.rates import learning_rate
from mmts.training.saver import MovingAverage, Saver
from mmts.training.signals import GracefulStop
from mmts.training.speed import Progress, Speed, Speedometer
from mmts.training.step import Stepper
from mmts.training.tau_and_loss import TauAndLoss, Term
from mmts.training.validation import logged, measure_of, validate
from mmts.training.watch import Watch

RANK_SEED = 1_000_003  # between the random states of two ranks


class Trained(NamedTuple):
    """The model to keep, its validation metrics, and facts about the run.

    stop_if_asked: saves a checkpoint and ends the process where a signal has asked for it since;
        all ranks must call it together.
    """

    model: Model
    metrics: dict[str, float]
    total_steps: int
    seconds: float
    speed: Speed | None
    stop_if_asked: Callable[[], None]


def train(
    model: Model, objective: Objective, modulator: nn.Module, train_pairs: Pairs,
    val_pairs: Pairs | None, settings: Train, seed: int, log: RunLog | None,
    relevancy_threshold: float = 0.1, world: World | None = None,
    keeper: Checkpoints | None = None, resume_from: Path | None = None,
    stop: GracefulStop | None = None, *, by_row: bool = False, name: str = "objective",
    terms: Mapping[str, tuple[float, Term]] | None = None,
) -> Trained:  # fmt: skip
    """Train a model, on one process or many, and return it with its validation metrics.

    An objective, a modulator or a loss term that is a module is trained with the model, without
    weight decay and at the same learning rate, or that of `TempNet.rate`.

    Args:
        model: on the CPU; moved to the device of this rank.
        objective, modulator, relevancy_threshold, by_row, name, terms: see `TauAndLoss`.
        val_pairs: the validation split, or None.
        seed: of the order, the drawn captions, augmentation and dropout.
        log: of rank 0.
        world: the ranks; None for this process alone.
        keeper: of the checkpoints; None for none.
        resume_from: the checkpoint to go on from; None for the newest with the same facts.
        stop: what listens to signals already; None to listen while this function runs.

    Raises:
        SystemExit: a signal asked to stop, and a checkpoint is written.
        InputError: see `planned`, `feed` and `Watch.check`.
    """
    world = world or World(0, 1, pick_device(settings.device), None)
    plan = planned(train_pairs, settings, seed, world)
    per_epoch = steps_per_epoch(len(train_pairs), settings.batch_size)
    total = settings.epochs * per_epoch
    losses = TauAndLoss(objective, modulator, world, relevancy_threshold, seed,
                        by_row=by_row, name=name, terms=terms,
                        precision=settings.precision)  # fmt: skip
    stepper = Stepper(model.to(world.device), losses, settings)
    average = MovingAverage(model, settings.ema_decay)
    torch.manual_seed(seed + RANK_SEED * world.rank)
    saver = Saver(keeper, stepper, average, losses, log, total)
    at = saver.resume(resume_from)
    speed = Speedometer(model, settings, world, total - at.step)
    metrics: dict[str, float] = {}
    started = time.perf_counter()
    with (
        threads(of_training(settings), world.device),
        nullcontext(stop) if stop is not None else GracefulStop() as stop,
        tqdm(
            total=total, initial=at.step, desc="train", unit="step", mininterval=0.5,
            disable=None if world.first else True,  # None: the environment decides
        ) as bar,
        feed(train_pairs, plan, settings, world, at) as batches,
    ):  # fmt: skip
        watch = Watch(
            world, log, bar, Progress(at.step, total, settings.batch_size),
            every=settings.log_every, total=total,
            sample_ids=partial(sample_ids, train_pairs, plan, settings, per_epoch),
        )  # fmt: skip
        stop.begun = True
        for epoch in range(at.epoch, settings.epochs):
            at = at.in_epoch(epoch)
            model.train()
            if not at.batch:  # as a DataLoader did at its start: the same weights as ever
                torch.empty((), dtype=torch.int64).random_()
            for batch in speed.measured(batches, per_epoch - at.batch):
                rate = learning_rate(at.step, total, settings)
                encoded = stepper.encode(batch)
                tau, terms_now = losses(at.step, batch, encoded)  # Eq. 8, and Eq. 3 or 10
                norm = stepper.optimise(terms_now["loss"], at.step, rate)
                average.update(model)
                watch.step(at, batch, rate, tau, terms_now, norm)
                at = at.after_step()
                saver.save_if_due(at, stop, watch)
            watch.check()
            speed.stop()
            if val_pairs is not None and world.first and is_validated(epoch, settings):
                size = min(256, settings.batch_size)
                kept = average.of(model)
                metrics = validate(kept, val_pairs, world.device, size, settings.workers)
                if log is not None:
                    log.point(at.step - 1, epoch, **logged(metrics, measure_of(val_pairs)))
            world.wait()
        saver.stop_if_asked(at, stop, watch)
    seconds = time.perf_counter() - started
    stop_if_asked = partial(saver.stop_if_asked, at, stop, watch)
    return Trained(average.of(model), metrics, total, seconds, speed.speed(), stop_if_asked)


def is_validated(epoch: int, settings: Train) -> bool:
    """Return whether an epoch ends with a look at the validation split."""
    return (epoch + 1) % settings.validate_every == 0 or epoch == settings.epochs - 1


def planned(pairs: Pairs, settings: Train, seed: int, world: World) -> Plan:
    """What is drawn; the pairs are told whether to augment.

    Raises:
        InputError: a batch that is larger than the split, or cannot be shared out evenly; positives
            by relevancy where there is none.
    """
    size = settings.batch_size
    total = settings.epochs * steps_per_epoch(len(pairs), size)
    if size % world.size:
        raise InputError(
            f"train.batch_size {size} is no multiple of the {world.size} processes; change one of "
            "them"
        )
    if settings.warmup_steps >= total:
        warnings.warn(
            f"train.warmup_steps {settings.warmup_steps} is not below the {total} steps of the "
            "training: train.learning_rate is never reached; lower it",
            stacklevel=2,
        )
    pairs.augment = settings.augment
    threshold = settings.positive_relevancy
    positives = None if threshold is None else pairs.relevant_captions(threshold)
    return Plan(pairs.first, size, seed, positives)


def sample_ids(
    pairs: Pairs, plan: Plan, settings: Train, per_epoch: int, step: int, items: Tensor
) -> list[str]:
    """The sample ids of a step; of streamed shards, `items`, those of this rank alone."""
    if settings.stream is None:
        epoch, done = divmod(step, per_epoch)
        items = torch.from_numpy(next(plan.batches(epoch, done)).items)
    return [pairs.sample_ids[item] for item in items.tolist()]

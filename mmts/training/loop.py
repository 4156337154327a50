"""The training loop, top to bottom."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from tqdm import tqdm

from mmts.errors import InputError
from mmts.losses import Objective
from mmts.settings.training import Train
from mmts.towers.threads import of_training, threads
from mmts.towers.two_tower import TwoTower
from mmts.training.batches import Plan, steps_per_epoch
from mmts.training.checkpoint import Checkpoints
from mmts.training.device import pick_device
from mmts.training.distributed import GlobalLoss, World
from mmts.training.feed import feed
from mmts.training.log import RunLog
from mmts.training.pairs import Pairs
from mmts.training.run import Run, moving_average
from mmts.training.signals import GracefulStop
from mmts.training.speed import Speed
from mmts.training.step import Stepper

RANK_SEED = 1_000_003  # between the random states of two ranks


class Trained(NamedTuple):
    """The model to keep, its validation metrics, and facts about the run.

    stop_if_asked: saves a checkpoint and ends the process where a signal has asked for it since;
        all ranks must call it together.
    """

    model: TwoTower
    metrics: dict[str, float]
    total_steps: int
    seconds: float
    speed: Speed | None
    stop_if_asked: Callable[[], None]


def train(
    model: TwoTower, objective: Objective, modulator: nn.Module, train_pairs: Pairs,
    val_pairs: Pairs | None, settings: Train, seed: int, log: RunLog | None,
    relevancy_threshold: float = 0.1, world: World | None = None,
    keeper: Checkpoints | None = None, resume_from: Path | None = None,
    stop: GracefulStop | None = None, by_row: bool = False,
) -> Trained:  # fmt: skip
    """Train a model, on one process or many, and return it with its validation metrics.

    An objective or a modulator that is a module is trained with the model, without weight decay and
    at the same learning rate, or that of `TempNet.rate`.

    Args:
        model: on the CPU; moved to the device of this rank.
        objective: (vision, text, tau, index=, positives=) -> loss.
        modulator: (step, batch, vision, text) -> tau.
        val_pairs: the validation split, or None.
        seed: of the order, the drawn captions, augmentation and dropout.
        log: of rank 0.
        relevancy_threshold: where the pairs have classes, see `relevant_pairs`.
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
    loss = GlobalLoss(objective, modulator, world, relevancy_threshold, seed, by_row=by_row)
    stepper = Stepper(model.to(world.device), loss, settings)
    average = moving_average(model, settings.ema_decay)
    torch.manual_seed(seed + RANK_SEED * world.rank)
    run = Run(stepper, average, plan, train_pairs, val_pairs, log, keeper)
    at = run.resume(resume_from)
    started = time.perf_counter()
    with (
        threads(of_training(settings), world.device),
        nullcontext(stop) if stop is not None else GracefulStop() as stop,
        tqdm(
            total=run.total, initial=at.step, desc="train", unit="step", mininterval=0.5,
            disable=None if world.first else True,  # None: the environment decides
        ) as bar,
        feed(train_pairs, plan, settings, world, at) as batches,
    ):  # fmt: skip
        stop.begun = True
        for epoch in range(at.epoch, settings.epochs):
            run.epoch(epoch, batches, stop, bar)
            run.validate(epoch)
            world.wait()
        run.stop_if_asked(stop)
    seconds = time.perf_counter() - started
    return Trained(
        run.kept, run.metrics, run.total, seconds, run.speed.speed(),
        partial(run.stop_if_asked, stop),
    )  # fmt: skip


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

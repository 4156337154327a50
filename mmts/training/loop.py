"""The training loop, top to bottom."""

from __future__ import annotations

import math
import time
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from mmts.errors import InputError
from mmts.losses import Objective
from mmts.metrics.mir import per_query, relevancy
from mmts.metrics.recall import retrieval_recall
from mmts.settings import Train
from mmts.towers.two_tower import TwoTower, encode_all
from mmts.training.batches import epoch_batches, epoch_picks, steps_per_epoch, vision_batches
from mmts.training.checkpoint import Checkpoints, Position, Wish
from mmts.training.distributed import GlobalLoss, World
from mmts.training.log import RunLog
from mmts.training.pairs import Pairs, Pick
from mmts.training.rng import undisturbed
from mmts.training.signals import GracefulStop, leave
from mmts.training.step import Stepper
from mmts.training.watch import Watch

NOTHING = Wish(save=False, stop=0)
RANK_SEED = 1_000_003  # between the random states of two ranks
VALIDATED = {
    "val_t2v_R@1": "val/t2v/R@1",
    "val_v2t_R@1": "val/v2t/R@1",
    "val_rsum": "val/rsum",
    "val_mAP": "val/mAP/avg",
    "val_nDCG": "val/nDCG/avg",
}
"""Columns of the log, and the keys of `validate` that they show."""


class Trained(NamedTuple):
    """The model to keep, its validation metrics, and facts about the run."""

    model: TwoTower
    metrics: dict[str, float]
    total_steps: int
    seconds: float
    samples_per_second: float


def learning_rate(step: int, total: int, settings: Train) -> float:
    """Linear warm-up from warmup_from, then a cosine from learning_rate to min_learning_rate."""
    if step < settings.warmup_steps:
        span = settings.learning_rate - settings.warmup_from
        return settings.warmup_from + span * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    span = settings.learning_rate - settings.min_learning_rate
    return settings.min_learning_rate + span * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is cuda but there is no CUDA device; set it to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def train(
    model: TwoTower,
    objective: Objective,
    modulator: nn.Module,
    train_pairs: Pairs,
    val_pairs: Pairs | None,
    settings: Train,
    seed: int,
    log: RunLog | None,
    relevancy_threshold: float = 0.1,
    world: World | None = None,
    keeper: Checkpoints | None = None,
    resume_from: Path | None = None,
) -> Trained:
    """Train a model, on one process or many, and return it with its validation metrics.

    An objective or a modulator that is a module is trained with the model, at the same learning
    rate and without weight decay.

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

    Raises:
        SystemExit: a signal asked to stop, and a checkpoint is written.
        InputError: a batch that cannot be shared out among the ranks; a loss that is not finite,
            with its step, the range of tau and the samples.
    """
    world = world or World(0, 1, pick_device(settings.device), None)
    share = shared(settings.batch_size, len(train_pairs), world)
    model = model.to(world.device)
    stepper = Stepper(
        model, GlobalLoss(objective, modulator, world, relevancy_threshold, seed), settings
    )
    average = None if settings.ema_decay is None else moving_average(model, settings.ema_decay)
    per_epoch = steps_per_epoch(len(train_pairs), settings.batch_size)
    total = settings.epochs * per_epoch
    if settings.warmup_steps >= total:
        warnings.warn(
            f"train.warmup_steps {settings.warmup_steps} is not below the {total} steps of the "
            "training: train.learning_rate is never reached; lower it",
            stacklevel=1,
        )
    train_pairs.augment = settings.augment
    drawn = None
    if settings.positive_relevancy is not None:
        drawn = train_pairs.relevant_captions(settings.positive_relevancy)
    torch.manual_seed(seed + RANK_SEED * world.rank)
    weights = {"model": model, "ema": average}
    state = {
        "optimizer": stepper.optimizer, "scaler": stepper.scaler,
        "objective": objective, "modulator": modulator, "log": log,
    }  # fmt: skip
    at = Position(0, 0, 0)
    if keeper is not None:
        at = keeper.resume(weights, state, resume_from) or at
    watch = Watch(world)
    metrics: dict[str, float] = {}
    step, skip, started, busy = at.step, at.batch, time.perf_counter(), 0.0
    off = None if world.first else True  # None: the environment decides
    with (
        GracefulStop() as stop,
        tqdm(
            total=total, initial=step, desc="train", unit="step", mininterval=0.5, disable=off
        ) as bar,
    ):
        for epoch in range(at.epoch, settings.epochs):
            model.train()
            began = time.perf_counter()
            picks = epoch_picks(train_pairs.first, settings.batch_size, seed, epoch, drawn)
            samples_of = partial(_samples, train_pairs, picks, epoch * per_epoch)
            own = [batch[share] for batch in picks[skip:]]
            batches = epoch_batches(train_pairs, own, settings.workers, world.device)
            for batch in undisturbed(batches) if skip else batches:
                rate = learning_rate(step, total, settings)
                watch.see(step, stepper(step, batch, rate))
                if average is not None:
                    average.update_parameters(model)
                if step % settings.log_every == 0 or step == total - 1:
                    watch.check(samples_of)
                    point = watch.point(rate)
                    if log is not None:
                        log.point(step, epoch, **point)
                    bar.set_postfix(loss=f"{point['loss']:.3f}", refresh=False)
                step, skip = step + 1, skip + 1
                bar.update()
                if keeper is None and stop.asked:
                    raise SystemExit(128 + stop.asked)
                wish = NOTHING if keeper is None else keeper.wish(step, stop.asked)
                if keeper is not None and wish.save:
                    watch.check(samples_of)
                    path = keeper.save(Position(step, epoch, skip), weights, state)
                    if wish.stop:
                        leave(wish.stop, step, total, path)
            watch.check(samples_of)
            skip, busy = 0, busy + time.perf_counter() - began
            due = (epoch + 1) % settings.validate_every == 0 or epoch == settings.epochs - 1
            if due and val_pairs is not None and world.first:
                size = min(256, settings.batch_size)
                judged = kept(model, average)
                metrics = validate(judged, val_pairs, world.device, size, settings.workers)
                if log is not None:
                    log.point(step - 1, epoch, **logged(metrics))
            world.wait()
    seconds, done = time.perf_counter() - started, total - at.step
    return Trained(kept(model, average), metrics, total, seconds, done * settings.batch_size / busy)


def kept(model: TwoTower, average: AveragedModel | None) -> TwoTower:
    """The model that is validated and saved."""
    return model if average is None else cast(TwoTower, average.module)


def _samples(pairs: Pairs, picks: list[list[Pick]], first: int, step: int) -> list[str]:
    """The sample ids of a step; `first` is the first step of the epoch of these picks."""
    return [pairs.sample_ids[pick.item] for pick in picks[step - first]]


def shared(batch_size: int, items: int, world: World) -> slice:
    """This rank's rows of each batch; InputError where they cannot be shared out evenly."""
    steps_per_epoch(items, batch_size)
    if batch_size % world.size:
        raise InputError(
            f"train.batch_size {batch_size} is no multiple of the {world.size} processes; change "
            "one of them"
        )
    return world.share(batch_size)


def moving_average(model: TwoTower, decay: float) -> AveragedModel:
    """An exponential moving average of the weights; buffers are the model's own."""
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
    return average


def validate(
    model: TwoTower, pairs: Pairs, device: torch.device, batch_size: int, workers: int
) -> dict[str, float]:
    """Recalls of a split both ways and their sum, keys under `val/`.

    With graded relevancy multi-instance mAP and nDCG instead, both ways and the average.
    """
    vision, text = encode_split(model, pairs, device, batch_size, workers)
    if pairs.classes_of is None:
        recalls = retrieval_recall(vision, text, pairs.owner)
        return {**{f"val/{k}": v for k, v in recalls.items()}, "val/rsum": sum(recalls.values())}
    clips = [pairs.classes_of[row] for row in pairs.first[:-1]]
    searched = pairs.searched()
    sentences = [c for c, s in zip(pairs.classes_of, searched, strict=True) if s]
    similarity = (vision @ text[torch.from_numpy(searched)].T).numpy()
    found: dict[str, float] = {}
    both = per_query(similarity, relevancy(clips, sentences))
    for metric, values in zip(("mAP", "nDCG"), both, strict=True):
        ways = {way: float(getattr(values, way).mean()) for way in ("v2t", "t2v")}
        ways["avg"] = (ways["v2t"] + ways["t2v"]) / 2
        found |= {f"val/{metric}/{way}": value for way, value in ways.items()}
    return found


def logged(metrics: dict[str, float]) -> dict[str, float]:
    """What the log keeps of the validation metrics, by the names of its columns."""
    return {column: metrics[key] for column, key in VALIDATED.items() if key in metrics}


def encode_split(
    model: TwoTower, pairs: Pairs, device: torch.device, batch_size: int, workers: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows of all media items, and of all captions, on the CPU.

    `workers` processes decode pictures or clips; with 0 this one does.
    """
    model.eval()
    vision = encode_all(model.encode_vision, vision_batches(pairs, batch_size, workers), device)
    texts = (pairs.text[s : s + batch_size] for s in range(0, len(pairs.text), batch_size))
    text = encode_all(model.encode_text, texts, device)
    return vision, text

"""The training loop, top to bottom."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any, NamedTuple

import torch
from torch import nn
from tqdm import tqdm

from mmts.errors import InputError
from mmts.losses import Objective, Tau
from mmts.metrics.mir import per_query, relevancy
from mmts.metrics.recall import retrieval_recall
from mmts.settings import Train
from mmts.towers.two_tower import TwoTower, encode_all, parameter_groups
from mmts.training.data import (
    Pairs,
    epoch_batches,
    epoch_picks,
    steps_per_epoch,
    vision_batches,
)
from mmts.training.log import RunLog
from mmts.training.relevancy import relevant_pairs

VALIDATED = {
    "val_t2v_R@1": "val/t2v/R@1",
    "val_v2t_R@1": "val/v2t/R@1",
    "val_rsum": "val/rsum",
    "val_mAP": "val/mAP/avg",
    "val_nDCG": "val/nDCG/avg",
}
"""Columns of the log, and the keys of `validate` that they show."""


class Trained(NamedTuple):
    """Validation metrics after the last epoch, and facts about the run."""

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
    log: RunLog,
    relevancy_threshold: float = 0.1,
) -> Trained:
    """Train `model` in place and return its validation metrics.

    An objective or a modulator that is a module is trained with the model, at the same learning
    rate and without weight decay.

    Args:
        model: on the CPU; moved to the device that the settings name.
        objective: (vision, text, tau, index=, positives=) -> loss.
        modulator: (step, batch, vision, text) -> tau.
        val_pairs: the validation split, or None.
        seed: of the order, the drawn captions, augmentation and dropout.
        relevancy_threshold: where the pairs have classes, see `relevant_pairs`.

    Raises:
        InputError: the loss is not finite; the message has the step and the range of tau.
    """
    device = pick_device(settings.device)
    model = model.to(device)
    beside = [m.to(device).train() for m in (objective, modulator) if isinstance(m, nn.Module)]
    groups = parameter_groups(model, settings.weight_decay)
    others = [p for module in beside for p in module.parameters() if p.requires_grad]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, fused=True)
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
    torch.manual_seed(seed)
    metrics: dict[str, float] = {}
    step, started, busy = 0, time.perf_counter(), 0.0
    with tqdm(total=total, desc="train", unit="step", mininterval=0.5) as bar:
        for epoch in range(settings.epochs):
            model.train()
            began = time.perf_counter()
            picks = epoch_picks(train_pairs.first, settings.batch_size, seed, epoch, drawn)
            for batch in epoch_batches(train_pairs, picks, settings.workers):
                batch = batch.to(device)
                rate = learning_rate(step, total, settings)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                vision, text = model(batch.vision, batch.text)
                tau = modulator(step, batch, vision, text)
                positives = relevant_pairs(batch.classes, relevancy_threshold)
                try:
                    loss = objective(vision, text, tau, index=batch.index, positives=positives)
                except InputError as error:  # the rows are normalised: they were fine before
                    raise InputError(
                        f"training went astray at step {step} ({error}); lower train.learning_rate"
                    ) from None
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                norm = nn.utils.clip_grad_norm_(
                    [*model.parameters(), *others], settings.clip_grad_norm or math.inf
                )
                optimizer.step()
                if step % settings.log_every == 0 or step == total - 1:
                    point = _numbers(loss, tau, norm, rate, step)
                    log.point(step, epoch, **point)
                    bar.set_postfix(loss=f"{point['loss']:.3f}", refresh=False)
                step += 1
                bar.update()
            busy += time.perf_counter() - began
            due = (epoch + 1) % settings.validate_every == 0 or epoch == settings.epochs - 1
            if due and val_pairs is not None:
                batch_size = min(256, settings.batch_size)
                metrics = validate(model, val_pairs, device, batch_size, settings.workers)
                log.point(step - 1, epoch, **logged(metrics))
    seconds = time.perf_counter() - started
    return Trained(metrics, total, seconds, total * settings.batch_size / busy)


def _numbers(
    loss: torch.Tensor, tau: Tau, norm: torch.Tensor, rate: float, step: int
) -> dict[str, Any]:
    """What is logged of one step; stops the run where the loss is not finite."""
    parts = tau if isinstance(tau, tuple) else (tau,)
    taus = torch.cat([torch.as_tensor(part).detach().reshape(-1) for part in parts])
    point = {
        "loss": loss.item(),
        "tau_min": taus.min().item(),
        "tau_mean": taus.mean().item(),
        "tau_max": taus.max().item(),
        "learning_rate": rate,
        "grad_norm": norm.item(),
    }
    if not math.isfinite(point["loss"]):
        raise InputError(
            f"the loss is {point['loss']} at step {step} (tau {point['tau_min']:.4g} to "
            f"{point['tau_max']:.4g}); lower train.learning_rate or raise the temperatures"
        )
    return point


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
    text = encode_all(model.encode_text, torch.split(pairs.text, batch_size), device)
    return vision, text

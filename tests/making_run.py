"""A small training to save and resume: model, EMA, optimiser, scaler, objective, modulator."""

from __future__ import annotations

import copy
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmts.losses.sogclr import SogCLR
from mmts.modulators.individual import IndividualTau
from mmts.training.batch import Batch
from mmts.training.checkpoint import Checkpoints, Position
from mmts.training.log import RunLog

FACTS: dict[str, Any] = {"train.epochs": 6, "train.learning_rate": 0.01, "seed": 0}


class SmallRun:
    """Steps whose outcome depends on every state that a checkpoint must have."""

    def __init__(self, seed: int = 0, width: int = 6, log: RunLog | None = None) -> None:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.3))
        self.model = nn.Sequential(body, nn.Linear(width, 3))
        self.ema = copy.deepcopy(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01, fused=True)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
        self.objective = SogCLR(16, captions=20)
        self.modulator = IndividualTau((torch.full((16,), 0.02), torch.full((20,), 0.02)))
        self.log = log
        self.done = 0

    @property
    def weights(self) -> dict[str, nn.Module | None]:
        return {"model": self.model, "ema": self.ema}

    @property
    def state(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer, "scaler": self.scaler, "objective": self.objective,
            "modulator": self.modulator, "log": self.log, "function": max,
        }  # fmt: skip

    def step(self) -> None:
        data = torch.rand(8, 4) + random.random() + float(np.random.rand())
        ids = torch.randperm(16)[:8]
        batch = Batch({}, data, torch.zeros_like(ids), ids, caption=torch.randperm(20)[:8])
        rows = nn.functional.normalize(self.model(data), dim=1)
        tau = self.modulator(self.done, batch, rows, rows.flip(1))
        loss = self.objective(rows, rows.flip(1), tau, index=batch.ids)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            for mine, theirs in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                mine.lerp_(theirs, 0.1)
        self.done += 1
        if self.log is not None:
            self.log.point(self.done, 0, loss=loss.item())

    def steps(self, number: int) -> SmallRun:
        for _ in range(number):
            self.step()
        return self

    def save(self, checkpoints: Checkpoints) -> Path:
        return checkpoints.save(Position(self.done, 0, self.done), self.weights, self.state)

    def resume(self, checkpoints: Checkpoints, path: Path | None = None) -> Position | None:
        position = checkpoints.resume(self.weights, self.state, path)
        self.done = position.step if position else 0
        return position

    def everything(self) -> dict[str, Any]:
        """All that must come back, as plain values to compare."""
        parts = {**self.weights, **self.state}
        return {k: plain(p.state_dict()) for k, p in parts.items() if hasattr(p, "state_dict")}


def checkpoints(cell: Path, **more: Any) -> Checkpoints:
    """The checkpoints of a cell, due never."""
    given = {"facts": FACTS, "every_steps": None, "every_minutes": None, **more}
    return Checkpoints(cell, given.pop("facts"), **given)


def plain(value: Any) -> Any:
    """Tensors as their type, shape and bytes; keys of mappings in order."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def in_a_fork(work: Callable[[], Any], *, kill_after: float | None = None) -> int:
    """The exit code of a forked process that does `work`; it is killed after so many seconds."""
    return in_forks(work, kill_after=kill_after)[0]


def in_forks(*works: Callable[[], Any], kill_after: float | None = None) -> list[int]:
    """The exit codes of forked processes that work at the same time."""
    if torch.cuda.is_available():
        pytest.skip("autograd does not work in a fork beside a GPU")
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(kill_after)
        process.kill()  # does nothing to one that has ended
        process.join()
    return [process.exitcode or 0 for process in processes]


def die() -> None:
    """As kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)

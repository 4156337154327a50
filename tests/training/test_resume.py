"""A training that is killed in mid-epoch and goes on gives the bytes of one that was not."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmts.losses import info_nce
from mmts.losses.sogclr import SogCLR
from mmts.modulators import IndividualTau, ScheduledShift
from mmts.settings import Head
from mmts.towers.two_tower import TwoTower
from mmts.training.batches import Plan, load_batches
from mmts.training.checkpoint import Checkpoints, Position
from mmts.training.log import RunLog
from mmts.training.pairs import Pairs
from mmts.training.rng import random_states
from mmts.training.run import learning_rate
from mmts.training.validation import logged, validate
from tests.making_run import checkpoints, die, in_a_fork, plain
from tests.training.test_loop import FROZEN, SHIFTS, feature_pairs, settings

CPU = torch.device("cpu")
CHOSEN = settings(epochs=3, batch_size=4, validate_every=1, log_every=2)
STEPS = 18


def parts(stateful: bool) -> tuple[Any, Any]:
    if stateful:
        return SogCLR(24), IndividualTau(torch.full((24,), 0.04))
    return info_nce, ScheduledShift(SHIFTS, alpha=0.1, period=6)


def train(
    folder: Path, keeper: Checkpoints, pairs: Pairs, *, kill: int = 0, stateful: bool = True,
    workers: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """The loop of mmts.training.loop with checkpoints; `kill`: the step after which it dies."""
    folder.mkdir()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    model = TwoTower(FROZEN, Head(dim=8, hidden=8, dropout=0.4), {"vision": 12, "text": 10})
    objective, modulator = parts(stateful)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    with RunLog(folder) as log:
        weights = {"model": model}
        state = {"optimizer": optimizer, "objective": objective, "modulator": modulator, "log": log}
        at = keeper.resume(weights, state) or Position(0, 0, 0)
        step, skip, metrics = at.step, at.batch, {}
        for epoch in range(at.epoch, CHOSEN.epochs):
            model.train()
            picks = Plan(pairs.first, CHOSEN.batch_size, 0).batches(epoch, skip)
            batches = load_batches(pairs, picks, CHOSEN.batch_size, workers)
            for n, batch in enumerate(batches, skip + 1):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, STEPS, CHOSEN)
                vision, text = model(batch.vision, batch.text)
                tau = modulator(step, batch, vision, text)
                loss = objective(vision, text, tau, index=batch.index)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if step % CHOSEN.log_every == 0:
                    log.point(step, epoch, loss=loss.item(), learning_rate=group["lr"])
                step += 1
                if keeper.wish(step).save:
                    keeper.save(Position(step, epoch, n), weights, state)
                if step == kill:
                    die()
            skip = 0
            metrics = validate(model, pairs, CPU, 4, workers)
            log.point(step - 1, epoch, **logged(metrics))
    found = {name: plain(part.state_dict()) for name, part in {**weights, **state}.items()
             if hasattr(part, "state_dict")}  # fmt: skip
    files = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {**found, "metrics": metrics, "files": files, "random": plain(random_states())}


@pytest.mark.parametrize(
    ("every", "kills", "stateful"),
    [
        (1, [5], True),
        (4, [7, 11, 17], True),
        (6, [13], False),
        (3, [12, 18], False),
        (1, [6], True),
    ],
)
def test_killed_and_resumed(tmp_path: Path, every: int, kills: list[int], stateful: bool) -> None:
    """In mid-epoch, after a checkpoint or between two, and at the end of an epoch of 6 steps."""
    pairs = feature_pairs()
    never = checkpoints(tmp_path / "never")
    whole = train(tmp_path / "whole", never, pairs, stateful=stateful)
    assert never.newest() is None

    def cut(kill: int) -> None:
        keeper = checkpoints(tmp_path / "cell", every_steps=every)
        train(tmp_path / f"cut{kill}", keeper, pairs, kill=kill, stateful=stateful)

    for kill in kills:
        assert in_a_fork(lambda kill=kill: cut(kill)) == -9
        newest = checkpoints(tmp_path / "cell").newest()
        assert newest is not None and int(newest.name[5:]) == kill - kill % every
    keeper = checkpoints(tmp_path / "cell", every_steps=every)
    resumed = train(tmp_path / "resumed", keeper, pairs, stateful=stateful)
    assert resumed.keys() == whole.keys() and len(whole["files"]) > 4
    for name, value in whole.items():
        assert resumed[name] == value, name

"""A training that is stopped or killed at any step and goes on gives the bytes of one that was not.

It is `mmts.training.loop.train` with dropout, a moving average and the states of a method.
"""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmts.losses import info_nce
from mmts.losses.sogclr import SogCLR
from mmts.modulators.individual import IndividualTau
from mmts.modulators.scheduled import ScheduledShift
from mmts.settings.training import Head
from mmts.towers.two_tower import TwoTower
from mmts.training.checkpoint import Checkpoints
from mmts.training.log import RunLog
from mmts.training.loop import train
from mmts.training.rng import random_states
from tests.making_run import checkpoints, die, in_a_fork, plain
from tests.training.test_loop import FROZEN, SHIFTS, feature_pairs, settings

CHOSEN = settings(
    epochs=3, batch_size=4, validate_every=1, log_every=2, ema_decay=0.9,
    head=Head(dim=8, hidden=8, dropout=0.4), schedule="linear", betas=[0.9, 0.98], eps=1e-6,
    learning_rates={"text_head.1.*": 0.001, "text_head.*": 0.02},
)  # fmt: skip
STEPS = 18  # six an epoch


def method(stateful: bool) -> tuple[Any, nn.Module]:
    if stateful:
        starts = (torch.full((24,), 0.04), torch.full((32,), 0.04))
        return SogCLR(24, captions=32), IndividualTau(starts, tau_max=0.05)
    return info_nce, ScheduledShift(SHIFTS, alpha=0.1, period=6)


def trained(
    folder: Path, keeper: Checkpoints, *, stateful: bool = True, at: int = 0,
    happens: Callable[[], None] = die,
) -> dict[str, Any]:  # fmt: skip
    """All that a training leaves; `happens` in its step number `at`, counted from one."""
    folder.mkdir()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    model = TwoTower(FROZEN, CHOSEN.head, {"vision": 12, "text": 10})
    objective, modulator = method(stateful)
    modulator.register_forward_pre_hook(
        lambda _, arguments: happens() if arguments[0] + 1 == at else None
    )
    pairs = feature_pairs()
    with RunLog(folder) as log:
        found = train(model, objective, modulator, pairs, pairs, CHOSEN, 0, log, keeper=keeper)
    assert found.model is not model and found.total_steps == STEPS
    parts = {"kept": found.model, "model": model, "objective": objective, "modulator": modulator}
    states = {k: plain(p.state_dict()) for k, p in parts.items() if isinstance(p, nn.Module)}
    files = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {
        **states, "metrics": found.metrics, "files": files, "random": plain(random_states()),
    }  # fmt: skip


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict[str, Any]]:
    """What is left by a training that nothing stops, with a stateful method and without."""
    folder = tmp_path_factory.mktemp("whole")
    never = checkpoints(folder / "never")
    found = {s: trained(folder / str(s), never, stateful=s) for s in (False, True)}
    assert never.newest() is None and list(found[True]["files"]) == [Path("curves.csv")]
    return found


def same(found: dict[str, Any], whole: dict[str, Any]) -> None:
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        assert found[name] == value, name


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    "stops", [[1], [2], [5], [6], [7], [11], [12], [17], [18], [3, 4, 6, 13], [*range(1, 19)]]
)
def test_stopped_and_resumed(tmp_path: Path, wholes: dict[bool, Any], stops: list[int]) -> None:
    """After the first, a middle and the last step of an epoch; once, some times and every step."""
    for stop in stops:
        keeper = checkpoints(tmp_path / "cell")
        with pytest.raises(SystemExit) as caught:
            trained(tmp_path / f"cut{stop}", keeper, at=stop, happens=sigterm)
        newest = keeper.newest()
        assert caught.value.code == 143 and newest is not None and int(newest.name[5:]) == stop
    same(trained(tmp_path / "resumed", checkpoints(tmp_path / "cell")), wholes[True])


@pytest.mark.parametrize(
    ("every", "kills", "stateful"),
    [
        (1, [6], True),
        (4, [8, 12, 18], True),
        (6, [14], False),
        (3, [13, 18], False),
        (1, [7], True),
    ],
)
def test_killed_and_resumed(
    tmp_path: Path, wholes: dict[bool, Any], every: int, kills: list[int], stateful: bool
) -> None:
    """In mid-epoch, in the step after a checkpoint or later, and in the first one of an epoch."""

    def cut(kill: int) -> None:
        keeper = checkpoints(tmp_path / "cell", every_steps=every)
        trained(tmp_path / f"cut{kill}", keeper, stateful=stateful, at=kill)

    for kill in kills:
        assert in_a_fork(lambda kill=kill: cut(kill)) == -9
        newest, done = checkpoints(tmp_path / "cell").newest(), kill - 1
        assert newest is not None and int(newest.name[5:]) == done - done % every
    keeper = checkpoints(tmp_path / "cell", every_steps=every)
    same(trained(tmp_path / "resumed", keeper, stateful=stateful), wholes[stateful])

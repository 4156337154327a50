"""The worker processes of a training: how long they live, and that they change nothing."""

from __future__ import annotations

import os
from multiprocessing import active_children
from typing import Any

import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.modulators import ScheduledShift
from mmts.towers.two_tower import TwoTower
from mmts.training.batches import Plan, loaded
from mmts.training.checkpoint import Position
from mmts.training.distributed import World
from mmts.training.feed import feed
from mmts.training.loop import train
from mmts.training.pairs import Pairs
from tests.training.test_loop import FROZEN, SHIFTS, feature_pairs, settings

ALONE = World(0, 1, torch.device("cpu"), None)


class Told(Pairs):
    """Says which process loaded a row: in place of its classes."""

    def __getitems__(self, picks: Any) -> Any:
        batch = super().__getitems__(picks)
        return batch._replace(classes=torch.full((len(batch.index), 1), os.getpid()))


@pytest.mark.parametrize("at", [Position(0, 0, 0), Position(4, 1, 1), Position(6, 1, 3)])
def test_workers_live_over_epochs(at: Position) -> None:
    pairs = feature_pairs()
    pairs.__class__ = Told
    plan, found = Plan(pairs.first, 8, 5), {}
    for workers in (0, 2):
        with feed(pairs, plan, settings(epochs=3, workers=workers), ALONE, at) as batches:
            found[workers] = list(batches)
    assert active_children() == []
    for one, other in zip(found[0], found[2], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
        assert len(other.classes.unique()) == 2
    assert len({pid for batch in found[2] for pid in batch.classes.flatten().tolist()}) == 2
    wanted = [b.items.tolist() for e in range(3) for b in plan.batches(e)][at.step :]
    assert [batch.index.tolist() for batch in found[2]] == wanted


def test_workers_end_where_training_fails() -> None:
    seen = []

    def broken(v: Tensor, t: Tensor, tau: Tensor, **more: Any) -> Tensor:
        seen.append(len(active_children()))
        if len(seen) == 5:
            raise RuntimeError("no more")
        return info_nce(v, t, tau)

    pairs = feature_pairs()
    model = TwoTower(FROZEN, settings().head, {"vision": 12, "text": 10})
    modulator = ScheduledShift(SHIFTS, alpha=0.1, period=6)
    with pytest.raises(RuntimeError, match="no more") as caught:
        train(model, broken, modulator, pairs, None, settings(workers=2), 0, None)
    assert seen == [2] * 5 and caught.tb
    assert active_children() == []


class Failing(torch.utils.data.Dataset[Any]):
    def __getitems__(self, numbers: list[int]) -> Any:
        if 3 in numbers:
            raise KeyError("three") if self.bug else InputError("row 3 is bad; mend it")
        return numbers

    def __init__(self, bug: bool) -> None:
        self.bug = bug


@pytest.mark.parametrize("bug", [False, True])
def test_workers_end_where_one_fails(bug: bool) -> None:
    with pytest.raises(KeyError if bug else InputError) as caught:
        list(loaded(Failing(bug), [[1], [2], [3], [4]], 2))
    assert bug or str(caught.value) == "row 3 is bad; mend it"
    assert active_children() == []

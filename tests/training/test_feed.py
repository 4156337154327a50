"""The worker processes of a training: how long they live, and that they change nothing."""

from __future__ import annotations

import os
import resource
import signal
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.modulators.scheduled import ScheduledShift
from mmts.towers.two_tower import TwoTower
from mmts.training.batches import Plan
from mmts.training.checkpoint import Position
from mmts.training.distributed import World
from mmts.training.feed import feed
from mmts.training.loading import loaded
from mmts.training.loop import train
from mmts.training.pairs import Pairs
from mmts.training.validation import encode_split
from tests.training.test_loop import (
    FROZEN,
    HEAD,
    SHIFTS,
    TRAINABLE,
    feature_pairs,
    picture_pairs,
    settings,
)  # fmt: skip
from tests.training.test_pairs import same

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
        assert same(one._replace(classes=one.index), other._replace(classes=other.index))
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


class Killed(Pairs):
    """One of the processes that load is killed at its fourth batch."""

    loaded = 0

    def __getitems__(self, picks: Any) -> Any:
        self.loaded += 1
        info = get_worker_info()
        if info is not None and info.id == 0 and self.loaded == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitems__(picks)


class Ended(Pairs):
    def streams(self, items: Any, seeds: Any = None) -> Any:
        os._exit(3)


def killed(pairs: Pairs, objective: Any) -> str:
    model = TwoTower(FROZEN, settings().head, {"vision": 12, "text": 10})
    modulator = ScheduledShift(SHIFTS, alpha=0.1, period=6)
    with pytest.raises(InputError) as caught:
        train(model, objective, modulator, pairs, None, settings(workers=2), 0, None)
    assert active_children() == []
    return str(caught.value)


DIED = (
    "a process that loads pictures was killed ({}); lower train.workers (in evaluate: "
    "evaluate.workers) or give more memory, /dev/shm too"
)


def test_a_process_that_is_killed_while_it_is_waited_for() -> None:
    pairs = feature_pairs()
    pairs.__class__ = Killed
    assert killed(pairs, info_nce) == DIED.format("signal: Killed")


def test_a_process_that_is_killed_in_a_step() -> None:
    def objective(v: Tensor, t: Tensor, tau: Tensor, **more: Any) -> Tensor:
        os.kill(active_children()[0].pid or 0, signal.SIGKILL)
        time.sleep(600)  # torch raises in it
        raise AssertionError("nobody told")

    assert killed(feature_pairs(), objective) == DIED.format("signal: Killed")


def test_a_process_that_ends_in_validation(tmp_path: Path) -> None:
    pairs, tokenizer = picture_pairs(tmp_path)
    model = TwoTower(TRAINABLE, HEAD, {"vocabulary": tokenizer.get_vocab_size()})
    pairs.__class__ = Ended
    with pytest.raises(InputError) as caught:
        encode_split(model, pairs, torch.device("cpu"), 8, 2)
    assert str(caught.value) == DIED.format("exit code 3")


class Narrow(torch.utils.data.Dataset[Any]):
    """Big tensors, from a process that may not write files as big, in shared memory too."""

    def __getitems__(self, numbers: list[int]) -> Any:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        return torch.zeros(100_000)


def test_no_room_in_shared_memory() -> None:
    """Nothing waits for a batch that will never come."""
    with pytest.raises(InputError) as caught:
        list(loaded(Narrow(), [[1], [2], [3], [4]], 2))
    told = str(caught.value)
    assert told.startswith("a process that loads pictures cannot hand them over (")
    assert told.endswith("or give more memory, /dev/shm too") and "\n" not in told
    assert active_children() == []

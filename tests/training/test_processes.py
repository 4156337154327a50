"""Two processes that save and load together."""

from __future__ import annotations

import datetime
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from mmts.errors import InputError
from mmts.sealed import sha256_file
from mmts.training.checkpoint import Wish
from mmts.training.processes import Elsewhere, Processes
from tests import patience
from tests.making_run import FACTS, SmallRun, checkpoints, in_forks

WORLD = {**FACTS, "world_size": 2}


def highest(number: int) -> int:
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def together(rank: int, cell: Path, **more: Any) -> Any:
    return checkpoints(cell, facts=WORLD, processes=Processes(rank, 2, highest), **more)


def round_trip(rank: int, cell: Path) -> None:
    """The random states of either rank come back to it; state that a rank lacks is left alone."""
    run = SmallRun(seed=rank).steps(2)
    path = run.save(together(rank, cell))
    assert {p.name for p in path.iterdir()} >= {"rank-0.pt", "rank-1.pt"}
    wanted = torch.rand(3)
    other = SmallRun(seed=7)
    position = other.resume(together(rank, cell))
    assert position == (2, 0, 2) and torch.equal(torch.rand(3), wanted)
    theirs = [None, None]
    dist.all_gather_object(theirs, (wanted.tolist(), other.model[1].weight.tolist()))
    assert theirs[0][0] != theirs[1][0] and theirs[0][1] == theirs[1][1]  # type: ignore[index]


def wishes(rank: int, cell: Path) -> None:
    """The clock is rank 0's; a signal to one is a signal to all."""
    now = [0.0]
    keeper = together(rank, cell, every_steps=5, every_minutes=1, clock=lambda: now[0])
    assert keeper.wish(1) == Wish(False, 0) and keeper.wish(5) == Wish(True, 0)
    now[0] = 100.0 if rank == 1 else 0.0
    assert keeper.wish(6) == Wish(False, 0)
    assert keeper.wish(7, asked=15 if rank == 1 else 0) == Wish(True, 15)
    now[0] = 100.0 - 100.0 * rank
    assert keeper.wish(8) == Wish(True, 0)


def failures(rank: int, cell: Path) -> None:
    """What fails in one fails in both, and leaves what was there."""
    run, keeper = SmallRun(seed=rank).steps(1), together(rank, cell)
    first = run.save(keeper)
    run.steps(1)
    if rank == 1:
        keeper._processes = Processes(
            5, 2, highest
        )  # writes rank-5.pt: not on this disk, as it were
    with pytest.raises((InputError, Elsewhere), match=r"lacks rank-1\.pt" if rank == 0 else "1"):
        run.save(keeper)
    dist.barrier()
    assert [p.name for p in keeper.folder.iterdir()] == [first.name]
    dist.barrier()
    if rank == 1:
        (first / "rank-1.pt").write_bytes(b"else")
    dist.barrier()
    with pytest.raises(InputError, match=r"rank-1\.pt is damaged"):  # both have read it
        run.resume(together(rank, cell))
    if rank == 0:
        (first / "rank-1.pt").unlink()
    dist.barrier()
    with pytest.raises(InputError, match=r"rank-1\.pt is missing"):
        run.resume(together(rank, cell))


def stale(rank: int, cell: Path) -> None:
    """All go on from what rank 0 sees, though one of them has an old view of the disk."""
    run, keeper = SmallRun(seed=rank), together(rank, cell)
    run.steps(1).save(keeper)
    run.steps(1).save(keeper)
    keeper = together(rank, cell)
    if rank == 1:
        keeper.newest = lambda: keeper.folder / "step-000000001"
    assert run.resume(keeper) == (2, 0, 2)


def rank_main(rank: int, cell: Path) -> None:
    wait = datetime.timedelta(seconds=patience.seconds(30))
    where = f"file://{cell}/meet"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=2, timeout=wait)
    for number, check in enumerate((round_trip, wishes, failures, stale)):
        check(rank, cell / str(number))
        dist.barrier()
    dist.destroy_process_group()


def test_two_processes(tmp_path: Path) -> None:
    assert in_forks(*(partial(rank_main, rank, tmp_path) for rank in (0, 1))) == [0, 0]


def test_another_number_of_processes(tmp_path: Path, capsys: Any) -> None:
    """Neither by itself nor by name."""
    path = SmallRun().steps(1).save(checkpoints(tmp_path, facts={**FACTS, "world_size": 1}))
    other = checkpoints(tmp_path, facts=WORLD)
    assert SmallRun().resume(other) is None
    assert "world_size is 2 here and 1 there" in capsys.readouterr().out
    with pytest.raises(InputError, match="world_size is 2 here and 1 there"):
        SmallRun().resume(other, path)


def test_a_sealed_checkpoint_without_a_rank(tmp_path: Path) -> None:
    path = SmallRun().steps(1).save(checkpoints(tmp_path))
    shutil.move(path / "rank-0.pt", path / "rank-1.pt")
    text = (path / "SHA256SUMS").read_text().replace("rank-0", "rank-1")
    (path / "SHA256SUMS").write_text(text)
    assert sha256_file(path / "rank-1.pt") in text
    with pytest.raises(InputError, match=r"rank-0\.pt"):
        SmallRun().resume(checkpoints(tmp_path))

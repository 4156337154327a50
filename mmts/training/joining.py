"""Joining the processes that train together, and leaving them when something goes wrong."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from mmts.errors import InputError, first_line
from mmts.training.distributed import World
from mmts.training.processes import Elsewhere
from mmts.training.pulse import REMEDY, Pulse
from mmts.training.signals import GracefulStop

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

PATIENCE = timedelta(hours=2)  # others wait while rank 0 validates
GATHERING = timedelta(minutes=10)  # from the first process to the last
HEARING = 3.0  # seconds that a rank waits for rank 0 to tell what both have
LINGER = 10.0  # seconds for the rank that tells; torchrun ends the others when it has
STUCK = 60.0  # seconds after which a GPU's process that cannot leave is ended
PARENT_DEATH = 1  # PR_SET_PDEATHSIG, prctl(2)
TOLD, SILENT = "mmts/told", "mmts/silent"


def launched() -> bool:
    """Whether torchrun has started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def alike() -> Iterator[None]:
    """A block before `joined` that fails on all ranks alike: rank 0 tells, and torchrun ends all.

    Another rank tells what rank 0 does not have.
    """
    try:
        yield
    except InputError:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(HEARING)
        raise


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The world of this process: of all that torchrun has started, or it alone.

    Where the block fails, this process leaves at once, without waiting for the others. Of those
    that fail one says why: rank 0, or another where rank 0 has no problem.

    Args:
        device: of a single process; under torchrun a CUDA one is the local rank's.

    Raises:
        InputError: torchrun starts more processes here than there are GPUs; another process is
            lost, or never came.
    """
    end_with_launcher()
    if not launched() or os.environ["WORLD_SIZE"] == "1":
        yield World(0, 1, device, None)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        with alike():
            device = _gpu(local)
    rank, store = _gather(device)
    assert dist.group.WORLD is not None
    pulse = Pulse(store, rank, dist.get_world_size())
    try:
        control = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield World(rank, dist.get_world_size(), device, dist.group.WORLD, control, local)
    except BaseException as error:
        _abandon(device)
        if isinstance(error, (Exception, Elsewhere)) and not tells(error, rank, store):
            _linger()
            raise Elsewhere(1) from None
        pulse.stop(well=False)
        if peer_left(error):
            raise InputError(f"{pulse.lost()} was lost, killed or cut off; {REMEDY}") from None
        raise
    pulse.stop(well=True)
    dist.destroy_process_group()


def _linger() -> None:
    """Wait for the launcher's SIGTERM: it takes the process that ends first for the cause."""
    until = time.monotonic() + LINGER
    while time.monotonic() < until and not GracefulStop.noted:
        time.sleep(0.02)


def end_with_launcher() -> None:
    """Have Linux send SIGTERM to this process when its launcher is killed: no run without one."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent()


def end_with_parent(parent: int | None = None) -> None:
    """Have Linux send SIGTERM to this process when its parent is killed.

    Args:
        parent: its number, for a fork that may have begun after the end of its parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGTERM)
    if parent is not None and os.getppid() != parent:
        raise SystemExit(128 + signal.SIGTERM)


def _gather(device: torch.device) -> tuple[int, Store]:
    """Meet the others; this process's rank, and the store that they share."""
    kind = "nccl" if device.type == "cuda" else "gloo"
    try:
        store, rank, size = next(rendezvous("env://", timeout=GATHERING))
        store.set_timeout(PATIENCE)
        dist.init_process_group(kind, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except dist.DistError as error:
        raise InputError(
            f"the {os.environ['WORLD_SIZE']} processes of the training did not meet within "
            f"{GATHERING.total_seconds() / 60:.0f} minutes ({first_line(error)[:160]}); "
            "start them together, and see why one of them ended"
        ) from None
    assert dist.group.WORLD is not None
    return rank, dist.group.WORLD.get_group_store()


def peer_left(error: BaseException) -> bool:
    """Whether an error only says that another process could not be reached."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )


def _gpu(local: int) -> torch.device:
    count = torch.cuda.device_count()
    if local >= count:
        raise InputError(
            f"torchrun starts process {local + 1} on a machine of {count} GPUs; lower "
            "--nproc-per-node"
        )
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device


def _abandon(device: torch.device) -> None:
    """Leave ranks that may wait for this one.

    Destroying NCCL's group takes all of them and would hang; aborting it takes none. Should that
    hang too, the process is ended all the same. (Not tried on a GPU.)
    """
    if device.type != "cuda":
        dist.destroy_process_group()
    elif dist.group.WORLD is not None:
        faulthandler.dump_traceback_later(STUCK, exit=True)
        dist.group.WORLD.abort()


def tells(error: BaseException, rank: int, store: Store) -> bool:
    """Whether this rank is the one that says what went wrong.

    Who has the best word tells first: of an error of our own rank 0, then another rank; then of a
    RuntimeError, which may be the other rank's fault; last, that another rank has left. Where the
    launcher has ended this one already, it is the launcher that tells.
    """
    lost, left = isinstance(error, RuntimeError), peer_left(error)
    until = time.monotonic() + HEARING * ((rank > 0) + 2 * lost + 2 * left)
    try:
        if isinstance(error, Elsewhere):
            if rank == 0:
                store.set(SILENT, "")
            return False
        while time.monotonic() < until and (lost or not store.check([SILENT])):
            if store.check([TOLD]) or (left and GracefulStop.noted):
                return False
            time.sleep(0.02)
        return int(store.add(TOLD, 1)) == 1
    except RuntimeError:  # the store is gone with its process
        return True

"""Processes of tests that train or compute together, begun in the time of a fork."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

from torch.multiprocessing.spawn import start_processes

PRELOADED = ("torch._dynamo", "torch.distributed", "pandas", "pytest")


def run_ranks(main: Callable[..., None], arguments: tuple[object, ...], ranks: int) -> None:
    """Run `main(rank, *arguments)` in so many processes; an error in one of them is raised here.

    They are forks of a process that has imported torch, but no more: it never computed anything.
    """
    multiprocessing.set_forkserver_preload(list(PRELOADED))
    start_processes(main, arguments, nprocs=ranks, start_method="forkserver")

"""Cells in several processes, side by side."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from mmts.errors import InputError
from mmts.settings import Towers
from mmts.study.cell import Cell

Task = tuple[Cell, bool]
"""What to train, and whether to test it."""


def run_all(
    tasks: Mapping[str, Task], towers: Mapping[str, Towers], processes: int,
    keep: Callable[[str, dict[str, Any]], None],
) -> None:  # fmt: skip
    """Run cells in order, `processes` at a time with one thread each.

    Args:
        tasks: by the key of the cell.
        towers: by dataset.
        processes: how many.
        keep: what to do with the record of each cell, when it is there: (dataset, record).

    Raises:
        InputError: a process was killed; what was kept stays.
    """
    context = multiprocessing.get_context("spawn")
    waiting = iter(tasks.items())
    running: dict[Future[dict[str, Any]], str] = {}
    with (
        ProcessPoolExecutor(processes, context, _one_thread) as pool,
        tqdm(total=len(tasks), desc="study", unit="cell", smoothing=0.05) as bar,
    ):
        try:
            while True:
                while len(running) < 2 * processes and (task := next(waiting, None)):
                    key, (cell, test) = task
                    future = pool.submit(_run, key, cell, towers[cell.dataset], test)
                    running[future] = cell.dataset
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    record = future.result()
                    keep(running.pop(future), record)
                    bar.set_postfix_str(f"{record['dataset']} {record['name']}", refresh=False)
                    bar.update()
        except BrokenProcessPool:
            raise InputError(
                "a process of the study was killed, perhaps for its memory; run the same command "
                "again, which goes on from what is done"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one_thread() -> None:
    """Of a new process: no thread beside its own, no progress bar or warning of a training."""
    os.environ["TQDM_DISABLE"] = "1"
    import warnings

    import torch

    warnings.simplefilter("ignore")  # a control or a tail may leave Eq. 6 nothing to map
    torch.set_num_threads(1)


def _run(key: str, cell: Cell, towers: Towers, test: bool) -> dict[str, Any]:
    from mmts.study.run import run_cell

    return run_cell(key, cell, towers, test)

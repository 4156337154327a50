import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmts.training.checkpoint import Wish
from mmts.training.signals import STOPPING, GracefulStop, deaf, leave
from tests.making_run import SmallRun, checkpoints, in_a_fork


@pytest.mark.parametrize("number", STOPPING)
def test_a_flag_and_nothing_else(number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in STOPPING]
    with GracefulStop() as stop:
        assert stop.asked == 0
        os.kill(os.getpid(), number)
        assert stop.asked == number
        os.kill(os.getpid(), STOPPING[0])
        assert stop.asked == number  # the first one
    assert [signal.getsignal(n) for n in STOPPING] == before


def test_ctrl_c_is_as_it_was() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # deaf in the background
    try:
        with pytest.raises(KeyboardInterrupt), GracefulStop():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_stopped_run_goes_on(tmp_path: Path, number: int, code: int) -> None:
    def work() -> None:
        sys.stderr = open(tmp_path / "err", "w")  # noqa: SIM115
        run, keeper = SmallRun(), checkpoints(tmp_path / "cell")
        with GracefulStop() as stop:
            for step in range(1, 100):
                run.step()
                if step == 3:
                    os.kill(os.getpid(), number)
                wish = keeper.wish(step, stop.asked)
                assert wish == (Wish(True, number) if step == 3 else Wish(False, 0))
                if wish.save:
                    path = run.save(keeper)
                if wish.stop:
                    leave(wish.stop, step, 100, path)

    assert in_a_fork(work) == code
    run, keeper = SmallRun(seed=1), checkpoints(tmp_path / "cell")
    assert run.resume(keeper) == (3, 0, 3)
    name = signal.Signals(number).name
    assert (tmp_path / "err").read_text() == (
        f"stopped by {name} after step 3 of 100; {keeper.newest()} is saved, and the same command "
        "goes on from there\n"
    )
    assert run.steps(2).everything() == SmallRun().steps(5).everything()


class Slow(Dataset[int]):
    def __getitem__(self, _: Any) -> int:
        time.sleep(0.02)
        return os.getpid()

    def __len__(self) -> int:
        return 24


def test_a_signal_to_all_processes_of_a_job() -> None:
    """Workers that took it would end the training before its checkpoint."""

    def work() -> None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        os.setpgid(0, 0)
        torch.set_num_threads(1)
        seen = []
        with GracefulStop() as stop:
            for pid in DataLoader(Slow(), batch_size=None, num_workers=2, worker_init_fn=deaf):
                seen.append(int(pid))
                if len(seen) == 6:
                    os.killpg(0, signal.SIGTERM)
        assert stop.asked == signal.SIGTERM and len(seen) == 24 and len(set(seen)) == 2

    assert in_a_fork(work) == 0

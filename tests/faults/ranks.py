"""The train stage on two ranks: forks that meet as processes of two machines do, or torchrun."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from tests import patience
from tests.conftest import Ran
from tests.faults.started import Started, start

TRAIN = ("train", "--dataset", "tiny", "--method", "mmts", "--seed", "0")
INPUTS = [Path("data") / name for name in ("embed/tiny", "shards/tiny", "shift/tiny/mmts")]
CHECKPOINTS = Path("data/cache/checkpoints/tiny/mmts/0")
TWO = ["torchrun", "--standalone", "--nproc-per-node", "2"]


def pair(
    told: Path, prepare: Callable[[int], None] = int, command: tuple[str, ...] = TRAIN
) -> list[Started]:
    """Start two ranks without a launcher: nobody ends the one when the other is gone.

    Args:
        told: a folder for what they print.
        prepare: called in each of them first, with its rank.
        command: what both run.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def as_rank(rank: int) -> None:
        from mmts.training import joining

        joining.LINGER = 0.0  # nobody ends the one that is silent
        joining.HEARING = 0.5  # and the one that is left hears of nothing
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }  # fmt: skip
        prepare(rank)

    return [start(*command, told=told, prepare=lambda n=rank: as_rank(n)) for rank in (0, 1)]


def rank_0_tells(_: int) -> None:
    """Let the other rank wait for the word of rank 0 on a busy machine too."""
    from mmts.training import joining

    joining.HEARING = 3 * patience.slowness()


def ended(ranks: list[Started]) -> tuple[Ran, Ran]:
    """The end of both."""
    first, second = ranks
    return first.wait(), second.wait()


def cell(method: str = "mmts") -> Path:
    """Return where the result of seed 0 is kept, or will be."""
    from mmts.kept import Kept
    from mmts.planned import Planned

    inputs = [*INPUTS[:2], INPUTS[2].with_name(method)]
    plan = Planned("train", dataset="tiny", method=method, inputs=inputs)
    return Kept(plan, ("train", "tiny", method), inputs).path(0)


def forget(cell: str = ".") -> None:
    """Have what was trained and evaluated before done again, or such as `train/tiny/mmts`."""
    shutil.rmtree(Path("data/cache/kept", cell), ignore_errors=True)


def undisturbed(told: Path) -> dict[str, bytes]:
    """What two ranks write that nothing happens to; it is done again after that."""
    for ran in ended(pair(told)):
        assert ran.code == 0 and ran.err == "", ran
    found = written()
    forget()
    return found


def written() -> dict[str, bytes]:
    """What a training leaves, but for times."""
    folder = cell()
    return {
        name: (folder / name).read_bytes()
        for name in ("model.safetensors", "state.safetensors", "metrics.json", "curves.csv")
    }


def until(there: Callable[[], object], running: Started) -> None:
    """Wait until something is there, while a command runs."""
    end = time.monotonic() + patience.seconds(60)
    while not there():
        assert running.poll() is None and time.monotonic() < end, "it ended before"
        time.sleep(0.002)


def saved() -> list[Path]:
    """The seals of the checkpoints of the training."""
    return _found("step-*/SHA256SUMS")


def begun() -> list[Path]:
    """The checkpoints that are being written."""
    return _found(".step-*.partial")


def _found(pattern: str) -> list[Path]:
    # Path.glob fails where a folder is renamed while it looks
    return sorted(map(Path, glob.glob(f"{CHECKPOINTS}/*/{pattern}")))  # noqa: PTH207


def beneath(launcher: Started) -> dict[int, psutil.Process]:
    """The ranks that torchrun has started, which have sessions of their own."""
    found = {}
    for process in psutil.Process(launcher.pid).children(recursive=True):
        with suppress(psutil.Error):  # ended since
            rank = process.environ().get("RANK")
            if rank is not None:
                found[int(rank)] = process
    return found


def gone(processes: list[psutil.Process], seconds: float = 10) -> bool:
    """Whether all of them end within so many seconds; those that do not are killed."""
    _, left = psutil.wait_procs(processes, patience.seconds(seconds))
    for process in left:
        process.send_signal(signal.SIGKILL)
    return not left

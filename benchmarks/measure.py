"""Time and memory of a call, on the CPU and on CUDA."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from tqdm import tqdm

Key = TypeVar("Key", bound=Hashable)
PROCESS = Path("/proc/self")


def interleaved(
    runs: Mapping[Key, Callable[[], object]], rounds: int, device: str
) -> dict[Key, list[float]]:
    """Seconds of each call in each round; a round makes every call once, a first one warms up."""
    took: dict[Key, list[float]] = {key: [] for key in runs}
    with tqdm(total=(rounds + 1) * len(runs), unit="call", leave=False) as bar:
        for number in range(rounds + 1):
            for key, run in runs.items():
                seconds = _seconds(run, device)
                if number:
                    took[key].append(seconds)
                bar.update()
    return took


def _seconds(run: Callable[[], object], device: str) -> float:
    """CPU time of this process, or the time between two events on the device."""
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    before, after = (_event() for _ in range(2))
    before.record()
    run()
    after.record()
    torch.cuda.synchronize()
    return float(before.elapsed_time(after)) / 1000


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def peak_extra(run: Callable[[], object], device: str) -> int | None:
    """Bytes that the call takes at its peak above what is held before it; None where unknown.

    On the CPU: resident memory of the whole process, as Linux counts it (all that is touched, also
    by libraries; not what an earlier call has left in their pools). On CUDA: torch's allocator.
    """
    if device == "cpu":
        before, peak = peak_resident(run)
        return None if before is None or peak is None else max(peak - before, 0)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def peak_resident(run: Callable[[], object]) -> tuple[int | None, int | None]:
    """Resident bytes of this process before the call and at its peak; None twice off Linux."""
    give_back_freed()
    try:
        (PROCESS / "clear_refs").write_text("5")  # the peak starts again from the present level
    except OSError:
        run()
        return None, None
    before = resident("VmRSS")
    run()
    return before, resident("VmHWM")


def give_back_freed() -> None:
    """Let glibc return freed memory, which would else be used again without being counted."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident(name: str) -> int:
    """Bytes of resident memory: VmRSS at present, VmHWM at the peak."""
    lines = (PROCESS / "status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return 1024 * int(values[name].split()[0])

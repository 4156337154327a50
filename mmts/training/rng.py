"""The random states of one process, as tensors and numbers that torch.load reads weights-only."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Those of Python, NumPy's global generator, torch on the CPU and on this process's GPU."""
    version, python, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=True)
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "python": [version, torch.tensor(python, dtype=torch.int64), gauss],
        "numpy": [numpy[0], torch.from_numpy(numpy[1].astype(np.int64)), *numpy[2:]],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if used else None,
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Put back what `random_states` gave; the next draws are those that followed it."""
    version, python, gauss = states["python"]
    random.setstate((version, tuple(python.tolist()), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"])

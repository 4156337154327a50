"""The device that is trained or evaluated on, and the precision of the model there."""

from __future__ import annotations

import torch

from mmts.errors import InputError

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is cuda but there is no CUDA device; set it to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return what the model runs in, for `train.precision`; fp32 leaves all as it is."""
    kind = PRECISIONS.get(precision)
    return torch.autocast(device.type, kind, enabled=kind is not None)

"""The device that is trained or evaluated on."""

from __future__ import annotations

import torch

from mmts.errors import InputError


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is cuda but there is no CUDA device; set it to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)

"""The check of sample ids, for what keeps a state for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from mmts.errors import InputError


def check_index(index: Tensor | None, rows: int, samples: int) -> Tensor:
    """index itself; InputError unless it is [rows] different integers in 0..samples-1.

    The values are looked at on the CPU only.
    """
    if index is None:
        raise InputError(
            "index is None; there is a state for each sample: pass the sample ids of the batch"
        )
    if index.shape != (rows,) or index.dtype not in (torch.int64, torch.int32):
        raise InputError(
            f"index is {index.dtype} of shape {tuple(index.shape)}; it must be int64 [{rows}]"
        )
    if index.device.type != "cpu" or torch.compiler.is_compiling():
        return index
    off = (index < 0) | (index >= samples)
    if off.any():
        row = int(off.int().argmax())
        raise InputError(
            f"index[{row}] is {int(index[row])}; it must be in 0..{samples - 1}: set `samples` to "
            "the size of the training split"
        )
    ids, places = index.sort(stable=True)
    again = places[1:][ids[1:] == ids[:-1]]
    if len(again):
        row = int(again.min())
        raise InputError(
            f"index[{row}] is {int(index[row])}, as in an earlier row; draw a sample at most once "
            "a batch"
        )
    return index

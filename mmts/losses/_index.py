"""The check of sample ids, for what keeps a state for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses._check import check_tensor

Index = Tensor | tuple[Tensor, Tensor]
"""[N] sample ids of the pairs, or a pair of these: of the media items and of the captions."""


def both_indices(
    index: Index | None, rows: int, items: int, captions: int
) -> tuple[Tensor, Tensor]:
    """Return the checked ids of the media items and of the captions.

    Args:
        index: one tensor serves both sides.
        rows: pairs of the batch.
        items, captions: how many of each have a state.

    Raises:
        InputError: an index that is missing, or that `check_index` refuses.
    """
    if index is None:
        raise InputError(
            "index is None; there is a state for each sample: pass the sample ids of the batch"
        )
    if not isinstance(index, tuple):
        if items != captions:
            raise InputError(
                f"index is one tensor, but there is a state for {items} media items and "
                f"{captions} captions: pass a pair, (ids of items, ids of captions)"
            )
        check_index(index, rows, items)
        return index, index
    if len(index) != 2:
        raise InputError(f"index is a tuple of {len(index)}; it must be a pair (items, captions)")
    return (
        check_index(index[0], rows, items, "index of the items"),
        check_index(index[1], rows, captions, "index of the captions", "captions"),
    )


def check_index(
    index: Tensor, rows: int, samples: int, name: str = "index", size: str = "samples"
) -> Tensor:
    """index itself; InputError unless it is [rows] different integers in 0..samples-1.

    The values are looked at on the CPU only.
    """
    check_tensor(name, index)
    if index.shape != (rows,) or index.dtype not in (torch.int64, torch.int32):
        raise InputError(
            f"{name} is {index.dtype} of shape {tuple(index.shape)}; it must be int64 [{rows}]"
        )
    if index.device.type != "cpu" or torch.compiler.is_compiling():
        return index
    off = (index < 0) | (index >= samples)
    if off.any():
        row = int(off.int().argmax())
        raise InputError(
            f"{name}[{row}] is {int(index[row])}; it must be in 0..{samples - 1}: set `{size}` "
            "to their number in the training split"
        )
    ids, places = index.sort(stable=True)
    again = places[1:][ids[1:] == ids[:-1]]
    if len(again):
        row = int(again.min())
        raise InputError(
            f"{name}[{row}] is {int(index[row])}, as in an earlier row; draw a sample at most once "
            "a batch"
        )
    return index

"""Checks that the losses share: shapes, unit rows, a usable tau."""

from __future__ import annotations

import torch
from torch import Tensor

from mmts.errors import InputError

NORM_TOLERANCE = 1e-2  # wide enough for bfloat16 rows


def check_pairs(vision: Tensor, text: Tensor) -> None:
    """InputError unless both are [N, D] unit rows; norms are checked on the CPU only."""
    if vision.ndim != 2 or vision.shape != text.shape:
        raise InputError(
            f"vision is {tuple(vision.shape)} and text {tuple(text.shape)}; both must be [N, D]"
        )
    if vision.shape[0] == 0:
        raise InputError("vision and text have no rows; a batch needs at least one pair")
    for name, rows in (("vision", vision), ("text", text)):
        if rows.device.type != "cpu" or torch.compiler.is_compiling():
            continue
        norms = rows.detach().float().norm(dim=1)
        off = ~((norms - 1).abs() <= NORM_TOLERANCE)
        if off.any():
            row = int(off.int().argmax())
            if not torch.isfinite(norms[row]):
                raise InputError(
                    f"{name} row {row} holds NaN or infinity; mend the features, or lower the "
                    "learning rate"
                )
            raise InputError(
                f"{name} row {row} has norm {norms[row]:.6g}; rows must have norm 1: use "
                "torch.nn.functional.normalize"
            )


def per_row(tau: float | Tensor, like: Tensor, name: str, lowest: str) -> Tensor:
    """tau as [N, 1] in the type of the similarities.

    Args:
        tau: a number or [N].
        like: [N, N] similarities.
        name: what to call it in an error: tau or margin.
        lowest: "> 0" or ">= 0".
    """
    values = torch.as_tensor(tau, dtype=like.dtype, device=like.device)
    if values.ndim > 1 or (values.ndim == 1 and values.shape[0] != like.shape[0]):
        raise InputError(
            f"{name} has shape {tuple(values.shape)}; it must be a number or [{like.shape[0]}]"
        )
    if values.device.type == "cpu" and not torch.compiler.is_compiling():
        low = values > 0 if lowest == "> 0" else values >= 0
        off = ~(low & torch.isfinite(values)).reshape(-1)
        if off.any():
            row = int(off.int().argmax())
            value = values.detach().reshape(-1)[row].item()
            where = f"{name}[{row}]" if values.ndim else name
            raise InputError(f"{where} is {value:.6g}; it must be finite and {lowest}")
    return values.reshape(-1, 1).expand(like.shape[0], 1)


def other_positives(positives: Tensor | None, like: Tensor) -> Tensor | None:
    """Pairs beside the diagonal that are no negatives: [N, N] bool, or None."""
    if positives is None:
        return None
    if positives.shape != like.shape or positives.dtype != torch.bool:
        raise InputError(
            f"positives is {positives.dtype} of shape {tuple(positives.shape)}; it must be bool "
            f"{tuple(like.shape)}"
        )
    diagonal = torch.eye(like.shape[0], dtype=torch.bool, device=like.device)
    return positives & ~diagonal

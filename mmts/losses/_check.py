"""Checks that the losses share: shapes, unit rows, a usable tau."""

from __future__ import annotations

import warnings
from numbers import Real

import torch
from torch import Tensor

from mmts.errors import InputError

NORM_TOLERANCE = 1e-2  # wide enough for bfloat16 rows

Tau = float | Tensor | tuple[float | Tensor, float | Tensor]
"""A number for all samples, [N], or a pair (v2t, t2v) of these."""


def check_tensor(name: str, rows: object) -> None:
    """Raise InputError unless rows is a tensor."""
    if not isinstance(rows, Tensor):
        raise InputError(
            f"{name} is a {type(rows).__module__.partition('.')[0]} {type(rows).__name__}; it must "
            "be a torch tensor: use torch.as_tensor, or torch.from_numpy for an array"
        )


def check_pairs(vision: Tensor, text: Tensor, alone: bool = True) -> None:
    """InputError unless both are [N, D] unit rows; norms are checked on the CPU only.

    Warns of a batch of one pair, unless it is not `alone`: other ranks have more.
    """
    for name, rows in (("vision", vision), ("text", text)):
        check_tensor(name, rows)
    if vision.ndim != 2 or vision.shape != text.shape:
        raise InputError(
            f"vision is {tuple(vision.shape)} and text {tuple(text.shape)}; both must be [N, D]"
        )
    if not vision.is_floating_point() or vision.dtype != text.dtype:
        raise InputError(
            f"vision is {vision.dtype} and text {text.dtype}; both must be of one floating type"
        )
    if vision.shape[0] == 0:
        raise InputError("vision and text have no rows; a batch needs at least one pair")
    if vision.shape[0] == 1 and alone and not torch.compiler.is_compiling():
        warnings.warn(
            "the batch has one pair (N = 1), so that there are no negatives to learn from: give at "
            "least 2 pairs",
            stacklevel=3,
        )
    for name, rows in (("vision", vision), ("text", text)):
        if not _readable(rows):
            continue
        norms = torch.linalg.vector_norm(rows.detach(), dim=1, dtype=sum_type(rows))
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


def sum_type(rows: Tensor) -> torch.dtype:
    """The type that similarities of such rows are summed in: float32 at least."""
    return torch.promote_types(rows.dtype, torch.float32)


def both_directions(tau: Tau, vision: Tensor, name: str, lowest: str) -> tuple[Tensor, Tensor]:
    """tau of each anchor, for v2t and for t2v: two times [N] in the type of the similarities.

    Args:
        tau: a number, [N], or a pair of these.
        vision: [N, D].
        name: what to call it in an error: tau or margin.
        lowest: "> 0" or ">= 0".
    """
    if isinstance(tau, tuple):
        if len(tau) != 2:
            raise InputError(f"{name} is a tuple of {len(tau)}; it must be a pair (v2t, t2v)")
        v2t, t2v = tau
        return (
            _rows(v2t, vision, f"{name} (v2t)", lowest),
            _rows(t2v, vision, f"{name} (t2v)", lowest),
        )
    rows = _rows(tau, vision, name, lowest)
    return rows, rows


def _rows(tau: float | Tensor, vision: Tensor, name: str, lowest: str) -> Tensor:
    if isinstance(tau, Tensor):
        if tau.ndim and not tau.is_floating_point():
            raise InputError(
                f"{name} is {tau.dtype}; it must hold floats: look up the number of each cluster, "
                "as in `shift[cluster_id]`"
            )
        values = tau.to(vision.device, sum_type(vision))
    elif isinstance(tau, (float, int, Real)):  # torch.compile: no new graph for a new number
        values = vision.new_ones((), dtype=sum_type(vision)) * tau
    else:
        raise InputError(
            f"{name} is a {type(tau).__name__}; it must be a number, a tensor of {len(vision)}, or "
            "a tuple of two of these"
        )
    if values.ndim > 1 or (values.ndim == 1 and values.shape[0] != vision.shape[0]):
        raise InputError(
            f"{name} has shape {tuple(values.shape)}; it must be a number or [{vision.shape[0]}]"
        )
    if _readable(values):
        low = values.reciprocal() < torch.inf if lowest == "> 0" else values >= 0
        off = ~(low & (values >= 0) & torch.isfinite(values)).reshape(-1)
        if off.any():
            row = int(off.int().argmax())
            value = values.detach().reshape(-1)[row].item()
            where = f"{name}[{row}]" if values.ndim else name
            raise InputError(f"{where} is {value:.6g}; it must be finite and {lowest}")
    return values.expand(vision.shape[0])


def check_positives(positives: Tensor | None, shape: tuple[int, int]) -> None:
    """InputError unless positives is None or bool of that shape."""
    if positives is None:
        return
    check_tensor("positives", positives)
    if tuple(positives.shape) != shape or positives.dtype != torch.bool:
        raise InputError(
            f"positives is {positives.dtype} of shape {tuple(positives.shape)}; it must be bool "
            f"{shape}"
        )


def _readable(values: Tensor) -> bool:
    """Whether values may be looked at: on CUDA that would wait for the device."""
    return values.device.type == "cpu" and not torch.compiler.is_compiling()

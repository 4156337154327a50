"""The cosine schedule of the base temperature (or margin), and the number a sample gets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mmts.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class Schedule(Protocol):
    """What gives the base temperature at a step, in [-alpha/2, alpha/2], as `tau_base` does."""

    def __call__(self, step: float, *, alpha: float, period: float) -> float:
        """The base temperature."""
        ...


def tau_base(step: float, *, alpha: float, period: float) -> float:
    """Base temperature `alpha * cos(2 pi step / period) / 2` (Eq. 7, arXiv 2603.08202).

    Args:
        step: optimiser step, counted from 0.
        alpha: peak-to-peak range of the oscillation, in units of tau; 0 switches it off.
        period: steps a full oscillation.

    Returns:
        A number in [-alpha/2, alpha/2].

    Raises:
        InputError: alpha is negative or period is not positive, or either is not finite.
    """
    if not (math.isfinite(alpha) and alpha >= 0):
        raise InputError(f"alpha is {alpha}; it must be a finite number >= 0")
    if not (math.isfinite(period) and period > 0):
        raise InputError(f"period is {period}; it must be a finite number of steps > 0")
    return alpha * math.cos(2 * math.pi * step / period) / 2


def per_sample_tau(base: float, shift: Tensor) -> Tensor:
    """Temperature of each sample, `base + shift` (Eq. 8, arXiv 2603.08202).

    Args:
        base: `tau_base(step)`.
        shift: [N], the shift of each sample's cluster (`mmts.shift.cluster_shift`).

    Returns:
        [N], same dtype and device as `shift`.

    Raises:
        InputError: shift is not a tensor of floating-point numbers.
    """
    if not hasattr(shift, "is_floating_point"):
        raise InputError(
            f"shift is a {type(shift).__name__}; it must be a torch tensor: use torch.from_numpy "
            "for an array"
        )
    if not shift.is_floating_point():
        raise InputError(
            f"shift is {shift.dtype}; it must hold floats: look up the shift of each cluster, as "
            "in `shift[cluster_id]`"
        )
    return shift + base


class AutoRange(NamedTuple):
    """Numbers of MM-TS around a temperature (or margin) that works without schedules."""

    alpha: float
    shift_min: float
    shift_max: float


def auto_range(fixed: float) -> AutoRange:
    """Range of the schedule and ends of the shifts by the rule of section 4.3, arXiv 2603.08202.

    The rule: `fixed - alpha/2 > 0`, and both shifts within `fixed +- alpha/2`. Ours are alpha =
    fixed and shifts of 0.75 and 1.25 times fixed, so that tau stays between 0.25 and 1.75 times
    fixed. (The paper's own CC3M values break the rule: alpha 0.04 around a fixed number of 0.01.)

    Args:
        fixed: the temperature or margin that the recipe has without schedules.

    Raises:
        InputError: fixed is not a finite number > 0.
    """
    if not (math.isfinite(fixed) and fixed > 0):
        raise InputError(f"fixed is {fixed}; it must be a finite number > 0")
    return AutoRange(fixed, 0.75 * fixed, 1.25 * fixed)

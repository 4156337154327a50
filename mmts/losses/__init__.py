"""Objectives: features and a number for each sample -> a scalar.

Every objective has the signature `(vision, text, tau, *, index=None, positives=None)`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from mmts.errors import InputError
from mmts.losses.info_nce import info_nce
from mmts.losses.max_margin import max_margin

__all__ = ["OBJECTIVES", "Objective", "info_nce", "max_margin", "objective"]


class Objective(Protocol):
    """What a training loop calls; tau is the temperature or the margin."""

    def __call__(
        self,
        vision: Tensor,
        text: Tensor,
        tau: float | Tensor,
        /,
        *,
        index: Tensor | None = None,
        positives: Tensor | None = None,
    ) -> Tensor:
        """The scalar to minimise."""
        ...


OBJECTIVES: dict[str, Objective] = {"info_nce": info_nce, "max_margin": max_margin}


def objective(name: str) -> Objective:
    """The objective of that name; InputError listing those that exist."""
    try:
        return OBJECTIVES[name]
    except KeyError:
        raise InputError(f"no objective {name}; there are: {', '.join(OBJECTIVES)}") from None

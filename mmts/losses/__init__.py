"""Objectives: features and a number for each sample -> a scalar.

Every objective has the signature `(vision, text, tau, *, index=None, positives=None)`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from mmts.losses._check import Tau
from mmts.losses._index import Index
from mmts.losses.info_nce import InfoNCE, info_nce
from mmts.losses.max_margin import MaxMargin, max_margin

__all__ = ["Index", "InfoNCE", "MaxMargin", "Objective", "Tau", "info_nce", "max_margin"]


class Objective(Protocol):
    """What a training loop calls; tau is the temperature or the margin."""

    def __call__(
        self,
        vision: Tensor,
        text: Tensor,
        tau: Tau,
        /,
        *,
        index: Index | None = None,
        positives: Tensor | None = None,
    ) -> Tensor:
        """The scalar to minimise."""
        ...

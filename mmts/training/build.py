"""A method's settings -> its objective and its modulator."""

from __future__ import annotations

import pandas as pd
from torch import Tensor, nn

from mmts.kinds import (
    CyCLIPObjective,
    IndividualModulator,
    LearnableModulator,
    SigLIPObjective,
    SogCLRObjective,
    TempNetModulator,
)
from mmts.losses import Objective, info_nce, max_margin
from mmts.losses.arctanh import arctanh_info_nce
from mmts.losses.cyclip import CyCLIP
from mmts.losses.siglip import SigLIP
from mmts.losses.sogclr import SogCLR
from mmts.method import Method
from mmts.modulators import IndividualTau, LearnableTau, ScheduledShift, TempNet
from mmts.training.pairs import Pairs

FUNCTIONS: dict[str, Objective] = {
    "info_nce": info_nce,
    "max_margin": max_margin,
    "arctanh": arctanh_info_nce,
}


def build_objective(method: Method, samples: int, captions: int | None = None) -> Objective:
    """The objective of a method.

    Args:
        method: its settings.
        samples, captions: media items and captions of the training split, for what has a state for
            each of them; None is one caption an item.
    """
    settings = method.objective
    if isinstance(settings, SigLIPObjective):
        return SigLIP(settings.bias)
    if isinstance(settings, CyCLIPObjective):
        return CyCLIP(settings.inmodal, settings.crossmodal)
    if isinstance(settings, SogCLRObjective):
        return SogCLR(
            samples, settings.gamma, settings.rho, captions=captions, floor=settings.floor
        )
    return FUNCTIONS[settings.kind]


def build_modulator(
    method: Method, shifts: pd.DataFrame, pairs: Pairs, *, total_steps: int, epochs: int, dim: int
) -> nn.Module:
    """What gives the tau of each sample of `pairs`.

    Args:
        method: its settings.
        shifts: the shift table of the method.
        pairs: the training split.
        total_steps, epochs: of the training; they set the period and the steps of an epoch.
        dim: of the features.

    Raises:
        InputError: the shift table lacks the cluster of a training row.
    """
    epoch_steps = total_steps // epochs
    hold = epoch_steps if method.update_every == "epoch" else 1
    scheduled = ScheduledShift(
        shifts, alpha=method.alpha, period=period(method, total_steps), hold=hold
    )
    scheduled.check(pairs.cluster_id)
    settings = method.modulator
    if isinstance(settings, LearnableModulator):
        return LearnableTau(method.shift_min, scale_max=settings.scale_max)
    if isinstance(settings, IndividualModulator):
        return IndividualTau(
            _start(scheduled, pairs, settings),
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            tau_min=settings.tau_min,
            tau_max=settings.tau_max,
        )
    if isinstance(settings, TempNetModulator):
        return TempNet(
            dim,
            tau_min=method.shift_min,
            tau_max=method.shift_max,
            prototypes=settings.prototypes,
            dropout=settings.dropout,
            learning_rate=settings.learning_rate,
            decay=settings.decay,
            epoch_steps=epoch_steps,
        )
    return scheduled


def period(method: Method, total_steps: int) -> float:
    """Steps of an oscillation (not in the paper; its code has 5 oscillations over all steps)."""
    return total_steps / method.oscillations


def _start(
    scheduled: ScheduledShift, pairs: Pairs, settings: IndividualModulator
) -> tuple[Tensor, Tensor]:
    """The shift of each item's first caption, [items], and of each caption, [captions]."""
    # a shift at an end of the range may lie outside by a rounding error of float32
    captions = scheduled.shift_of[pairs.cluster_id].clamp(settings.tau_min, settings.tau_max)
    return captions[pairs.first[:-1]], captions

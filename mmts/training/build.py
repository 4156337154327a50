"""A method's settings -> its objective and its modulator."""

from __future__ import annotations

import pandas as pd
from torch import nn

from mmts.losses import Objective
from mmts.method import Method
from mmts.modulators.scheduled import ScheduledShift
from mmts.towers.model import Model
from mmts.training.pairs import Pairs
from mmts.training.tau_and_loss import Term


def build_objective(method: Method, samples: int, captions: int | None = None) -> Objective:
    """The objective of a method.

    Args:
        method: its settings.
        samples, captions: media items and captions of the training split, for what has a state for
            each of them; None is one caption an item.
    """
    built: Objective = method.objective.build(samples, captions)
    return built


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
    if (schedule := method.schedule) is None:
        scheduled = ScheduledShift(shifts, alpha=0.0, period=total_steps)
    else:
        schedule.check(method.alpha, total_steps)
        scheduled = ScheduledShift(
            shifts,
            alpha=method.alpha,
            period=schedule.period(total_steps),
            hold=schedule.hold(epoch_steps),
            schedule=schedule.value,
        )
    scheduled.check(pairs.cluster_id)
    built: nn.Module = method.modulator.build(
        method,
        scheduled,
        cluster_id=pairs.cluster_id,
        first=pairs.first,
        dim=dim,
        epoch_steps=epoch_steps,
    )
    return built


def build_terms(method: Method, model: Model) -> dict[str, tuple[float, Term]]:
    """Return the weight and the function of each loss term beside the objective."""
    return {name: (kind.weight, kind.build(model)) for name, kind in method.terms.items()}


def period(method: Method, total_steps: int) -> float | None:
    """Steps of an oscillation (not in the paper; its code has 5 oscillations over all steps)."""
    return None if method.schedule is None else float(method.schedule.period(total_steps))

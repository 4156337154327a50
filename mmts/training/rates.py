"""The learning rate of a step."""

from __future__ import annotations

import math

from mmts.settings.training import Train


def learning_rate(step: int, total: int, settings: Train) -> float:
    """Return the rate: a linear warm-up from warmup_from to learning_rate, then `schedule`.

    That goes to min_learning_rate, by half a cosine or in a straight line.
    """
    if step < settings.warmup_steps:
        span = settings.learning_rate - settings.warmup_from
        return settings.warmup_from + span * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    span = settings.learning_rate - settings.min_learning_rate
    if settings.schedule == "linear":
        return settings.min_learning_rate + span * (1 - min(done, 1.0))
    return settings.min_learning_rate + span * (1 + math.cos(math.pi * min(done, 1.0))) / 2

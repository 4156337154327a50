"""Modulators: (step, batch, vision, text) -> the tau of each sample.

Any objective takes what a modulator returns, as its temperature or as its margin: a number, [N], or
a pair (v2t, t2v) of [N].
"""

from __future__ import annotations

from mmts.modulators.individual import IndividualTau
from mmts.modulators.learnable import LearnableTau
from mmts.modulators.scheduled import ScheduledShift
from mmts.modulators.tempnet import TempNet

__all__ = ["IndividualTau", "LearnableTau", "ScheduledShift", "TempNet"]

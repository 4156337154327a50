"""Schedules: how the temperature (or margin) moves over the training."""

from __future__ import annotations

import reprlib
from abc import abstractmethod
from numbers import Real
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator

from mmts.errors import InputError, KindFault, blamed, kind_file
from mmts.registry import Registry
from mmts.settings.base import Settings

PROBED = 61
"""Steps of a training, and of its first oscillation, that `check` looks at."""


class ScheduleKind(Settings):
    """Base of the settings of a schedule. A kind needs a `label` and `value`."""

    kind: str
    oscillations: Annotated[float, Field(gt=0, le=1e6)] = 5.0
    """Over the whole training: period = total steps / oscillations."""
    update_every: Literal["step", "epoch"] = "step"
    """When it moves on."""
    label: ClassVar[str]
    """Its name in tables and figures, such as `cosine`."""

    @property
    def paper(self) -> bool:
        """Whether it is that of the paper, so that its rows are those of TS."""
        return False

    @abstractmethod
    def value(self, step: float, *, alpha: float, period: float) -> float:
        """Return the base of tau at a step, a number in [-alpha/2, alpha/2].

        The lowest tau of a method, shift_min - alpha/2, is checked before the training; a value
        outside of this range would break that promise, and is an error of `check`.

        Args:
            step: counted from 0; a figure asks for fractions too.
            alpha: peak-to-peak range, in units of tau; 0 is none.
            period: steps of an oscillation.
        """
        raise NotImplementedError

    def period(self, total_steps: int) -> float:
        """Return the steps of an oscillation."""
        return total_steps / self.oscillations

    def hold(self, epoch_steps: int) -> int:
        """Return the steps between two moves."""
        return epoch_steps if self.update_every == "epoch" else 1

    @property
    def words(self) -> str:
        """Its label, and that it moves once an epoch where it does."""
        return self.label + (" once an epoch" if self.update_every == "epoch" else "")

    def told(self, alpha: float) -> str:
        """Return the curve in words, for those who do not see the figure."""
        waves = "wave" if self.oscillations == 1 else "waves"
        return f"{self.oscillations:g} {self.label} {waves} of height {alpha:g}"

    def check(self, alpha: float, total_steps: int) -> None:
        """Raise InputError where a value is outside of [-alpha/2, alpha/2] in a training."""
        file = kind_file(type(self).__module__)
        with blamed(file):
            period = self.period(total_steps)
        for step in (end * n / PROBED for end in (total_steps, period) for n in range(PROBED)):
            with blamed(file):
                value = self.value(step, alpha=alpha, period=period)
            if not isinstance(value, Real):
                raise KindFault(
                    f"{file}: `value` of the schedule {self.kind} gives {reprlib.repr(value)}; let "
                    "it give a number"
                )
            if not abs(value) <= alpha / 2 * (1 + 1e-9):
                raise InputError(
                    f"the schedule {self.kind} has the value {value:.6g} at step {step:g} of "
                    f"{total_steps}, but alpha is {alpha:g}: mend its `value`, which must stay in "
                    "[-alpha/2, alpha/2]"
                )


SCHEDULES = Registry("schedule", "mmts.kinds.schedule", ScheduleKind)
Schedule = Annotated[Any, SCHEDULES, PlainValidator(SCHEDULES.optional)]

"""A method on one dataset: an objective, a modulator, and the numbers of its tau."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from mmts.kinds.modulator import MODULATORS, Modulator
from mmts.kinds.objective import Objective
from mmts.kinds.schedule import Schedule
from mmts.kinds.shift import Shift
from mmts.kinds.term import Terms
from mmts.settings.base import Name, Settings

MAX_TAU = 1e6
"""Of any number in a temperature or margin: with a larger one float32 would not do."""
Tau = Annotated[float, Field(ge=0, le=MAX_TAU)]
STEPS = 10_000
"""Of a training for which the range of a schedule is tried; how many there will be is not known."""


def _shift(value: Any) -> Any:
    """A name alone is short for the mapping with that clustering for the shift."""
    return {"shift": value} if isinstance(value, str) else value


class UsedClusterings(Settings):
    """Which of the dataset's clusterings a method uses, and for what."""

    shift: Name = "default"
    """Gives cluster_id and cluster_size."""
    relevancy: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """The relevancy of two captions is the share of these in which they have one cluster."""

    @model_validator(mode="after")
    def _no_repeats(self) -> UsedClusterings:
        if len(set(self.relevancy)) < len(self.relevancy):
            raise ValueError(f"relevancy {list(self.relevancy)} names one twice; name each once")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every clustering that is named, once."""
        return tuple(dict.fromkeys((self.shift, *self.relevancy)))


Clusterings = Annotated[UsedClusterings, BeforeValidator(_shift)]


class ShiftSettings(Settings):
    """What Eq. 6 needs."""

    shift_min: Tau
    """Shift of the smallest cluster. shift_min = shift_max is one tau for all."""
    shift_max: Tau
    """Shift of the largest cluster."""
    shift: Shift = None
    """How sizes map to the range; None where it has no width."""
    clustering: Clusterings = UsedClusterings()


class Method(ShiftSettings):
    """An objective and what gives its tau (the temperature, or the margin for max_margin).

    `mmts.config` makes it of an entry of `methods` and the numbers of a dataset. With the modulator
    `scheduled` it is, by Eq. 6-8, tau_i(step) = schedule(step) + shift(cluster_i), where the
    schedule is alpha cos(2 pi step / period) / 2, or another one.
    """

    objective: Objective
    modulator: Modulator = Field(
        default_factory=lambda: MODULATORS.load("scheduled").model_validate({})
    )
    alpha: Tau
    """Peak-to-peak range of the schedule; 0 for none."""
    schedule: Schedule = None
    """How the base moves; None where there is none."""
    terms: Terms = Field(default_factory=dict)
    """Loss terms beside the objective, by kind."""
    relevancy_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Pairs of a relevancy above it are no negatives; needs clustering.relevancy."""

    @property
    def quantity(self) -> str:
        """temperature or margin."""
        return str(self.objective.quantity)

    @property
    def matching(self) -> bool:
        """Whether a loss term has the model match, which it is then built for."""
        return any(term.uses_match for term in self.terms.values())

    def numbers(self) -> dict[str, Any]:
        """All settings for a record of the run; objective and modulator by name and by numbers."""
        found = self.model_dump(mode="json")
        for part in ("objective", "modulator"):
            numbers = found.pop(part)
            found |= {part: numbers.pop("kind"), f"{part}_numbers": numbers}
        return found

    @model_validator(mode="after")
    def _sound(self) -> Method:
        if self.shift_min > self.shift_max:
            raise ValueError(
                f"shift_min {self.shift_min:.6g} is above shift_max {self.shift_max:.6g}; raise "
                "shift_max or lower shift_min"
            )
        if self.shift is None and self.shift_min < self.shift_max:
            raise ValueError(
                f"shift_min {self.shift_min:.6g} and shift_max {self.shift_max:.6g} differ, but "
                "the method has no shift: add one, such as `shift: linear`"
            )
        if self.schedule is None and self.alpha:
            raise ValueError(
                f"alpha is {self.alpha:.6g}, but the method has no schedule: add one, such as "
                "`schedule: cosine`"
            )
        _check_lowest(self)
        if self.schedule is not None:
            self.schedule.check(self.alpha, total_steps=STEPS)
        self.modulator.check(self)
        for term in self.terms.values():
            term.check(self)
        return self


def _check_lowest(method: Method) -> None:
    lowest = method.shift_min - method.alpha / 2
    told = f"shift_min - alpha/2 is {method.shift_min} - {method.alpha}/2 = {lowest:.4g}"
    if method.quantity == "temperature" and lowest <= 1e-9:
        raise ValueError(
            f"{told}; a temperature must stay above 0: raise shift_min (without shifts: fixed) or "
            "lower alpha"
        )
    if method.quantity == "margin" and lowest < -1e-9:
        raise ValueError(
            f"{told}; a margin must not fall below 0: raise shift_min (without shifts: fixed) or "
            "lower alpha"
        )

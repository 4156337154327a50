"""The settings of a method: an objective, a modulator, and the numbers of its tau."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from mmts.kinds import (
    IndividualModulator,
    LearnableModulator,
    Modulator,
    Objective,
    ScheduledModulator,
    TempNetModulator,
    quantity,
)
from mmts.schedule import auto_range
from mmts.settings import Name, Settings

MAX_TAU = 1e6
"""Of any number in a temperature or margin: with a larger one float32 would not do."""


def _shift(value: Any) -> Any:
    """A name alone is short for the mapping with that clustering for the shift."""
    return {"shift": value} if isinstance(value, str) else value


def _number(value: Any) -> Any:
    """A number; `auto` is one by now, where tau_default is sound."""
    if isinstance(value, str):
        raise ValueError(f"it is {value!r}; write a number, or auto")
    return value


Tau = Annotated[float, Field(ge=0, le=MAX_TAU)]
Auto = Annotated[Tau, BeforeValidator(_number)]


class UsedClusterings(Settings):
    """Which of the dataset's clusterings a method uses, and for what."""

    shift: Name
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


class ShiftSettings(Settings):
    """What Eq. 6 needs. `auto` in place of a number is `auto_range` of tau_default."""

    tau_default: Annotated[float, Field(gt=0, le=MAX_TAU)]
    """The temperature (or margin) that the recipe has without schedules; `auto` builds on it."""
    shift_min: Auto
    """Shift of the smallest cluster. shift_min = shift_max is one tau for all."""
    shift_max: Auto
    """Shift of the largest cluster."""
    shift_mapping: Literal["linear", "log", "rank"]
    """How sizes map to the range: linear in the size (Eq. 6), in its logarithm, or in its rank."""
    clustering: Annotated[UsedClusterings, BeforeValidator(_shift)]
    _auto: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _resolve(cls, values: Any, handler: ModelWrapValidatorHandler[ShiftSettings]) -> Any:
        """Numbers in place of `auto`, so that nobody else has to know of it."""
        default = values.get("tau_default") if isinstance(values, dict) else None
        if not isinstance(default, (int, float)) or not 0 < default <= MAX_TAU:
            return handler(values)
        range_ = auto_range(default)._asdict()
        chosen = {name: range_[name] for name in range_ if values.get(name) == "auto"}
        found = handler({**values, **chosen})
        found._auto = tuple(chosen)
        return found

    @property
    def auto(self) -> str:
        """What `auto` chose, in a line, or nothing."""
        if not self._auto:
            return ""
        chosen = ", ".join(f"{name} {getattr(self, name):.4g}" for name in self._auto)
        return f"auto: {chosen} (tau_default {self.tau_default:.4g})"


class Method(ShiftSettings):
    """An objective and what gives its tau (the temperature, or the margin for max_margin).

    With the modulator `scheduled` it is, by Eq. 6-8,
    tau_i(step) = alpha cos(2 pi step / period) / 2 + shift(cluster_i).
    """

    objective: Objective
    modulator: Modulator = ScheduledModulator()
    alpha: Auto
    """Peak-to-peak range of the cosine; 0 for none."""
    oscillations: Annotated[float, Field(gt=0, le=1e6)] = 5.0
    """Oscillations over the whole training: period = total steps / oscillations."""
    update_every: Literal["step", "epoch"] = "step"
    """When the cosine moves on."""
    relevancy_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Pairs of a relevancy above it are no negatives; needs clustering.relevancy."""

    @property
    def quantity(self) -> str:
        """temperature or margin."""
        return quantity(self.objective.kind)

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
        _check_lowest(self)
        if self.modulator.kind != "scheduled":
            _check_learned(self)
        if "relevancy_threshold" in self.model_fields_set and not self.clustering.relevancy:
            raise ValueError(
                "relevancy_threshold needs a clustering: write `clustering: {shift: NAME, "
                "relevancy: [NAME]}`"
            )
        return self


def _check_lowest(method: Method) -> None:
    lowest = method.shift_min - method.alpha / 2
    told = f"shift_min - alpha/2 is {method.shift_min} - {method.alpha}/2 = {lowest:.4g}"
    if method.quantity == "temperature" and lowest <= 1e-9:
        raise ValueError(f"{told}; a temperature must stay above 0: raise shift_min or lower alpha")
    if method.quantity == "margin" and lowest < -1e-9:
        raise ValueError(f"{told}; a margin must not fall below 0: raise shift_min or lower alpha")


def _check_learned(method: Method) -> None:
    """What a learned temperature asks of the rest."""
    objective, modulator = method.objective.kind, method.modulator
    low, high, kind = method.shift_min, method.shift_max, modulator.kind
    if method.alpha != 0:
        raise ValueError(
            f"alpha is {method.alpha}, but the modulator {kind} has no schedule: set it to 0"
        )
    if method.quantity == "margin":
        raise ValueError(
            f"the modulator {kind} learns a temperature, but the objective {objective} takes a "
            "margin: set one of them to another"
        )
    if kind in ("individual", "tempnet") and objective != "sogclr":
        raise ValueError(
            f"the modulator {kind} learns by the gradient of sogclr, but the objective is "
            f"{objective}: set it to sogclr"
        )
    if isinstance(modulator, LearnableModulator):
        if low != high:
            raise ValueError(
                f"shift_min {low} and shift_max {high} differ, but the modulator learnable starts "
                "at one temperature: set both to it"
            )
        if low * modulator.scale_max < 1 - 1e-9:
            raise ValueError(
                f"the modulator learnable starts at {low}, below 1/scale_max = "
                f"{1 / modulator.scale_max:.4g}: raise shift_min and shift_max, or scale_max"
            )
    if isinstance(modulator, IndividualModulator) and not (
        modulator.tau_min <= low and high <= modulator.tau_max
    ):
        raise ValueError(
            f"shifts {low}..{high}, where the modulator individual starts, are outside its "
            f"tau_min..tau_max, {modulator.tau_min}..{modulator.tau_max}: widen the one or narrow "
            "the other"
        )
    if isinstance(modulator, TempNetModulator) and low == high:
        raise ValueError(
            f"shift_min and shift_max are both {low}, but the modulator tempnet predicts between "
            "them: set them apart"
        )

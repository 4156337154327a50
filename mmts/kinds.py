"""The kinds of objective and of modulator, with the numbers of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mmts.settings import Settings, Share, Width

Above0 = Annotated[float, Field(gt=0)]
From0 = Annotated[float, Field(ge=0)]
Above0To1 = Annotated[float, Field(gt=0, le=1)]


def _kind(value: Any) -> Any:
    """A name alone is short for the mapping with that kind."""
    if not isinstance(value, (str, dict)):
        shown = "null" if value is None else repr(value)
        raise ValueError(f"it is {shown}; write a name, or a mapping with `kind`")
    return {"kind": value} if isinstance(value, str) else value


def quantity(objective: str) -> str:
    """What an objective takes as tau: a temperature or a margin."""
    return "margin" if objective == "max_margin" else "temperature"


# --- objectives --------------------------------------------------------------------------------


class InfoNCEObjective(Settings):
    """`mmts.losses.info_nce`."""

    kind: Literal["info_nce"]


class MaxMarginObjective(Settings):
    """`mmts.losses.max_margin`."""

    kind: Literal["max_margin"]


class SigLIPObjective(Settings):
    """`mmts.losses.siglip`."""

    kind: Literal["siglip"]
    bias: float = -10.0
    """Start of the learned bias."""


class CyCLIPObjective(Settings):
    """`mmts.losses.cyclip`."""

    kind: Literal["cyclip"]
    inmodal: From0 = 0.25
    """Weight of the consistency within either modality."""
    crossmodal: From0 = 0.25
    """Weight of the consistency between the two directions."""


class SogCLRObjective(Settings):
    """`mmts.losses.sogclr`."""

    kind: Literal["sogclr"]
    gamma: Above0To1 = 0.9
    """Weight of the present batch in each sample's moving average."""
    rho: From0 = 0.0
    """Pulls learned temperatures down; nothing to a fixed one."""
    floor: Annotated[float, Field(ge=0, lt=1)] = 1e-14
    """Lowest moving average, as in the authors' code; 0 for none, as in the papers."""


class ArctanhObjective(Settings):
    """`mmts.losses.arctanh`; a tau of 1 is the temperature-free loss."""

    kind: Literal["arctanh"]


Objective = Annotated[
    InfoNCEObjective
    | MaxMarginObjective
    | SigLIPObjective
    | CyCLIPObjective
    | SogCLRObjective
    | ArctanhObjective,
    Field(discriminator="kind"),
    BeforeValidator(_kind),
]


# --- modulators --------------------------------------------------------------------------------


class ScheduledModulator(Settings):
    """Cosine and shift: fixed, TS, ICS and MM-TS."""

    kind: Literal["scheduled"] = "scheduled"


class LearnableModulator(Settings):
    """One learned temperature, as in CLIP; starts at shift_min = shift_max."""

    kind: Literal["learnable"]
    scale_max: Above0 = 100.0
    """1/tau stays at or below this."""


class IndividualModulator(Settings):
    """A learned temperature for each media item and caption, as in iSogCLR; starts at the shift."""

    kind: Literal["individual"]
    learning_rate: Above0 = 0.01
    momentum: Above0To1 = 0.9
    """Weight of the present gradient in its moving average."""
    tau_min: Above0 = 0.005
    tau_max: Above0 = 1.0


class TempNetModulator(Settings):
    """A small network that predicts each sample's temperature in shift_min..shift_max."""

    kind: Literal["tempnet"]
    prototypes: Width = 256
    dropout: Share = 0.5
    learning_rate: Above0 = 3e-5
    """Of its own, beside train.learning_rate, and without warm-up."""
    decay: Above0To1 = 0.9
    """What each epoch multiplies its learning rate by."""


Modulator = Annotated[
    ScheduledModulator | LearnableModulator | IndividualModulator | TempNetModulator,
    Field(discriminator="kind"),
    BeforeValidator(_kind),
]

"""The kinds of objective and of modulator: their settings, and what they build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator

from mmts.registry import Registry
from mmts.settings.base import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmts.losses import Objective as Loss
    from mmts.method import Method
    from mmts.modulators.scheduled import ScheduledShift

Above0 = Annotated[float, Field(gt=0)]
From0 = Annotated[float, Field(ge=0)]
Above0To1 = Annotated[float, Field(gt=0, le=1)]

OBJECTIVES = Registry("objective", "mmts.kinds.objective")
MODULATORS = Registry("modulator", "mmts.kinds.modulator")
VISION_TOWERS = Registry("vision tower", "mmts.towers.vision")
TEXT_TOWERS = Registry("text tower", "mmts.towers.text")


class ObjectiveKind(Settings):
    """Base of the settings of an objective."""

    kind: str
    quantity: ClassVar[Literal["temperature", "margin"]] = "temperature"
    """What it takes as tau."""
    label: ClassVar[str]
    """Its name in tables and figures."""

    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the objective.

        Args:
            samples, captions: media items and captions of the training split, for what has a state
                for each of them; None is one caption an item.
        """
        raise NotImplementedError


class ModulatorKind(Settings):
    """Base of the settings of a modulator."""

    kind: str

    def check(self, method: Method) -> None:
        """Raise ValueError if the method cannot have this modulator."""

    def build(
        self, method: Method, scheduled: ScheduledShift, *,
        cluster_id: Tensor, first: Tensor, dim: int, epoch_steps: int,
    ) -> nn.Module:  # fmt: skip
        """Return the modulator.

        Args:
            method: its settings.
            scheduled: the cosine and the shifts of the method.
            cluster_id: [captions], of the training split.
            first: [items + 1], where the captions of each item begin.
            dim: of the features.
            epoch_steps: steps of an epoch.
        """
        raise NotImplementedError


Objective = Annotated[Any, OBJECTIVES, PlainValidator(OBJECTIVES.validated)]
Modulator = Annotated[Any, MODULATORS, PlainValidator(MODULATORS.validated)]


def quantity(objective: str) -> str:
    """Return what an objective takes as tau, temperature or margin; KeyError if there is none."""
    return _objective(objective).quantity


def label(objective: str) -> str:
    """Return the name of an objective in tables and figures; KeyError if there is none."""
    return _objective(objective).label


def _objective(kind: str) -> type[ObjectiveKind]:
    found = OBJECTIVES.load(kind)
    assert issubclass(found, ObjectiveKind)
    return found


def check_learned(method: Method, kind: str) -> None:
    """Raise ValueError if the method has a schedule or a margin, which a learned tau has not."""
    if method.alpha != 0:
        raise ValueError(
            f"alpha is {method.alpha}, but the modulator {kind} has no schedule: leave out schedule"
        )
    if method.quantity == "margin":
        raise ValueError(
            f"the modulator {kind} learns a temperature, but the objective "
            f"{method.objective.kind} takes a margin: set one of them to another"
        )


def check_sogclr(method: Method, kind: str) -> None:
    """Raise ValueError unless the objective is sogclr, by whose gradient the modulator learns."""
    if method.objective.kind != "sogclr":
        raise ValueError(
            f"the modulator {kind} learns by the gradient of sogclr, but the objective is "
            f"{method.objective.kind}: set it to sogclr"
        )

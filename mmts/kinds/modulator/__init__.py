"""Modulators: what gives the tau of each sample."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import PlainValidator

from mmts.kinds.objective import OBJECTIVES
from mmts.registry import Registry
from mmts.settings.base import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmts.method import Method
    from mmts.modulators.scheduled import ScheduledShift


class ModulatorKind(Settings):
    """Base of the settings of a modulator."""

    kind: str
    learned: ClassVar[bool] = True
    """Whether tau follows from more than schedule and shifts, so that only the log knows it."""
    label: ClassVar[str] = "learned"
    """What stands before its tau in tables and figures; nothing where it is not learned."""
    by_row: ClassVar[bool] = False
    """Whether the tau of a row needs no other row of the batch."""

    def check(self, method: Method) -> None:
        """Raise ValueError if the method cannot have this modulator."""

    @abstractmethod
    def build(
        self, method: Method, scheduled: ScheduledShift, *,
        cluster_id: Tensor, first: Tensor, dim: int, epoch_steps: int,
    ) -> nn.Module:  # fmt: skip
        """Return the modulator.

        Args:
            method: its settings.
            scheduled: the schedule and the shifts of the method.
            cluster_id: [captions], of the training split.
            first: [items + 1], where the captions of each item begin.
            dim: of the features.
            epoch_steps: steps of an epoch.
        """
        raise NotImplementedError


MODULATORS = Registry("modulator", "mmts.kinds.modulator", ModulatorKind)
Modulator = Annotated[Any, MODULATORS, PlainValidator(MODULATORS.validated)]


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


def check_learns_tau(method: Method, kind: str) -> None:
    """Raise ValueError unless a temperature of each sample can be learned by the objective."""
    if not method.objective.learns_tau:
        able = " or ".join(name for name in OBJECTIVES.kinds if OBJECTIVES.load(name).learns_tau)
        raise ValueError(
            f"the modulator {kind} learns by the gradient of {able}, but the objective is "
            f"{method.objective.kind}: set it to {able}"
        )

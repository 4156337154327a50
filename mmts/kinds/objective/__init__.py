"""Objectives: what a method minimises."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import PlainValidator

from mmts.registry import Registry
from mmts.settings.base import Settings

if TYPE_CHECKING:
    from mmts.losses import Objective as Loss


class ObjectiveKind(Settings):
    """Base of the settings of an objective."""

    kind: str
    quantity: ClassVar[Literal["temperature", "margin"]] = "temperature"
    """What it takes as tau."""
    label: ClassVar[str]
    """Its name in tables and figures."""
    temperature_free: ClassVar[bool] = False
    """Whether it is meant for a tau of 1, which is no number to choose or to tell."""
    learns_tau: ClassVar[bool] = False
    """Whether a temperature of each sample can be learned by its gradient, as iSogCLR does."""
    by_row: ClassVar[bool] = False
    """Whether it takes `group=`, and computes the rows of a rank on that rank alone. Others see the
    batch of all ranks on each."""

    @property
    def words(self) -> str:
        """What of its numbers the page says after the temperature; empty for nothing."""
        return ""

    @abstractmethod
    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the objective.

        Args:
            samples, captions: media items and captions of the training split, for what has a state
                for each of them; None is one caption an item.
        """
        raise NotImplementedError


OBJECTIVES = Registry("objective", "mmts.kinds.objective", ObjectiveKind)
Objective = Annotated[Any, OBJECTIVES, PlainValidator(OBJECTIVES.validated)]


def quantity(objective: str) -> str:
    """Return what an objective takes as tau, temperature or margin; KeyError if there is none."""
    return OBJECTIVES.load(objective).quantity


def label(objective: str) -> str:
    """Return the name of an objective in tables and figures; KeyError if there is none."""
    return OBJECTIVES.load(objective).label

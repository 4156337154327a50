"""SogCLR (arXiv 2202.12387); with a learned tau iSogCLR and TempNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmts.kinds import Above0To1, From0
from mmts.kinds.objective import ObjectiveKind

if TYPE_CHECKING:
    from mmts.losses import Objective as Loss


class Kind(ObjectiveKind):
    """`mmts.losses.sogclr`."""

    kind: Literal["sogclr"]
    label = "SogCLR"
    learns_tau = True
    gamma: Above0To1 = 0.9
    """Weight of the present batch in each sample's moving average."""
    rho: From0 = 0.0
    """Pulls learned temperatures down; nothing to a fixed one."""
    floor: Annotated[float, Field(ge=0, lt=1)] = 1e-14
    """Lowest moving average, as in the authors' code; 0 for none, as in the papers."""

    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the module."""
        from mmts.losses.sogclr import SogCLR

        return SogCLR(samples, self.gamma, self.rho, captions=captions, floor=self.floor)

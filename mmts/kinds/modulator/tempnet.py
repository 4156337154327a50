"""A small network that predicts each temperature: TempNet (arXiv 2404.04575)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from mmts.kinds import Above0, Above0To1
from mmts.kinds.modulator import ModulatorKind, check_learned, check_learns_tau
from mmts.settings.base import Share, Width

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmts.method import Method
    from mmts.modulators.scheduled import ScheduledShift


class Kind(ModulatorKind):
    """`mmts.modulators.tempnet`."""

    kind: Literal["tempnet"]
    label = "predicted"
    tau_min: Above0
    tau_max: Above0
    """It predicts between the two."""
    prototypes: Width = 256
    dropout: Share = 0.5
    learning_rate: Above0 = 3e-5
    """Of its own, beside train.learning_rate, and without warm-up."""
    decay: Above0To1 = 0.9
    """What each epoch multiplies its learning rate by."""

    @model_validator(mode="after")
    def _range(self) -> Kind:
        if self.tau_min >= self.tau_max:
            raise ValueError(
                f"tau_min {self.tau_min} is not below tau_max {self.tau_max}, and tempnet predicts "
                "between them: set them apart"
            )
        return self

    def check(self, method: Method) -> None:
        """Raise ValueError if the method has a schedule or another objective."""
        check_learned(method, self.kind)
        check_learns_tau(method, self.kind)

    def build(
        self, method: Method, scheduled: ScheduledShift, *,
        cluster_id: Tensor, first: Tensor, dim: int, epoch_steps: int,
    ) -> nn.Module:  # fmt: skip
        """Return the module."""
        from mmts.modulators.tempnet import TempNet

        return TempNet(
            dim,
            tau_min=self.tau_min,
            tau_max=self.tau_max,
            prototypes=self.prototypes,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            decay=self.decay,
            epoch_steps=epoch_steps,
        )

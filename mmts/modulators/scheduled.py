"""Schedule plus cluster shift: MM-TS and its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.schedule import Schedule, per_sample_tau, tau_base

if TYPE_CHECKING:
    import pandas as pd

    from mmts.training.batch import Batch


class ScheduledShift(nn.Module):
    """MM-TS and its parts: cosine schedule plus cluster shift (Eq. 6-8, arXiv 2603.08202).

    alpha 0 and equal shifts are a fixed tau (the baseline); alpha alone is TS, shifts alone ICS.
    TS with `hold` = the steps of an epoch is the unimodal schedule of Kukleva et al. 2023
    (arXiv 2303.13664), which moves once an epoch.
    The shift of a cluster_id is looked up in a buffer, which moves to the device with the module.
    """

    shift_of: Tensor

    def __init__(
        self, shifts: pd.DataFrame, *, alpha: float, period: float, hold: int = 1,
        schedule: Schedule = tau_base,
    ) -> None:  # fmt: skip
        """
        Args:
            shifts: the shift table, columns `cluster_id` and `shift`.
            alpha, period: see `mmts.schedule.tau_base`.
            hold: steps between two moves of the base temperature.
            schedule: gives the base temperature; the cosine, or a function like it.
        """
        super().__init__()
        tau_base(0, alpha=alpha, period=period)  # checks the numbers
        if hold < 1:
            raise InputError(f"hold is {hold}; it must be a number of steps >= 1")
        self.alpha, self.period, self.hold, self.schedule = alpha, period, hold, schedule
        ids = torch.from_numpy(shifts["cluster_id"].to_numpy().astype("int64"))
        if not len(ids) or ids.min() < 0 or len(set(ids.tolist())) < len(ids):
            raise InputError("cluster_id of the shift table must be different numbers >= 0")
        table = torch.full((int(ids.max()) + 1,), torch.nan, dtype=torch.float32)
        table[ids] = torch.from_numpy(shifts["shift"].to_numpy().astype("float32"))
        self.register_buffer("shift_of", table)

    def check(self, cluster_id: Tensor) -> None:
        """InputError naming the first cluster_id that the shift table does not have."""
        known = ~torch.isnan(self.shift_of)
        ok = (cluster_id >= 0) & (cluster_id < len(known))
        ok &= known[cluster_id.clamp(0, len(known) - 1)]
        if not bool(ok.all()):
            first = int(cluster_id[~ok][0])
            raise InputError(
                f"cluster_id {first} of a training row is not in the shift table; run "
                "`dvc repro -sf shift`"
            )

    def forward(self, step: int, batch: Batch, vision: Tensor, text: Tensor) -> Tensor:
        """Return tau of each sample of the batch, [N] float32.

        Raises:
            InputError: the schedule leaves its range.
        """
        base = self.schedule(step - step % self.hold, alpha=self.alpha, period=self.period)
        if not abs(base) <= self.alpha / 2 * (1 + 1e-9):
            raise InputError(
                f"the schedule has the value {base:.6g} at step {step}, outside of [-alpha/2, "
                f"alpha/2] with alpha {self.alpha:g}; mend its `value`"
            )
        return per_sample_tau(base, self.shift_of[batch.cluster_id])

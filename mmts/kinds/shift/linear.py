"""Shifts linear in the size: Eq. 6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.shift import ShiftKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Kind(ShiftKind):
    """Linear in the size (Eq. 6): in a long tail, most clusters are near shift_min."""

    kind: Literal["linear"]
    label = "the size"
    paper = True

    def place(
        self, size: NDArray[np.float64], *, size_min: float, size_max: float,
        sizes: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return (size - size_min) / (size_max - size_min)."""
        return (size - size_min) / (size_max - size_min)

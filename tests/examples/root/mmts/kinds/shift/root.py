"""Shifts by the square root of the size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.shift import ShiftKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Kind(ShiftKind):
    """Linear in the square root of the size, between `linear` and `log`."""

    kind: Literal["root"]
    label = "the square root of the size"

    def place(
        self, size: NDArray[np.float64], *, size_min: float, size_max: float,
        sizes: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return (sqrt(size) - sqrt(size_min)) / (sqrt(size_max) - sqrt(size_min))."""
        return (size**0.5 - size_min**0.5) / (size_max**0.5 - size_min**0.5)

"""Shifts linear in the logarithm of the size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.errors import InputError
from mmts.kinds.shift import ShiftKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Kind(ShiftKind):
    """Linear in the logarithm of the size, which spreads a long tail."""

    kind: Literal["log"]
    label = "the logarithm of the size"

    def place(
        self, size: NDArray[np.float64], *, size_min: float, size_max: float,
        sizes: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return log(size / size_min) / log(size_max / size_min)."""
        import numpy as np

        if size_min <= 0:
            raise InputError(f"size_min is {size_min}; mapping log needs sizes above 0")
        place: NDArray[np.float64] = np.log(size / size_min) / np.log(size_max / size_min)
        return place

"""Shifts linear in the rank of the size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.errors import InputError
from mmts.kinds.shift import ShiftKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Kind(ShiftKind):
    """Linear in the rank of the cluster by size: clusters spread evenly, whatever their sizes."""

    kind: Literal["rank"]
    label = "the rank of the size"

    def place(
        self, size: NDArray[np.float64], *, size_min: float, size_max: float,
        sizes: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return the mean rank of the clusters of each size; between two sizes, interpolated."""
        import numpy as np

        if sizes is None:
            raise InputError("mapping rank needs sizes, those of all training clusters; give them")
        known, counts = np.unique(np.asarray(sizes, dtype=np.float64), return_counts=True)
        if not len(known) or known[0] != size_min or known[-1] != size_max:
            ends = f"{known[0]:g}..{known[-1]:g}" if len(known) else "empty"
            raise InputError(
                f"sizes are {ends}, but size_min and size_max are {size_min:g} and {size_max:g}; "
                "give those of the same clustering"
            )
        mean_rank = np.cumsum(counts) - (counts - 1) / 2
        from_0_to_1 = (mean_rank - mean_rank[0]) / (mean_rank[-1] - mean_rank[0])
        place: NDArray[np.float64] = np.interp(size, known, from_0_to_1)
        return place

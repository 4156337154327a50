"""Shifts: where the size of a cluster puts its temperature (or margin) in the range."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import PlainValidator

from mmts.registry import Registry
from mmts.settings.base import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ShiftKind(Settings):
    """Base of the settings of a shift. A kind needs a `label` and `place`."""

    kind: str
    label: ClassVar[str]
    """What shifts go by, for tables and figures, such as `the logarithm of the size`."""
    paper: ClassVar[bool] = False
    """Whether it is that of the paper, so that its rows are those of ICS."""

    @abstractmethod
    def place(
        self, size: NDArray[np.float64], *, size_min: float, size_max: float,
        sizes: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return where clusters stand between shift_min (0) and shift_max (1).

        Args:
            size: of these clusters, any shape.
            size_min, size_max: of the smallest and the largest training cluster, which differ.
            sizes: [clusters], of all training clusters, where they are known.
        """
        raise NotImplementedError


SHIFTS = Registry("shift", "mmts.kinds.shift", ShiftKind)
Shift = Annotated[Any, SHIFTS, PlainValidator(SHIFTS.optional)]

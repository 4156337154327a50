"""Numbers beside each picture, such as what a sensor measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mmts.kinds.stream import StreamKind
from mmts.settings.base import Positive, Text, Width

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


class Kind(StreamKind):
    """A list of numbers an item; in a CSV file, numbers with blanks between them."""

    kind: Literal["numbers"]
    column: Text
    length: Positive
    """Numbers of an item."""
    width: Width = 64
    """Features that they become."""
    extension = "f32"
    label = "numbers"

    def pack(self, value: Any) -> bytes:
        """Return the numbers as float32; ValueError where there are more or fewer."""
        import numpy as np

        numbers = np.asarray(value.split() if isinstance(value, str) else value, "<f4")
        if numbers.shape != (self.length,):
            raise ValueError(f"it has {numbers.size} numbers, but length is {self.length}")
        return numbers.tobytes()

    def load(self, data: bytes, rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Return the numbers; in training, with a little noise."""
        import numpy as np

        numbers = np.frombuffer(data, "<f4")
        if rng is not None:
            numbers = numbers + rng.normal(0, 0.01, numbers.shape)
        return numbers.astype(np.float32)

    def encoder(self) -> nn.Module:
        """Return two layers."""
        from torch import nn

        class Numbers(nn.Sequential):
            dim = self.width

        return Numbers(
            nn.Linear(self.length, self.width), nn.GELU(), nn.Linear(self.width, self.width)
        )

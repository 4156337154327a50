"""What every model is: named streams of media items and texts -> rows in one space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

Streams = Mapping[str, Tensor]
"""Of N media items by name: `features` [N, D] of a frozen tower; `image` [N, 3, H, W] or `frames`
[N, T, 3, H, W], both uint8; and what else a dataset has (`datasets.NAME.streams`). Only a model
looks inside."""


class Encoded(NamedTuple):
    """Media items as a model sees them.

    rows: [N, D] unit rows. context: [N, L, W], what `Model.match` reads of them; None without.
    """

    rows: Tensor
    context: Tensor | None = None


class EncodedPairs(NamedTuple):
    """N encoded pairs: unit rows of both sides, [N, D], and the context of the media items."""

    vision: Tensor
    text: Tensor
    context: Tensor | None = None


class Model(nn.Module, ABC):
    """What training and evaluation call.

    Attributes:
        dim: D of the rows.
        matches: whether it gives a context and can `match`.
        loaded: of each part that started from weights, the settings' `weights`, their fingerprint
            and, where the hub's cache tells it, their revision.
    """

    dim: int
    matches: bool = False
    loaded: Mapping[str, Mapping[str, str]] = {}

    @property
    def shapes(self) -> Mapping[str, Mapping[str, Any]]:
        """Of each part that has one, what it takes to build it again, see `Tower.shape`."""
        return {}

    @abstractmethod
    def encode_vision(self, streams: Streams) -> Encoded:
        """Return the rows of media items, and their context where the model can match."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return the unit rows [N, D] of texts: token ids [N, L], or features [N, Dt]."""

    def features(self, streams: Streams) -> Tensor:
        """Return features of media items to cluster, [N, F]: the rows, or what is before a head."""
        return self.encode_vision(streams).rows

    def match(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Return logits of whether texts describe media items; class 1 is yes.

        Args:
            context: [N, L, W] of `encode_vision`.
            tokens: [N, T], a text an item, for logits [N, 2]; or [N, M, T], M texts each, for
                [N, M, 2].

        Raises:
            NotImplementedError: the model was built without.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot match")

    def one_thread(self, side: str) -> bool:
        """Return whether one thread encodes a side, vision or text, fastest on a CPU."""
        return False

    def forward(self, streams: Streams, tokens: Tensor) -> EncodedPairs:
        """Return the rows of both sides."""
        rows, context = self.encode_vision(streams)
        return EncodedPairs(rows, self.encode_text(tokens), context)

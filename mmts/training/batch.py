"""What a training step gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmts.errors import InputError

NO_CLASSES = torch.empty(0, 0, dtype=torch.int64)
NO_CAPTIONS = torch.empty(0, dtype=torch.int64)


class Batch(NamedTuple):
    """N pairs.

    streams: of the media items by name, see `mmts.towers.model.Streams`.
    text: [N, Dt] features of a frozen tower, or [N, L] token ids.
    cluster_id: [N] int64, the cluster of each drawn caption.
    index: [N] int64, stable number of each media item.
    classes: [N, C] int64, the cluster of each drawn caption in each of the clusterings that give
        the relevancy; C is 0 where there are none.
    caption: [N] int64, stable number of each drawn caption, or of the item's first caption where
        the drawn one is another item's; empty where `index` numbers the captions too.
    """

    streams: Mapping[str, Tensor]
    text: Tensor
    cluster_id: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    classes: Tensor = NO_CLASSES
    caption: Tensor = NO_CAPTIONS

    @property
    def ids(self) -> Tensor | tuple[Tensor, Tensor]:
        """What objectives with a state take as `index`: of the items, with captions a pair."""
        return (self.index, self.caption) if len(self.caption) else self.index

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on `device`."""
        streams, *others = self
        return Batch(
            sent(streams, device), *(other.to(device, non_blocking=True) for other in others)
        )

    def part(self, rows: slice) -> Batch:
        """Return the inputs of some pairs; what is said of them stays that of all."""
        streams = {name: stream[rows] for name, stream in self.streams.items()}
        return self._replace(streams=streams, text=self.text[rows])


def sent(streams: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return streams on a device."""
    return {name: stream.to(device, non_blocking=True) for name, stream in streams.items()}


def together(pieces: Sequence[Batch]) -> Batch:
    """Return the pairs of several batches as one."""
    if len(pieces) == 1:
        return pieces[0]
    streams, *others = zip(*pieces, strict=True)
    for name, first in streams[0].items():
        for other in streams:
            if other[name].shape[1:] != first.shape[1:]:
                raise InputError(
                    f"stream {name}: items of {list(first.shape[1:])} and of "
                    f"{list(other[name].shape[1:])} are in one batch; its `load` must give one "
                    "shape"
                )
    joined = {name: torch.cat([of[name] for of in streams]) for name in streams[0]}
    return Batch(joined, *(torch.cat(field) for field in others))

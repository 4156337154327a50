"""A stream of numbers, as tests/examples/numbers has it, in a module that processes import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from mmts.kinds.stream import Origin, StreamKind
from mmts.shards import Item


class Numbers(StreamKind):
    """Whole numbers up to 255, a byte each."""

    kind: Literal["numbers"] = "numbers"
    column: str = "readings"
    extension: ClassVar[str] = "u8"
    label: ClassVar[str] = "numbers"

    def pack(self, value: Any) -> bytes:
        return bytes(value)

    def load(self, data: bytes, rng: Any) -> Any:
        if not data:
            raise ValueError("it is empty")
        return np.frombuffer(data, np.uint8)

    def encoder(self) -> Any:
        raise NotImplementedError


class Times(StreamKind):
    """Cut from the media: its name, and start and stop, of all clips in one call."""

    kind: Literal["times"] = "times"
    extension: ClassVar[str] = "txt"
    label: ClassVar[str] = "times"

    def members(self, items: Sequence[Origin]) -> Iterable[bytes]:
        for item in items:
            yield f"{item.media} {item.start} {item.stop} of {len(items)}".encode()

    def load(self, data: bytes, rng: Any) -> Any:
        raise NotImplementedError

    def encoder(self) -> Any:
        raise NotImplementedError


STREAMS: dict[str, StreamKind] = {"readings": Numbers(), "times": Times()}


def with_readings(found: Sequence[Item]) -> list[Item]:
    """The items, each with numbers of its own."""
    return [i._replace(columns={"readings": [n, n + 1, n % 7]}) for n, i in enumerate(found)]

"""The sound of each clip, cut from its video at the times of its frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mmts.errors import InputError
from mmts.kinds.stream import Lacking, Origin, StreamKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Kind(StreamKind):
    """Sound of a clip: 16 kHz mono WAV in the shards, slices of a filterbank in the model."""

    kind: Literal["audio"]
    column: None = None
    mel_bins: Annotated[int, Field(ge=8, le=128)] = 64
    """Bands of Kaldi's filterbank: 64 as VAST has it by default, 128 as BEATs was trained with."""
    slices: Annotated[int, Field(gt=0, le=64)] = 1
    """Slices of 10.24 s that are read of a clip: one of each of so many equal parts, a random one
    in training, else the middle one."""
    extension = "wav"
    label = "sound"
    noun = "sound"
    two_tower = False
    not_packed = frozenset({"mel_bins", "slices"})

    def members(self, items: Sequence[Origin]) -> Iterator[bytes | Lacking]:
        """Yield the sound of each clip of a video as WAV; clips may have none."""
        from mmts.audio.track import cut_sound, write_wav

        spans = []
        for item in items:
            if item.start is None or item.stop is None:
                raise InputError(
                    f"a stream of kind audio is cut from videos, and {item.media} is a picture; "
                    "leave the stream out"
                )
            spans.append((item.start, item.stop))
        for found in cut_sound(items[0].media, spans):
            yield Lacking(found) if isinstance(found, str) else write_wav(found)

    def load(self, data: bytes, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return the slices, [slices, 1024, mel_bins]; zeros of a clip without sound."""
        from mmts.audio.slices import load_slices

        return load_slices(data, self.slices, self.mel_bins, rng)

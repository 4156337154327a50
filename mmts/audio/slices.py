"""The slices of a clip's sound that a model reads, as VAST takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmts.audio.fbank import SHIFT, WINDOW, fbank, frame_count
from mmts.audio.track import Wav

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMES = 1024
"""Frames of a slice: 10.24 s."""
MEAN, DEVIATION = 15.41663, 6.55582
"""Normalisation of the filterbank in BEATs (Chen et al. 2022, arXiv 2212.09058)."""


def slice_count(frames: int, slices: int) -> int:
    """Return into how many slices a clip's frames are cut, of which `slices` are read.

    VAST appends max(1024 slices - frames, 1024 - frames mod 1024) frames of zeros, so that a clip
    of 1,024 frames has a second slice, of zeros alone.
    """
    padding = max(FRAMES * slices - frames, FRAMES - frames % FRAMES)
    return (frames + padding) // FRAMES


def chosen(count: int, slices: int, rng: np.random.Generator | None) -> Iterator[int]:
    """Yield one of each of `slices` nearly equal runs of `count` slices, the first runs longer.

    It is a random one with `rng`, and the middle one, or the first of two in the middle, without.
    """
    least, longer = divmod(count, slices)
    start = 0
    for run in range(slices):
        length = least + (run < longer)
        yield start + ((length + 1) // 2 - 1 if rng is None else int(rng.integers(length)))
        start += length


def load_slices(
    data: bytes, slices: int, mel_bins: int, rng: np.random.Generator | None = None
) -> NDArray[np.float32]:
    """Return the slices of a clip's sound, [slices, 1024, mel_bins], normalised.

    Only the samples of these slices are transformed. What lies behind the end of the sound is 0.

    Args:
        data: a WAV file (`write_wav`), or nothing for a clip without sound: all is 0 then.
        slices: how many are read.
        mel_bins: of the filterbank.
        rng: draws the slices; None takes the middle ones.

    Raises:
        ValueError: the data is another file.
    """
    import torch

    found = np.zeros((slices, FRAMES, mel_bins), np.float32)
    if not data:
        return found
    wav = Wav(data)
    count = slice_count(frame_count(len(wav)), slices)
    for out, number in zip(found, chosen(count, slices, rng), strict=True):
        first = number * FRAMES * SHIFT
        samples = wav.read(first, first + (FRAMES - 1) * SHIFT + WINDOW)
        frames = fbank(torch.from_numpy(samples), mel_bins).numpy()
        out[: len(frames)] = (frames - MEAN) / (2 * DEVIATION)
    return found

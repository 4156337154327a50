"""Kaldi's filterbank in plain torch."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

RATE = 16_000
WINDOW, SHIFT, FFT = 400, 160, 512
"""Samples of a frame (25 ms), from one frame to the next (10 ms), and of the transform."""
PREEMPHASIS, POVEY, FLOOR = 0.97, 0.85, 1.1920928955078125e-07
LOW, HIGH = 20.0, 8000.0
"""Hz of the lowest and the highest filter's ends."""


def frame_count(samples: int) -> int:
    """Return how many whole frames there are in so many samples (`snip_edges`)."""
    return 0 if samples < WINDOW else 1 + (samples - WINDOW) // SHIFT


def fbank(samples: Tensor, mel_bins: int) -> Tensor:
    """Return the log power in mel bands, [frames, mel_bins] float32.

    Kaldi's `compute-fbank-feats` without dither: the mean of each frame taken off, pre-emphasis
    0.97, a povey window, the natural logarithm of the power. In float64: with 128 bands a float32
    transform is 5e-4 off in the narrow ones.

    Args:
        samples: [N] at 16 kHz, in units of 16 bit integers.
        mel_bins: bands from 20 to 8,000 Hz.
    """
    import torch

    if len(samples) < WINDOW:
        return torch.empty(0, mel_bins)
    frames = samples.double().unfold(0, WINDOW, SHIFT)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    window = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64) ** POVEY
    frames = (frames - PREEMPHASIS * before) * window
    spectrum = torch.fft.rfft(frames, n=FFT)
    power = spectrum.real.square() + spectrum.imag.square()  # abs() takes twice the time
    bands: Tensor = power @ _filters(mel_bins)
    return bands.clamp(min=FLOOR).log().float()


@cache
def _filters(mel_bins: int) -> Tensor:
    """[FFT / 2 + 1, mel_bins]: triangles of equal width on the mel scale."""
    import torch

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    low, high = mel(torch.tensor([LOW, HIGH], dtype=torch.float64))
    edges = low + (high - low) * torch.arange(mel_bins + 2, dtype=torch.float64) / (mel_bins + 1)
    at = mel(torch.arange(FFT // 2 + 1, dtype=torch.float64) * RATE / FFT)[:, None]
    up = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return torch.minimum(up, down).clamp(min=0)

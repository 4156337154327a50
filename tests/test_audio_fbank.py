"""Kaldi's filterbank and VAST's slices, against `transformers.audio_utils` and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from mmts.audio import slices
from mmts.audio.fbank import fbank, frame_count
from mmts.audio.slices import FRAMES, chosen, load_slices, slice_count
from mmts.audio.track import write_wav

ZERO = -15.41663 / (2 * 6.55582)


def sound(samples: int, seed: int = 0) -> NDArray[np.int16]:
    """Tones, noise, and a tenth of digital silence in front."""
    rng, time = np.random.default_rng(seed), np.arange(samples) / 16_000
    found = 8000 * np.sin(2 * np.pi * (440 + 60 * time) * time) + rng.normal(0, 500, samples)
    found[: samples // 10] = 0
    return found.astype(np.int16)


def audio_utils(samples: NDArray[np.int16], mel_bins: int) -> Any:
    """[frames, mel_bins], as transformers makes it for its own models."""
    filters = mel_filter_bank(
        257, mel_bins, 20, 8000, 16_000, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    return spectrogram(
        samples.astype(np.float64), window_function(400, "povey", periodic=False), 400, 160,
        fft_length=512, power=2.0, center=False, preemphasis=0.97, mel_filters=filters,
        log_mel="log", mel_floor=1.192092955078125e-07, remove_dc_offset=True,
    ).T  # fmt: skip


@pytest.mark.filterwarnings("ignore:At least one mel filter:UserWarning")
@pytest.mark.parametrize("mel_bins", [64, 128])
def test_against_audio_utils(mel_bins: int) -> None:
    samples = sound(48_000)
    found = fbank(torch.from_numpy(samples), mel_bins)
    assert found.dtype == torch.float32 and found.shape == (298, mel_bins)
    assert np.abs(found.numpy() - audio_utils(samples, mel_bins)).max() < 3e-4


def test_frames_are_whole() -> None:
    for samples, frames in ((0, 0), (399, 0), (400, 1), (559, 1), (560, 2)):
        assert frame_count(samples) == frames == len(fbank(torch.zeros(samples), 64))


@pytest.mark.parametrize(
    ("frames", "one", "three"),
    [(0, 1, 3), (1, 1, 3), (1023, 1, 3), (1024, 2, 3), (1025, 2, 3), (2048, 3, 3), (3072, 4, 4)],
)
def test_numbers_of_slices(frames: int, one: int, three: int) -> None:
    assert (slice_count(frames, 1), slice_count(frames, 3)) == (one, three)


def test_the_middle_of_each_run() -> None:
    """As VAST chooses: index (length + 1) // 2 - 1 of a run, the first runs longer."""
    for count, of, wanted in (
        (1, 1, [0]), (2, 1, [0]), (3, 1, [1]), (4, 1, [1]), (5, 2, [1, 3]), (8, 3, [1, 4, 6]),
    ):  # fmt: skip
        assert list(chosen(count, of, None)) == wanted
        parts = np.array_split(np.arange(count), of)
        assert wanted == [int(part[(len(part) + 1) // 2 - 1]) for part in parts]
    rng = np.random.default_rng(0)
    drawn = np.array([list(chosen(8, 3, rng)) for _ in range(200)])
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [[0, 1, 2], [3, 4, 5], [6, 7]]


def whole(samples: NDArray[np.int16], count: int) -> NDArray[np.float32]:
    """[count, 1024, 64]: all slices of a sound, transformed at once."""
    frames = (fbank(torch.from_numpy(samples), 64).numpy() - 15.41663) / (2 * 6.55582)
    found = np.zeros((count * FRAMES, 64), np.float32)
    found[: len(frames)] = frames
    return found.reshape(count, FRAMES, 64)


@pytest.mark.parametrize("frames", [1, 1023, 1024, 1025, 2100])
def test_slices_of_a_sound(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = sound(400 + 160 * (frames - 1), frames)
    count = {1: 1, 1023: 1, 1024: 2, 1025: 2, 2100: 3}[frames]
    wanted = whole(samples, count)
    transformed = []

    def noted(part: torch.Tensor, mel_bins: int) -> torch.Tensor:
        transformed.append(len(part))
        return fbank(part, mel_bins)

    monkeypatch.setattr(slices, "fbank", noted)
    middle = load_slices(write_wav(samples), 1, 64)
    np.testing.assert_allclose(middle, wanted[[(count + 1) // 2 - 1]], atol=1e-5)
    assert middle.dtype == np.float32 and transformed == [min(len(samples), 164_080)]
    rng = np.random.default_rng(0)
    drawn = [load_slices(write_wav(samples), 1, 64, rng)[0] for _ in range(12)]
    which = [np.abs(wanted - one).max((1, 2)).argmin() for one in drawn]
    assert set(which) == set(range(count))
    np.testing.assert_allclose(drawn, wanted[which], atol=1e-5)
    np.testing.assert_allclose(load_slices(write_wav(samples), 3, 64), whole(samples, 3), atol=1e-5)
    if frames == 1024:
        assert not wanted[1].any()  # VAST's slice of zeros alone
    if frames == 1025:
        assert wanted[1, 0].any() and not wanted[1, 1:].any()


def test_padding_is_0_after_normalisation_and_silence_is_not() -> None:
    found = load_slices(write_wav(np.zeros(16_000, np.int16)), 1, 64)
    silence = (np.log(1.1920928955078125e-07) - 15.41663) / (2 * 6.55582)
    assert np.abs(found[0, :98] - silence).max() < 1e-6 and not found[0, 98:].any()
    assert silence < ZERO
    for data in (b"", write_wav(np.zeros(399, np.int16))):
        assert not load_slices(data, 2, 128).any()
    assert load_slices(b"", 2, 128).shape == (2, 1024, 128)

"""The sound of a video, cut at the spans of its clips in one pass."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.video.parts import Part, parts
from mmts.video.probe import open_video, reason

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer

RATE = 16_000
"""Samples a second of what is cut; one channel, 16 bit."""
GAP = 0.05
"""Seconds by which a frame of sound may be early or late: containers round times."""
LONG_GAP = 600.0
"""Seconds without sound within a track that are taken for a damaged time."""

Samples = NDArray[np.int16]


class Damage(NamedTuple):
    """Seconds of a video whose sound cannot be decoded, and why."""

    start: float
    stop: float
    why: str


@dataclass
class Track:
    """The sound of a video.

    Attributes:
        runs: samples without a gap, each with the number of the first; sample 0 is at the time of
            the first frame of the picture.
        damage: what cannot be decoded.
    """

    runs: list[tuple[int, Samples]] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    def cut(self, start: float, stop: float) -> Samples | str:
        """Return the samples of a span in seconds, zeros where there are none; or why it has none.

        All of the span is there; with a stop of infinity, to the end of the sound.
        """
        for damage in self.damage:
            if damage.start < stop and start < damage.stop:
                return f"damaged sound: {damage.why}"
        if not self.runs:
            return "no sound track"
        end = max(first + len(samples) for first, samples in self.runs)
        low, high = round(start * RATE), end if stop == math.inf else round(stop * RATE)
        within = [(n, s) for n, s in self.runs if n < high and low < n + len(s)]
        if not within:
            return "no sound in its time"
        found = np.zeros(high - low, np.int16)
        for first, samples in within:
            part = samples[max(0, low - first) : high - first]
            at = max(0, first - low)
            found[at : at + len(part)] = part
        return found


def cut_sound(path: Path | str, spans: Sequence[tuple[float, float]]) -> list[Samples | str]:
    """Return the sound of each span, or why it has none: see `Track.cut`.

    Args:
        path: a video file, or a folder of chunks, as `mmts.video.cut_many` takes it.
        spans: start and stop of each in seconds.
    """
    until = max(stop for _, stop in spans)
    track = Track()
    for part in parts(path):
        if part.start < until:
            _read(part, until, track)
    return [track.cut(start, stop) for start, stop in spans]


def _read(part: Part, until: float, track: Track) -> None:
    """Add the sound of one file to the track."""
    try:
        container, video = open_video(part.path)
    except InputError as error:
        track.damage.append(Damage(part.start, part.limit, str(error)))
        return
    assert video.time_base is not None
    with container:
        if not container.streams.audio:
            return
        sound = container.streams.audio[0]
        if sound.codec_context is None:
            why = f"{part.path} has sound of no codec that is known; re-encode it"
            track.damage.append(Damage(part.start, part.limit, why))
            return
        sound.codec_context.thread_count = 1  # who packs runs several processes
        zero = part.start - float((video.start_time or 0) * video.time_base)
        runs = _Runs()
        for item in _frames(container, sound, zero, str(part.path)):
            if isinstance(item, Damage):
                track.damage.append(item)
                continue
            time, frame = item
            if time >= min(until, part.limit):
                break
            runs.add(time, frame)
    low, high = round(part.start * RATE), math.inf if part.limit == math.inf else part.limit * RATE
    for first, samples in runs.finished():
        skipped = max(0, low - first)
        kept = samples[skipped : None if high == math.inf else max(0, round(high) - first)]
        if len(kept):
            track.runs.append((first + skipped, kept))


def _frames(
    container: InputContainer, sound: AudioStream, zero: float, name: str
) -> Iterator[tuple[float, AudioFrame] | Damage]:
    """Yield each frame of sound and its time; what cannot be decoded is left out."""
    import av

    unit = float(sound.time_base or 0)
    time = zero
    try:
        for packet in container.demux(sound):
            begins = time if packet.pts is None else zero + packet.pts * unit
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                why = f"{name} at {begins:.3f} s ({reason(error)})"
                yield Damage(begins, begins + max(float((packet.duration or 0) * unit), GAP), why)
                continue
            for frame in frames:
                before, time = time, time if frame.pts is None else zero + frame.pts * unit
                if time > before + LONG_GAP:  # else a wrong time would be hours of zeros
                    why = f"{name} jumps from {before:.3f} s to {time:.3f} s"
                    yield Damage(before, math.inf, why)
                    return
                yield time, frame
                time += frame.samples / frame.sample_rate
    except av.FFmpegError as error:
        yield Damage(time, math.inf, f"{name} after {time:.3f} s ({reason(error)})")


class _Runs:
    """Frames of sound -> runs of samples at RATE."""

    def __init__(self) -> None:
        self._done: list[tuple[int, Samples]] = []
        self._pieces: list[Samples] = []
        self._resampler: AudioResampler | None = None
        self._first, self._next = 0, 0.0
        self._form: tuple[int, str, str] | None = None

    def add(self, time: float, frame: AudioFrame) -> None:
        """Go on with a frame, in a new run where there is a gap or the sound is of another form."""
        from av import AudioResampler

        form = frame.sample_rate, frame.layout.name, frame.format.name
        if form != self._form or abs(time - self._next) > GAP:
            self._end()
            self._resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
            self._form, self._first, self._next = form, round(time * RATE), time
        self._take(frame)
        self._next += frame.samples / frame.sample_rate

    def finished(self) -> list[tuple[int, Samples]]:
        """Return all runs, each with the number of its first sample."""
        self._end()
        return self._done

    def _take(self, frame: AudioFrame | None) -> None:
        assert self._resampler is not None
        for resampled in self._resampler.resample(frame):
            self._pieces.append(resampled.to_ndarray().reshape(-1).astype(np.int16))

    def _end(self) -> None:
        if self._resampler is not None:
            self._take(None)
            self._done.append(
                (self._first, np.concatenate(self._pieces or [np.empty(0, np.int16)]))
            )
        self._pieces, self._resampler = [], None


def write_wav(samples: Samples) -> bytes:
    """Return a WAV file (PCM 16 bit, mono, 16 kHz) of samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


class Wav:
    """A WAV file in memory, of which a part is read at a time; ValueError where it is another."""

    def __init__(self, data: bytes) -> None:
        try:
            self._file = wave.open(io.BytesIO(data))  # noqa: SIM115
        except (wave.Error, EOFError, RuntimeError) as error:
            raise ValueError(f"no WAV file: {error or 'damaged'}") from None
        form = self._file.getnchannels(), self._file.getsampwidth(), self._file.getframerate()
        if form != (1, 2, RATE):
            raise ValueError(
                "a WAV file of {} channels, {} bytes a sample and {:,} Hz".format(*form)
                + f"; it must be 1, 2 and {RATE:,}"
            )

    def __len__(self) -> int:
        """Number of samples."""
        return int(self._file.getnframes())

    def read(self, start: int, stop: int) -> Samples:
        """Return the samples from `start` to `stop`, as many as there are."""
        try:
            self._file.setpos(min(start, len(self)))
            data = self._file.readframes(max(0, min(stop, len(self)) - start))
        except (wave.Error, EOFError, RuntimeError) as error:
            raise ValueError(f"a damaged WAV file: {error}") from None
        return np.frombuffer(data, "<i2").astype(np.int16)

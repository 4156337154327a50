"""Short real videos whose frames carry their number in black and white blocks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS, BITS = 6, 4, 12
SIZE = (96, 64)
TURNS = {
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
    45: (0.7071, 0.7071, -0.7071, 0.7071),
}
"""Matrices of the mp4 header that show a video turned clockwise by so many degrees."""


def number_frame(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """[H, W, 3] uint8: 12 bits of the number and their complement as blocks, on a grid of 6 x 4."""
    bits = [number >> n & 1 for n in range(BITS)]
    grid = np.array([*bits, *(1 - bit for bit in bits)]).reshape(ROWS, COLUMNS)
    width, height = size
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    frame = (20 + 215 * grid[rows][:, columns]).astype(np.uint8)
    return np.repeat(frame[:, :, None], 3, axis=2)


def read_number(frame: NDArray[np.uint8]) -> int:
    """The number that a frame carries, at any size; an AssertionError where it cannot be read."""
    height, width = frame.shape[:2]
    rows = ((np.arange(ROWS) + 0.5) * height / ROWS).astype(int)
    columns = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
    bits = (frame[rows][:, columns].mean(axis=2) > 128).astype(int).ravel()
    assert (bits[:BITS] + bits[BITS:] == 1).all(), f"no number: {bits}"
    return int((bits[:BITS] << np.arange(BITS)).sum())


def write_video(
    path: Path,
    numbers: Sequence[int],
    *,
    rate: int = 25,
    codec: str = "mpeg4",
    gop: int = 250,
    b_frames: int = 2,
    size: tuple[int, int] = SIZE,
    times: Sequence[int] | None = None,
    audio: bool = False,
    sound: NDArray[np.float32] | None = None,
    sound_rate: int = 16_000,
    sound_codec: str = "aac",
    options: dict[str, str] | None = None,
    frames: Sequence[NDArray[np.uint8]] | None = None,
    index_first: bool = False,
    pixel: Fraction = Fraction(1),
) -> Path:
    """Write a video, its format by the suffix of `path`.

    Args:
        path: of the file.
        numbers: what the frames carry, in order.
        rate: frames a second.
        codec: its name; mpeg4 is in every FFmpeg.
        gop: frames from one key frame to the next at most.
        b_frames: frames between two others that need both.
        size: width and height.
        times: presentation times in thousandths of a second, instead of an even rate.
        audio: put a silent second of sound before the video stream.
        sound: samples from -1 to 1 from time 0, [samples] or [2, samples].
        sound_rate: samples a second of it.
        sound_codec: its name; pcm_s16le is exact, in mkv and avi.
        options: of the encoder.
        frames: pictures instead of numbers.
        index_first: put the index of an mp4 before the frames.
        pixel: width of a pixel over its height.
    """
    import av

    flags = {"movflags": "faststart"} if index_first else {}
    with av.open(str(path), "w", options=flags) as container:
        if audio:
            sound, sound_rate = np.zeros(8000, np.float32), 8000
        heard = None if sound is None else _sound_stream(container, sound, sound_codec, sound_rate)
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.gop_size, context.max_b_frames = gop, b_frames
        context.bit_rate = 4_000_000
        context.sample_aspect_ratio = pixel
        if times is not None:
            context.time_base = Fraction(1, 1000)
        pictures = frames if frames is not None else [number_frame(n, size) for n in numbers]
        for n, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = n if times is None else times[n]
            frame.time_base = Fraction(1, rate) if times is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _mux_sound(container, heard, sound, sound_rate)
    return path


def _sound_stream(container: Any, sound: NDArray[np.float32], codec: str, rate: int) -> Any:
    return container.add_stream(codec, rate=rate, layout="stereo" if sound.ndim == 2 else "mono")


def _mux_sound(container: Any, stream: Any, sound: NDArray[np.float32], rate: int) -> None:
    """Encode [samples] or [2, samples] in frames of 1,024."""
    import av

    planes, layout = (sound, "stereo") if sound.ndim == 2 else (sound[None], "mono")
    exact = stream.codec_context.name.startswith("pcm")
    for start in range(0, planes.shape[1], 1024):
        part = planes[:, start : start + 1024]
        if exact:
            packed = np.ascontiguousarray(np.rint(part.T * 32767).astype(np.int16).reshape(1, -1))
            frame: Any = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        else:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(part, np.float32), format="fltp", layout=layout
            )
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_sound(path: Path) -> Path:
    """A second of silence without a picture, as m4a."""
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        silence: Any = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), dtype=np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    return path


def turn(path: Path, degrees: int) -> Path:
    """Note in an mp4 of one track that it is to be shown turned clockwise."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (round(x * (1 << 16)) for x in TURNS[degrees])
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = matrix
    path.write_bytes(bytes(data))
    return path

"""What is timed: clips from our segments, and plain PyAV on the same frames in several forms."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmts.settings.prepared import Pack
from mmts.shards import Item, ShardReader, write_clips
from mmts.video import consistent_crop, frame_indices
from tests.making_video import write_video

OURS = "ours"
CROPPED = "ours, random crop to 224"
PLAIN = "plain PyAV"
SOURCE = "plain PyAV, whole video"
RATE, GOP = 30, 60
CODERS = {
    "H.264, key frames": ("libx264", {"crf": "20", "preset": "fast", "g": "1"}),
    "MPEG-4, key frames": ("mpeg4", {"g": "1", "qmin": "5", "qmax": "5"}),
}
"""Other ways to store a segment, left out where the encoder is not there."""

Clips = list[NDArray[np.uint8]]


class Stored(NamedTuple):
    """Clips of one video, packed, and again as mp4 with key frames only."""

    video: Path
    shards: ShardReader
    others: dict[str, list[bytes]]
    frames: int
    size: tuple[int, int]


@dataclass
class Call:
    """One candidate: how to run it and what it reads."""

    run: Callable[[], Clips]
    stored_as: str
    stored_bytes: int
    stored_frames: int


def store(folder: Path, segments: int, seconds: float, short_side: int) -> Stored:
    """Make a video twice as large as what is stored, and pack clips of it."""
    per_segment = round(seconds * RATE)
    pictures = scene(segments * per_segment, (short_side * 16 // 9 * 2 // 4 * 4, short_side * 2))
    height, width, _ = pictures[0].shape
    video = write_video(
        folder / "video.mp4", [], rate=RATE, size=(width, height), frames=pictures, gop=GOP
    )
    found = [
        Item("made", "train", f"{n}", str(video), video.stat().st_size, "", n * per_segment / RATE,
             (n + 1) * per_segment / RATE, ["made"], [f"{n}"], [0], {})
        for n in range(segments)
    ]  # fmt: skip
    settings = Pack(shard_size=segments, image_size=short_side)
    (folder / "shards").mkdir()
    write_clips(folder / "shards", found, {0: segments}, settings, folder / "kept")
    shards = ShardReader(folder / "shards", "train")
    others: dict[str, list[bytes]] = {}
    for name, (codec, options) in CODERS.items():
        if codec in av.codecs_available:
            everything = np.arange(per_segment)
            others[name] = [
                as_mp4(shards.segment(n).frames(everything), codec, options)
                for n in range(segments)
            ]
    return Stored(video, shards, others, per_segment, shards.segment(0).size)


def scene(frames: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """A window that wanders over a large picture of blobs of many sizes, with a little noise."""
    rng = np.random.default_rng(0)
    width, height = size
    large = (2 * width, 2 * height)
    canvas = np.zeros((large[1], large[0], 3))
    for blobs in (8, 32, 128, 512):
        noise = rng.integers(0, 256, (blobs // 2, blobs, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize(large, Image.Resampling.BICUBIC)
        canvas += np.asarray(layer, dtype=float) / blobs**0.4
    picture = (255 * (canvas - canvas.min()) / np.ptp(canvas)).astype(np.int16)
    found = []
    for n in range(frames):
        left = round((0.5 + 0.5 * np.sin(n / 40)) * width)
        top = round((0.5 + 0.5 * np.cos(n / 55)) * height)
        window = picture[top : top + height, left : left + width]
        grain = rng.integers(-4, 5, (height, width, 1), dtype=np.int16)
        found.append(np.clip(window + grain, 0, 255).astype(np.uint8))
    return found


def as_mp4(frames: NDArray[np.uint8], codec: str, options: dict[str, str]) -> bytes:
    """The frames as an mp4."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def calls(stored: Stored, clip_length: int) -> dict[str, Call]:
    """All that is timed, by what it is; each call gives the middle clip of every segment."""
    indices = frame_indices(stored.frames, clip_length)
    read, numbers = stored.shards.segment, range(len(stored.shards))
    total = stored.frames * len(numbers)
    jpeg_bytes = sum(len(read(n).jpeg(frame)) for n in numbers for frame in range(stored.frames))

    def ours() -> Clips:
        return [read(n).frames(indices) for n in numbers]

    def cropped() -> Clips:
        rng = np.random.default_rng(0)
        return [consistent_crop(read(n).frames(indices), 224, rng) for n in numbers]

    def plain() -> Clips:
        context = av.CodecContext.create("mjpeg", "r")
        context.thread_count = 1
        found = []
        for n in numbers:
            reader = read(n)
            packets = [av.Packet(reader.jpeg(int(index))) for index in indices]
            frames = [frame for packet in packets for frame in context.decode(packet)]
            found.append(np.stack([rgb(frame) for frame in frames]))
        return found

    def mp4(name: str) -> Callable[[], Clips]:
        return lambda: [from_mp4(io.BytesIO(data), indices, 0) for data in stored.others[name]]

    def source() -> Clips:
        starts = range(0, total, stored.frames)
        return [from_mp4(stored.video, start + indices, GOP / RATE) for start in starts]

    found = {
        OURS: Call(ours, "JPEG", jpeg_bytes, total),
        PLAIN: Call(plain, "JPEG", jpeg_bytes, total),
        CROPPED: Call(cropped, "JPEG", jpeg_bytes, total),
        SOURCE: Call(source, "MPEG-4, twice the side", stored.video.stat().st_size, total),
    }
    for name, data in stored.others.items():
        found[f"{PLAIN}, {name}"] = Call(mp4(name), name, sum(map(len, data)), total)
    return found


def from_mp4(
    source: Path | io.BytesIO, indices: NDArray[np.int64], gop: float
) -> NDArray[np.uint8]:
    """Frames by number: decode up to each, after a seek where the next is `gop` seconds away."""
    found: list[NDArray[np.uint8]] = []
    with av.open(source, "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        now = -math.inf
        for time in indices / RATE:
            if time - now > gop:
                container.seek(int(time / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                now = frame.time
                if now > time - 0.5 / RATE:
                    found.append(rgb(frame))
                    break
    return np.stack(found)


def rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The usual call, on one thread."""
    return frame.to_ndarray(format="rgb24", threads=1).astype(np.uint8, copy=False)


def check(calls: dict[str, Call]) -> None:
    """An AssertionError where ours and plain PyAV do not give the same pictures."""
    ours, plain = (np.stack(calls[form].run()).mean(axis=-1) for form in (OURS, PLAIN))
    assert ours.shape == plain.shape  # greys: the two spread the halved colours differently
    assert np.abs(ours - plain).mean() < 2, "ours and plain PyAV give other pictures"

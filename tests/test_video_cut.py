"""Segments hold exactly the frames that they should, in one pass over the video."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmts.errors import InputError
from mmts.video import SegmentReader, cut, cut_many
from mmts.video.decoder import VideoDecoder
from mmts.video.encode import shrunk
from tests.making_video import SIZE, number_frame, read_number, turn, write_video

FRAMES, RATE = 150, 25
CODERS = ["mpeg4", pytest.param("libx264", marks=pytest.mark.skipif(
    "libx264" not in av.codecs_available, reason="an FFmpeg without the GPL encoder"))]  # fmt: skip


def numbers(segment: bytes | InputError) -> list[int]:
    assert isinstance(segment, bytes), segment
    reader = SegmentReader(segment)
    return [read_number(frame) for frame in reader.frames(range(len(reader)))]


def expected(start: float, stop: float, rate: int = RATE, frames: int = FRAMES) -> list[int]:
    """The slow way, in exact fractions of the decimals that were written."""
    low, high = (Fraction(str(round(x, 6))) for x in (start, stop))
    return [n for n in range(frames) if low <= Fraction(n, rate) < high]


def every(path: Path, spans: list[tuple[float, float]]) -> dict[int, bytes | InputError]:
    return dict(cut_many(path, spans, short_side=SIZE[1]))


@pytest.fixture(scope="module", params=CODERS)
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def long_gop(tmp_path_factory: pytest.TempPathFactory, codec: str) -> Path:
    """B-frames, and one key frame in 6 seconds."""
    return write_video(
        tmp_path_factory.mktemp("cut") / "a.mp4", range(FRAMES), codec=codec,
        options={"sc_threshold": "0"} if codec == "libx264" else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def short_gop(tmp_path_factory: pytest.TempPathFactory, codec: str) -> Path:
    """B-frames, and a key frame every half second."""
    return write_video(tmp_path_factory.mktemp("cut") / "b.mp4", range(FRAMES), codec=codec, gop=12)


def test_the_videos_are_as_hard_as_they_should_be(long_gop: Path, short_gop: Path) -> None:
    for path, keys in ((long_gop, [1]), (short_gop, range(12, 16))):
        with av.open(str(path)) as container:
            kinds = [frame.pict_type for frame in container.decode(video=0)]
        assert len(kinds) == FRAMES and kinds.count(1) in keys and kinds.count(3) > 30


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 6), (0, 0.04), (0.04, 0.08), (1.2, 1.4), (1.201, 1.399), (1.19, 1.41), (0.6, 0.7),
     (5.96, 6), (5.93, 6.04), (2.3333, 2.6667)],
)  # fmt: skip
def test_every_frame_is_the_right_one(long_gop: Path, start: float, stop: float) -> None:
    found = numbers(cut(long_gop, start, stop, short_side=SIZE[1]))
    assert found and found == expected(start, stop)


milliseconds = st.integers(0, 6000)
pairs = st.tuples(milliseconds, milliseconds).map(sorted).filter(lambda p: p[1] - p[0] >= 45)


@settings(max_examples=25, deadline=None)
@given(spans=st.lists(pairs.map(lambda p: (p[0] / 1000, p[1] / 1000)), min_size=1, max_size=6))
def test_many_at_once_are_the_ones_cut_alone(
    short_gop: Path, long_gop: Path, spans: list[tuple[float, float]]
) -> None:
    for path in (short_gop, long_gop):
        together = every(path, spans)
        assert sorted(together) == list(range(len(spans)))
        for number, (start, stop) in enumerate(spans):
            assert numbers(together[number]) == expected(start, stop)
        assert together[0] == cut(path, *spans[0], short_side=SIZE[1])


def test_each_frame_is_decoded_once(long_gop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[VideoDecoder] = []
    start = VideoDecoder.__init__

    def count(self: VideoDecoder, path: Path) -> None:
        start(self, path)
        opened.append(self)

    monkeypatch.setattr(VideoDecoder, "__init__", count)
    spans = [(n / 10, n / 10 + 2) for n in range(40)]
    found = every(long_gop, [*spans, *reversed(spans)])
    assert all(isinstance(segment, bytes) for segment in found.values())
    assert [decoder.decoded <= FRAMES for decoder in opened] == [True]


def test_long_gaps_are_skipped(short_gop: Path) -> None:
    with VideoDecoder(short_gop) as decoder:
        seen = []
        for start, stop in [(0.2, 0.3), (2.3, 2.4), (2.5, 2.6), (5.8, 5.9)]:
            frames = decoder.between(start, stop)
            seen.append([round(t * RATE) for t, frame in frames if frame is not None])
        assert seen == [expected(0.2, 0.3), [58, 59], [63, 64], [145, 146, 147]]
        assert decoder.decoded < 60


def test_every_start_after_a_seek(short_gop: Path) -> None:
    for number in range(1, FRAMES):
        with VideoDecoder(short_gop) as decoder:
            (time, frame), *_ = decoder.between(number / RATE, number / RATE + 0.04)
            assert round(time * RATE) == number and frame is not None
            assert read_number(frame.to_ndarray(format="rgb24")) == number


@pytest.mark.parametrize(
    ("suffix", "codec", "b_frames"), [("mkv", "mpeg4", 2), ("ts", "mpeg4", 2), ("avi", "mjpeg", 0)]
)
def test_other_containers(tmp_path: Path, suffix: str, codec: str, b_frames: int) -> None:
    path = tmp_path / f"a.{suffix}"  # a transport stream counts from 1.4 s, and has no index
    write_video(path, range(400), gop=50, codec=codec, b_frames=b_frames)
    spans = [(0.0, 0.2), (12.0, 12.4), (15.52, 16.0)]
    found = every(path, spans)
    for number, (start, stop) in enumerate(spans):
        assert numbers(found[number]) == expected(start, stop, frames=400)


def test_a_variable_frame_rate_goes_by_times(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(5, 200, 60)).tolist()
    path = write_video(tmp_path / "v.mkv", range(60), times=times)
    first = times[0]
    for start, stop in [(0.5, 1.5), (2.0, 3.1), (0.0, 4.0)]:
        wanted = [n for n, t in enumerate(times) if start * 1000 <= t - first < stop * 1000]
        assert numbers(cut(path, start, stop, short_side=64)) == wanted


def test_fewer_frames_a_second(long_gop: Path) -> None:
    found = numbers(cut(long_gop, 1.0, 3.0, short_side=64, frame_rate=5))
    assert found == list(range(25, 75, 5))
    assert len(numbers(cut(long_gop, 1.01, 3.01, short_side=64, frame_rate=10))) == 20
    assert numbers(cut(long_gop, 1.0, 2.0, short_side=64, frame_rate=60)) == expected(1, 2)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_is_shown_upright(tmp_path: Path, degrees: int) -> None:
    frames = [np.rot90(number_frame(n, (64, 96)), degrees // 90) for n in range(10)]
    height, width, _ = frames[0].shape
    path = write_video(tmp_path / "t.mp4", range(10), size=(width, height), frames=frames)
    segment = cut(turn(path, degrees), 0.08, 0.2, short_side=32)
    assert SegmentReader(segment).size == (32, 48)
    assert numbers(segment) == [2, 3, 4]


def test_an_odd_angle_is_refused(tmp_path: Path) -> None:
    path = turn(write_video(tmp_path / "t.mp4", range(5)), 45)
    with pytest.raises(InputError, match=r"turned by -?45 degrees; only quarter turns"):
        cut(path, 0, 0.1, short_side=32)


def test_sizes() -> None:
    assert shrunk(1920, 1080, 256) == (456, 256)
    assert shrunk(1080, 1920, 256) == (256, 456)
    assert shrunk(456, 256, 256) == (456, 256)
    assert shrunk(96, 64, 256) == (96, 64)  # never larger
    assert shrunk(101, 51, 256) == (100, 52) and shrunk(3, 900, 2) == (2, 600)
    for width in range(2, 60):
        for side in range(2, 30):
            found = shrunk(width, 40, side)
            assert min(found) >= 2 and not (found[0] % 2 or found[1] % 2)


def test_colours_survive(tmp_path: Path) -> None:
    colours = [(220, 30, 30), (30, 200, 40), (40, 40, 210)]
    frames = [np.full((64, 96, 3), colour, dtype=np.uint8) for colour in colours]
    path = write_video(tmp_path / "c.mp4", range(3), frames=frames, gop=1, b_frames=0)
    found = SegmentReader(cut(path, 0, 0.12, short_side=32)).frames([0, 1, 2])
    assert np.abs(found.mean(axis=(1, 2)) - np.array(colours)).max() < 12


def test_a_stop_of_infinity_is_the_end(long_gop: Path, tmp_path: Path) -> None:
    found = every(long_gop, [(0, math.inf), (5, 6), (5.5, math.inf)])
    assert [numbers(found[n]) for n in range(3)] == [
        expected(0, 6),
        expected(5, 6),
        expected(5.5, 6),
    ]
    whole = write_video(tmp_path / "whole.mp4", range(100), gop=5, index_first=True).read_bytes()
    short = tmp_path / "short.mp4"
    short.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"short\.mp4 is (cut short|damaged)"):
        cut(short, 0, math.inf, short_side=64)


@pytest.mark.parametrize(
    ("start", "stop", "said"),
    [
        (2.0, 2.0, "start 2.0 s, stop 2.0 s"),
        (2.0, 1.0, "start 2.0 s, stop 1.0 s"),
        (-0.1, 1.0, "start -0.1 s"),
        (0.0, math.nan, "stop nan s"),
        (math.inf, math.inf, "start inf s, stop inf s"),
        (5.0, 6.05, r"stop 6\.050 s is past the end of the video at 6\.000 s"),
        (5.0, 1e6, r"stop 1000000\.000 s is past the end of the video at 6\.000 s"),
        (6.0, 6.5, r"start 6\.000 s is past the end of the video at 6\.000 s"),
        (70.0, 71.0, r"start 70\.000 s is past the end of the video at 6\.000 s"),
        (1.01, 1.03, r"has no frame from 1\.010 s to 1\.030 s"),
    ],
)
def test_what_cannot_be_cut(long_gop: Path, start: float, stop: float, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        cut(long_gop, start, stop, short_side=64)
    assert str(long_gop) in str(caught.value) and "\n" not in str(caught.value)
    found = every(long_gop, [(1, 2), (start, stop), (5, 6)])  # the others are cut all the same
    assert str(found[1]) == str(caught.value)
    assert numbers(found[0]) == expected(1, 2) and numbers(found[2]) == expected(5, 6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"short_side": 1}, "short_side is 1"), ({"quality": 96}, "quality is 96"),
     ({"frame_rate": 0.0}, "frame_rate is 0"), ({"frame_rate": math.nan}, "frame_rate is nan")],
)  # fmt: skip
def test_settings_out_of_range(long_gop: Path, wrong: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        cut(long_gop, 0, 1, **{"short_side": 64, **wrong})  # type: ignore[arg-type]


def test_a_video_cut_short_gives_what_is_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "s.mp4", range(FRAMES), gop=12, index_first=True)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    found = every(path, [(0, 1), (1, 2.5), (3.5, 5.5), (5.5, 6)])
    assert numbers(found[0]) == expected(0, 1) and numbers(found[1]) == expected(1, 2.5)
    for number in (2, 3):
        assert isinstance(found[number], InputError)
        assert "cut short" in str(found[number]) or "damaged" in str(found[number])


def test_damage_inside_fails_or_shows_the_right_frames(short_gop: Path, tmp_path: Path) -> None:
    data, rng, refused = short_gop.read_bytes(), np.random.default_rng(0), 0
    path = tmp_path / "d.mp4"
    for _ in range(8):
        broken = bytearray(data)
        at = int(rng.integers(len(data) // 4, len(data) // 2))
        broken[at : at + 300] = rng.bytes(300)
        path.write_bytes(bytes(broken))
        found = every(path, [(0, 0.4), (0.4, 6)])
        assert numbers(found[0]) == expected(0, 0.4)
        refused += isinstance(found[1], InputError) and "damaged" in str(found[1])
    assert refused >= 4

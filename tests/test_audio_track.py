"""Sound that is cut from videos: the right moment, gaps, damage, and files of WAV."""

from __future__ import annotations

import io
import math
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmts.audio.track import RATE, Wav, cut_sound, write_wav
from tests.making_video import write_video

SECONDS = 4


def steps(rate: int = RATE, seconds: float = SECONDS) -> NDArray[np.float32]:
    """A tone of 200 Hz whose loudness is that of the tenth of a second: 0.02 n."""
    time = np.arange(int(rate * seconds)) / rate
    loud = 0.02 * (1 + np.floor(time * 10 + 1e-9))
    return (loud * np.sin(2 * np.pi * 200 * time)).astype(np.float32)


def loudness(samples: Any) -> NDArray[np.float64]:
    """The tenths of a second that the samples sound like, one a tenth."""
    assert not isinstance(samples, str), samples
    tenths = samples[: len(samples) // 1600 * 1600].reshape(-1, 1600) / 32767
    found: NDArray[np.float64] = np.abs(tenths).max(1) / 0.02 - 1
    return found


def test_exact_samples_of_each_span(tmp_path: Path) -> None:
    sound = steps()
    path = write_video(tmp_path / "v.mkv", range(100), sound=sound, sound_codec="pcm_s16le")
    whole = np.rint(sound * 32767).astype(np.int16)
    spans = [(1.0, 2.5), (0.0, 0.3), (2.0, math.inf), (3.5, 4.5), (0.0, math.inf)]
    for (start, stop), found in zip(spans, cut_sound(path, spans), strict=True):
        wanted = whole[round(start * RATE) : None if stop == math.inf else round(stop * RATE)]
        assert not isinstance(found, str) and found.dtype == np.int16
        np.testing.assert_array_equal(found[: len(wanted)], wanted)
        assert len(found) == (len(wanted) if stop == math.inf else round((stop - start) * RATE))
        assert not found[len(wanted) :].any()  # a second that is not there


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
@pytest.mark.parametrize("rate", [44_100, 22_050])
def test_other_rates_and_codecs_keep_the_moment(tmp_path: Path, name: str, rate: int) -> None:
    path = write_video(tmp_path / name, range(100), sound=steps(rate), sound_rate=rate)
    (found,) = cut_sound(path, [(1.0, 2.0)])
    assert np.abs(loudness(found) - np.arange(10, 20)).max() < 1.5
    click = np.zeros(rate * 2, np.float32)
    click[rate // 2 : rate // 2 + 20] = 0.9
    path = write_video(tmp_path / name, range(50), sound=click, sound_rate=rate)
    (found,) = cut_sound(path, [(0.25, 1.0)])
    assert not isinstance(found, str)
    assert abs(int(np.abs(found).argmax()) / RATE - 0.25) < 0.002


def test_stereo_is_mixed(tmp_path: Path) -> None:
    sound = np.stack([steps(), np.zeros_like(steps())])
    path = write_video(tmp_path / "v.mkv", range(100), sound=sound, sound_codec="pcm_s16le")
    (found,) = cut_sound(path, [(0, 1)])
    assert np.abs(loudness(found) - ((np.arange(10) + 1) / 2 - 1)).max() < 0.05


def test_time_0_is_the_first_frame_of_the_picture(tmp_path: Path) -> None:
    """The picture begins at 0.5 s of the file, the sound at 0 s."""
    times = [500 + 40 * n for n in range(100)]
    path = write_video(
        tmp_path / "v.mkv", range(100), times=times, sound=steps(), sound_codec="pcm_s16le"
    )
    found, last = cut_sound(path, [(1.0, 2.0), (3.0, 4.0)])
    np.testing.assert_allclose(loudness(found), np.arange(15, 25), atol=0.1)
    assert np.abs(loudness(last)[5:] + 1).max() < 1e-6  # the sound ends at 3.5 s


def test_chunks_are_joined(tmp_path: Path) -> None:
    folder = tmp_path / "v.MP4"
    folder.mkdir()
    sound = steps()
    for start in (0, 2):
        part = sound[start * RATE : (start + 2) * RATE + 800]  # a chunk is a little longer
        write_video(
            folder / f"{start}.mkv", range(25 * start, 25 * start + 50), sound=part,
            sound_codec="pcm_s16le",
        )  # fmt: skip
    (found,) = cut_sound(folder, [(1.5, 2.5)])
    np.testing.assert_array_equal(
        found, np.rint(sound * 32767).astype(np.int16)[round(1.5 * RATE) : round(2.5 * RATE)]
    )


def with_gap(path: Path, seconds: float) -> Path:
    """A second of sound, so many without, and a second of sound, in packets of 0.1 s."""
    import av

    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        sound: Any = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for number in range(10):
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        for number in range(20):
            samples = np.full((1, 1600), number + 1, np.int16)
            frame: Any = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = 1600 * number + (0 if number < 10 else round(seconds * RATE))
            container.mux(sound.encode(frame))
    return path


def test_a_gap_is_silence_and_a_wrong_time_is_damage(tmp_path: Path) -> None:
    path = with_gap(tmp_path / "v.mkv", 0.5)
    (found,) = cut_sound(path, [(0.9, 1.8)])
    assert not isinstance(found, str)
    assert found[::1600].tolist() == [10, 0, 0, 0, 0, 0, 11, 12, 13]
    (found,) = cut_sound(path, [(0, math.inf)])
    assert len(found) == 2.5 * RATE
    path = with_gap(tmp_path / "v.mkv", 5e5)
    first, last = cut_sound(path, [(0, 1), (0.5, math.inf)])
    assert not isinstance(first, str) and first[::1600].tolist() == list(range(1, 11))
    assert last == f"damaged sound: {path} jumps from 1.000 s to 500001.000 s"


def test_why_there_is_none(tmp_path: Path) -> None:
    silent = write_video(tmp_path / "silent.mp4", range(50))
    assert cut_sound(silent, [(0, 1), (1, 2)]) == ["no sound track"] * 2
    short = write_video(tmp_path / "short.mkv", range(100), sound=steps(seconds=1.0))
    found = cut_sound(short, [(0.5, 2), (2, 3)])
    assert not isinstance(found[0], str) and found[1] == "no sound in its time"
    (tmp_path / "none.mp4").write_text("no video")
    (found,) = cut_sound(tmp_path / "none.mp4", [(0, 1)])
    assert str(found).startswith(f"damaged sound: {tmp_path}/none.mp4 is not a video (")


def test_damage_takes_the_clips_that_it_is_in(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", range(100), sound=steps())
    import av

    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.audio[0]) if p.size]
        data = bytes(packets[len(packets) // 2])
        time = float(packets[len(packets) // 2].pts * packets[0].time_base)
    raw = path.read_bytes()
    at = raw.index(data)
    path.write_bytes(raw[:at] + b"\xff" * len(data) + raw[at + len(data) :])
    first, second, third = cut_sound(path, [(0, 1), (time - 0.1, time + 0.1), (3, 4)])
    assert not isinstance(first, str) and not isinstance(third, str)
    assert str(second).startswith(f"damaged sound: {path} at {time:.3f} s (") and "\n" not in second
    assert np.abs(loudness(third) - np.arange(30, 40)).max() < 2


def test_wav_is_what_the_standard_library_reads() -> None:
    samples = np.arange(-500, 500, dtype=np.int16)
    data = write_wav(samples)
    with wave.open(io.BytesIO(data)) as file:
        assert file.getparams()[:4] == (1, 2, RATE, 1000)
        assert file.readframes(1000) == samples.tobytes()
    wav = Wav(data)
    assert len(wav) == 1000
    for start, stop in ((0, 1000), (10, 20), (990, 2000), (1500, 1600)):
        np.testing.assert_array_equal(wav.read(start, stop), samples[start:stop])


def test_other_files_are_refused() -> None:
    for data in (b"x", b"RIFF____WAVEfmt "):
        with pytest.raises(ValueError, match=r"^no WAV file: "):
            Wav(data)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2), out.setsampwidth(2), out.setframerate(22_050)
        out.writeframes(b"\0" * 8)
    with pytest.raises(ValueError, match=r"^a WAV file of 2 channels, 2 bytes .* 22,050 Hz; it"):
        Wav(file.getvalue())

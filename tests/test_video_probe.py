"""What a video file holds, and files that are none."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmts.errors import InputError
from mmts.video import SegmentReader, VideoFacts, cut, cut_many, probe
from mmts.video.probe import upright_size
from tests.making import write_picture
from tests.making_video import read_number, turn, write_sound, write_video


def test_facts(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(50), audio=True)
    assert probe(path) == VideoFacts(96, 64, 25.0, 2.0)
    path = write_video(tmp_path / "b.MP4", range(90), rate=30, size=(64, 96))
    assert probe(str(path)) == VideoFacts(64, 96, 30.0, 3.0)
    assert probe(turn(path, 90)) == VideoFacts(96, 64, 30.0, 3.0)


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mov"])
def test_facts_of_other_containers(tmp_path: Path, suffix: str) -> None:
    found = probe(write_video(tmp_path / f"a.{suffix}", range(50)))
    assert found == VideoFacts(96, 64, pytest.approx(25), pytest.approx(2.0, abs=0.05))


def test_pixels_that_are_no_squares(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(3), pixel=Fraction(4, 3))
    assert probe(path)[:2] == (128, 64)
    segment = SegmentReader(cut(path, 0, 0.12, short_side=32))
    assert segment.size == (64, 32) and read_number(segment.frames([2])[0]) == 2
    assert probe(turn(path, 90))[:2] == (64, 128)


@pytest.mark.parametrize("pixel", [Fraction(1, 17), Fraction(17, 1)])
def test_pixels_that_are_no_shape_of_a_pixel(tmp_path: Path, pixel: Fraction) -> None:
    """The widest would fill the memory."""
    path = write_video(tmp_path / "a.mp4", range(3), pixel=pixel)
    shown = f"is shown as {round(96 * pixel)} x 64 pixels, by its header, and has 96 x 64"
    for read in (probe, lambda path: cut(path, 0, 0.12, short_side=32)):
        with pytest.raises(InputError, match=f"{shown}; re-encode it with square pixels"):
            read(path)


def test_a_video_without_width_or_of_too_many_pixels() -> None:
    """As damaged headers say; the encoder writes none of these."""
    for width, height, ratio in ((7, 7, Fraction(1, 15)), (9000, 9000, Fraction(2))):
        frame: Any = SimpleNamespace(width=width, height=height, rotation=0)
        stream: Any = SimpleNamespace(sample_aspect_ratio=ratio)
        with pytest.raises(InputError, match="a is shown as"):
            upright_size(frame, stream, "a")


def write_cut_short(path: Path, index_first: bool) -> Path:
    write_video(path, range(50), index_first=index_first)
    path.write_bytes(path.read_bytes()[:-200])  # of an index or frames of more than 1,000
    return path


def bad_files(folder: Path) -> dict[Path, str]:
    write_picture(folder / "picture.png", 1)
    (folder / "picture.mp4").write_bytes((folder / "picture.png").read_bytes())
    (folder / "text.mp4").write_text("no video\n" * 100)
    (folder / "empty.mp4").touch()
    write_video(folder / "good.mp4", range(5))
    (folder / "list.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{folder / 'good.mp4'}\n#EXT-X-ENDLIST\n"
    )
    (folder / "concat.mp4").write_text("ffconcat version 1.0\nfile good.mp4\n")
    write_sound(folder / "sound.mp4")
    write_cut_short(folder / "end.mp4", index_first=False)
    write_cut_short(folder / "front.mp4", index_first=True)
    names = {
        "missing": "is not there", "picture": "is not a video", "text": "is not a video",
        "empty": "is not a video", "list": "is not a video", "concat": "is not a video",
        "sound": "has no video stream", "end": "is cut short or damaged",
        "front": "is cut short: ",
    }  # fmt: skip
    return {folder / f"{name}.mp4": said for name, said in names.items()}


def test_files_that_are_no_whole_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path, said in bad_files(tmp_path).items():
        with pytest.raises(InputError) as caught:
            probe(path)
        assert str(caught.value).startswith(f"{path} {said}"), path
        assert "\n" not in str(caught.value)
        if path.stem == "front":
            continue
        with pytest.raises(InputError) as again:
            cut(path, 0, 1, short_side=64)
        assert str(again.value) == str(caught.value)
        found = dict(cut_many(path, [(0, 1), (1, 2)], short_side=64))
        assert [str(found[n]) for n in (0, 1)] == [str(caught.value)] * 2
    assert capfd.readouterr() == ("", "")  # FFmpeg itself is silent


def test_without_pyav_the_error_names_the_extra(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(3))
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from mmts.errors import InputError\nfrom mmts.video import probe\n"
        f"try: probe({str(path)!r})\nexcept InputError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "videos need PyAV; run `pip install '.[video]'` in the checkout\n"

"""Open a video file, say what is in it and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmts.errors import InputError
from mmts.picture import MAX_PIXELS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg"
"""What is opened: containers of video, none that names other files or addresses to read."""

OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
"""A path is never an address either."""

MAX_RATIO = 16
"""Of the sides of a pixel; those of real videos are below 3."""


class VideoFacts(NamedTuple):
    """What a video file holds.

    Attributes:
        width: of the upright picture with square pixels.
        height: of the upright picture.
        frame_rate: frames a second, on average.
        duration: seconds from the first frame to the end of the last one, as the file's header
            has it.
    """

    width: int
    height: int
    frame_rate: float
    duration: float


def probe(path: Path | str) -> VideoFacts:
    """What the header of a video file says, one frame decoded.

    Raises:
        InputError: the file is missing, no video, has no video stream, no frame that can be
            decoded, is cut short, or is turned by an angle that is no multiple of 90 degrees.
    """
    container, stream = open_video(path)
    import av

    with container:
        duration = seconds(container, stream)
        if duration is None:
            raise InputError(f"{path} does not say how long it is; remux it, for example as mp4")
        _check_whole(Path(path), stream)
        try:
            frame = next(container.decode(stream), None)
        except av.FFmpegError as error:
            raise InputError(f"{path}: no frame can be decoded ({reason(error)})") from None
        if frame is None:
            raise InputError(f"{path} holds no frame; it may be cut short: copy it again")
        width, height = upright_size(frame, stream, str(path))
        return VideoFacts(width, height, frame_rate(stream), duration)


def open_video(path: Path | str) -> tuple[InputContainer, VideoStream]:
    """The container and its first video stream, decoding on one thread; InputError as in `probe`.

    Pictures of the cover of a music file do not count as a video stream.
    """
    try:
        import av
    except ImportError:
        raise InputError("videos need PyAV; run `pip install '.[video]'` in the checkout") from None

    if not Path(path).is_file():
        raise InputError(f"{path} is not there or no file; mend the path or the video folder")
    try:
        container = av.open(str(path), options=OPTIONS, metadata_errors="replace")
    except Exception as error:  # FFmpeg's, or of a header that PyAV takes for something else
        with open(path, "rb") as file:  # how an mp4 begins
            short = file.read(12)[4:8] in (b"ftyp", b"moov")
        problem = "is cut short or damaged" if short else "is not a video"
        raise InputError(f"{path} {problem} ({reason(error)}); copy it again") from None
    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if stream.codec_context is None:
            continue  # of no codec that is known
        if not stream.disposition & cover:
            stream.codec_context.thread_count = 1  # who packs runs several processes
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            if stream.time_base is None:
                break
            return container, stream
    empty = len(container.streams) == 0
    container.close()
    if empty:
        raise InputError(f"{path} is cut short or damaged: no index; copy it again")
    raise InputError(f"{path} has no video stream; it is another kind of file")


def reason(error: Exception) -> str:
    """FFmpeg's own words on one line, without numbers and paths."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


def seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """How long the header says that the video lasts."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1e6


def frame_rate(stream: VideoStream) -> float:
    """Frames a second, on average; 25 where nothing is known."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def upright_size(frame: VideoFrame, stream: VideoStream, name: str) -> tuple[int, int]:
    """Width and height as shown: with square pixels, turned upright.

    Raises:
        InputError: the header's pixels are no shape of a pixel, or too many when they are square.
    """
    ratio = float(stream.sample_aspect_ratio or 1)
    width = round(frame.width * ratio)
    if not (1 / MAX_RATIO <= ratio <= MAX_RATIO and 0 < width * frame.height <= MAX_PIXELS):
        raise InputError(
            f"{name} is shown as {width} x {frame.height} pixels, by its header, and has "
            f"{frame.width} x {frame.height}; re-encode it with square pixels"
        )
    return (frame.height, width) if quarter_turns(frame, name) % 2 else (width, frame.height)


def quarter_turns(frame: VideoFrame, name: str) -> int:
    """Quarter turns counterclockwise, 0 to 3, that show the frame upright."""
    if frame.rotation % 90:
        raise InputError(
            f"{name} is turned by {frame.rotation} degrees; only quarter turns can be read: "
            "re-encode it upright"
        )
    return frame.rotation // 90 % 4


def _check_whole(path: Path, stream: VideoStream) -> None:
    """InputError where the index at the front names bytes behind the end of the file."""
    if len(stream.index_entries) == 0:
        return
    last, size = stream.index_entries[-1], path.stat().st_size
    if last.pos + last.size > size:
        raise InputError(
            f"{path} is cut short: {size:,} bytes, its index goes to {last.pos + last.size:,}; "
            "copy it again"
        )

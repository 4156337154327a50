"""One video -> the shards of its clips, kept until all videos are cut.

What is kept is a folder a video: `<split>-<number>.tar`, and note.json with a fingerprint of all
that they depend on. It gets its name when it is complete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmts.errors import InputError
from mmts.files import output_folder, write_json
from mmts.kinds.stream import Lacking, StreamKind
from mmts.sealed import sha256_file, write_sums
from mmts.shards.archive import Shard, ShardFile
from mmts.shards.index import Place
from mmts.shards.items import Empty, Item, members, stored
from mmts.video import cut_many

NOTE = "note.json"


class Clip(NamedTuple):
    """A clip and the key that it has in its shard, whatever becomes of the others."""

    key: str
    item: Item

    @property
    def span(self) -> tuple[float, float]:
        """Start and stop in seconds."""
        assert self.item.start is not None and self.item.stop is not None
        return self.item.start, self.item.stop


class Job(NamedTuple):
    """A video to cut.

    Attributes:
        media: the video.
        files: what `video_files` says of it.
        clips: in order of the table; they may be of several splits.
        short_side, frame_rate, quality: as in `mmts.video.cut_many`.
        shard_size: clips a shard at most.
        folder: where the shards are kept.
        fingerprint: of everything that decides the shards, and the versions that matter.
        streams: by name.
    """

    media: str
    files: list[tuple[str, int, int]]
    clips: list[Clip]
    short_side: int
    frame_rate: float | None
    quality: int
    shard_size: int
    folder: Path
    fingerprint: str
    streams: Mapping[str, StreamKind]

    @property
    def whole(self) -> bool:
        """Whether the video is one clip from its start to its end."""
        return [clip.span for clip in self.clips] == [(0, math.inf)]


Spooled = dict[int, dict[str, tuple[int, int]]]
"""Where in the spool the members of each clip are, offset and size, by their endings."""


class Seen(NamedTuple):
    """What became of a clip: `reason` says why it is lost."""

    clip: int
    reason: str | None


class Kept(NamedTuple):
    """A video is done.

    Attributes:
        shards: by file name.
        earlier: whether an earlier run had cut them.
        empty: why a stream has no bytes, by its name and sample_id.
    """

    shards: dict[str, Shard]
    earlier: bool
    empty: Empty


def video_files(media: str) -> list[tuple[str, int, int]]:
    """Name, size and time of change (ns) of a video's file, or of those in its folder."""
    path = Path(media)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    facts = [(file.name, file.stat()) for file in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in facts]


def cut_video(job: Job) -> Iterator[Seen | Kept]:
    """Each clip as it is cut or lost, then the shards; or those that an earlier run has kept.

    Raises:
        InputError: the video changed meanwhile, or a stream cannot be packed.
        OSError: the shards cannot be written.
    """
    note = _kept(job)
    if note is not None:
        shards, lost, empty = note
        yield from (Seen(n, lost.get(n)) for n in range(len(job.clips)))
        yield Kept(shards, earlier=True, empty=empty)
        return
    lost = {}
    places: Spooled = {}
    with output_folder(job.folder) as work:
        spool = work / "spool"  # clips come by their end, and may be larger than memory
        with open(spool, "wb") as file:
            for number, segment in _segments(job):
                if isinstance(segment, str):
                    lost[number] = segment
                else:
                    places[number] = {"mjpeg": (file.tell(), len(segment))}
                    file.write(segment)
                yield Seen(number, lost.get(number))
            empty = _spool_streams(job, file, places)
        if video_files(job.media) != job.files:
            raise InputError(f"{job.media} changed while it was packed; run `dvc repro`")
        shards = _write(job, work, spool, places)
        spool.unlink()
        _write_note(job, work, shards, lost, empty)
    yield Kept(shards, earlier=False, empty=empty)


def _segments(job: Job) -> Iterator[tuple[int, bytes | str]]:
    """The number of each clip and its segment, or why there is none."""
    left = dict.fromkeys(range(len(job.clips)))
    spans = [clip.span for clip in job.clips]
    try:
        for number, found in cut_many(
            job.media, spans, short_side=job.short_side, quality=job.quality,
            frame_rate=job.frame_rate,
        ):  # fmt: skip
            del left[number]
            yield number, found if isinstance(found, bytes) else str(found)
        reason = f"{job.media} ended before the clip"
    except InputError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{job.media} cannot be read ({error.strerror or error})"
    for number in left:
        yield number, reason


def _spool_streams(job: Job, file: BinaryIO, places: Spooled) -> Empty:
    """Append the members of the streams of all clips that are there; return what has no bytes."""
    numbers, empty = sorted(places), Empty()
    items = [job.clips[number].item for number in numbers]
    for name, kind in job.streams.items() if items else ():
        for number, member in zip(numbers, members(name, kind, items), strict=True):
            if isinstance(member, Lacking):
                empty[name, job.clips[number].item.sample_id] = member.reason
            data = stored(member)
            places[number][f"{name}.{kind.extension}"] = file.tell(), len(data)
            file.write(data)
    return empty


def _write(job: Job, work: Path, spool: Path, places: Spooled) -> dict[str, Shard]:
    """The shards of the clips that are there, in order of the table."""
    shards = {}
    by_split: dict[str, list[int]] = {}
    for number in sorted(places):
        by_split.setdefault(job.clips[number].item.split, []).append(number)
    with open(spool, "rb") as file:
        for split, numbers in by_split.items():
            for start in range(0, len(numbers), job.shard_size):
                name = f"{split}-{start // job.shard_size:06d}.tar"
                with ShardFile(work / name, split) as shard:
                    for number in numbers[start : start + job.shard_size]:
                        key, item = job.clips[number]
                        found = {}
                        for ending, (at, size) in places[number].items():
                            file.seek(at)
                            found[ending] = file.read(size)
                        shard.add_sample(key, item, found)
                shards[name] = shard.facts()
    return shards


def _write_note(
    job: Job, work: Path, shards: dict[str, Shard], lost: dict[int, str], empty: Empty
) -> None:
    note = {
        "media": job.media,
        "fingerprint": job.fingerprint,
        "shards": {name: shard._asdict() for name, shard in shards.items()},
        "lost": sorted(lost.items()),
        "empty": [[*of, reason] for of, reason in empty.items()],
    }
    write_json(work / NOTE, note)
    write_sums(work, {name: shard.sha256 for name, shard in shards.items()})


def _kept(job: Job) -> tuple[dict[str, Shard], dict[int, str], Empty] | None:
    """Shards, lost clips and what has no bytes, of an earlier run; None where none fits the job."""
    try:
        note = json.loads((job.folder / NOTE).read_text(encoding="utf-8"))
        if note["fingerprint"] != job.fingerprint:
            return None
        shards = {name: Shard(**facts) for name, facts in note["shards"].items()}
        for name, shard in shards.items():
            if sha256_file(job.folder / name) != shard.sha256:
                return None
            shard.places[:] = [Place(*place) for place in shard.places]
            if any(len(place.streams) != len(job.streams) for place in shard.places):
                return None
        lost = {int(number): str(reason) for number, reason in note["lost"]}
        return shards, lost, {(name, item): str(reason) for name, item, reason in note["empty"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None

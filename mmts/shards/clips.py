"""Clips of videos -> shards, each video in one pass, in several processes, going on where it was.

A shard has clips of one video alone, so that a video's shards can be kept until all are there; then
those of videos that are one clip each are joined. Shards are numbered when all are there; a clip's
key is its number in its split, lost clips counted too. So neither depends on what was lost of other
videos, or on the order in which they were cut.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from mmts.captions_table import SPLITS
from mmts.errors import InputError
from mmts.kinds.stream import StreamKind
from mmts.settings.prepared import Pack
from mmts.shards.archive import Shard, ShardFile, write_tables
from mmts.shards.cutting import Clip, Job, Kept, cut_video, video_files
from mmts.shards.items import BAR_OF_UNEVEN_WORK, Item, sample_json
from mmts.shards.lost import Tally
from mmts.shards.workers import work_off
from mmts.video.segment import TAIL, frame_count

FORMAT = 2
"""Of the kept shards: count it up where the same videos and settings give other bytes."""


def write_clips(
    folder: Path, found: list[Item], cluster_size: dict[int, int], settings: Pack, kept: Path,
    streams: Mapping[str, StreamKind] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write the shards of all splits with their tables; return the manifest.

    Args:
        folder: where to.
        found: what `items` gives.
        cluster_size: training rows of each cluster_id; goes into the manifest.
        settings: `datasets.<name>.pack`.
        kept: where finished videos are kept until `folder` has its final name. Remove it then. Its
            name must tell other code and settings of streams apart.
        streams: `datasets.<name>.streams`.

    Raises:
        InputError: settings or media are missing, a video has changed since the captions stage, or
            more clips are lost than `max_bad_share`, or all of a split.
    """
    short_side = check(found, settings)
    with tqdm(
        total=len(found), desc="pack", unit="clip", mininterval=0.5, bar_format=BAR_OF_UNEVEN_WORK
    ) as bar:
        tally = Tally(found, settings.max_bad_share, bar)
        jobs = make_jobs(found, settings, short_side, kept, tally, streams or {})
        with partials_removed(kept):
            done = cut_all(jobs, settings.workers, tally)
    lost = tally.table()
    lost.to_parquet(folder / "lost.parquet", index=False)
    shards: dict[str, Shard] = {}
    frames: dict[str, Counter[int]] = {split: Counter() for split in SPLITS}
    for split in SPLITS:
        parts = [
            Part(job.folder / name, shard, job.whole)
            for job, kept_of in zip(jobs, done, strict=True)
            for name, shard in kept_of.shards.items()
            if shard.split == split
        ]
        for number, together in enumerate(bunches(parts, settings.shard_size)):
            name = f"{split}-{number:06d}.tar"
            shards[name] = join(together, folder / name)
            frames[split].update(_frame_counts(folder / name, shards[name]))
    earlier = sum(kept_of.earlier for kept_of in done)
    if earlier:
        print(f"{earlier} of {len(jobs)} videos were cut by an earlier run that was interrupted")
    how = {
        "short_side": short_side,
        "frame_rate": settings.frame_rate,
        "quality": settings.quality,
        "lost": len(lost),
        "frames": {
            split: {str(count): clips for count, clips in sorted(of_split.items())}
            for split, of_split in frames.items()
        },
    }
    empty = {of: reason for kept_of in done for of, reason in kept_of.empty.items()}
    return write_tables(
        folder, shards, found, cluster_size, clips=how, streams=streams, empty=empty
    )


class Part(NamedTuple):
    """A kept shard, and whether its clip is a whole video."""

    path: Path
    shard: Shard
    whole: bool


def bunches(parts: list[Part], size: int) -> Iterator[list[Part]]:
    """Yield what goes into one shard: parts of whole videos by the keys of their clips, `size` of
    them whether or not some are lost; each other part alone.
    """

    def bunch(numbered: tuple[int, Part]) -> tuple[bool, int]:
        number, part = numbered
        return part.whole, int(part.shard.places[0].key) // size if part.whole else number

    for _, together in groupby(enumerate(parts), bunch):
        yield [part for _, part in together]


def join(parts: list[Part], path: Path) -> Shard:
    """Write one shard of the samples of all parts, which are of one split."""
    if len(parts) == 1:
        link(parts[0].path, path)
        return parts[0].shard
    with ShardFile(path, parts[0].shard.split) as file:
        for part in parts:
            file.add_shard(part.path, part.shard)
    return file.facts()


def _frame_counts(path: Path, shard: Shard) -> Iterator[int]:
    """Yield the number of frames of each clip of a shard."""
    with open(path, "rb") as file:
        for place in shard.places:
            file.seek(place.image_offset + place.image_bytes - TAIL.size)
            yield frame_count(file.read(TAIL.size))


def short_clips(manifest: dict[str, Any], length: int) -> str:
    """Return a line on how many clips of each split have fewer than `length` frames.

    It is empty where the manifest has no numbers of frames: of pictures, and of clips that an
    earlier version packed.
    """
    told = []
    for split, counts in manifest.get("clips", {}).get("frames", {}).items():
        total = sum(counts.values())
        few = sum(clips for count, clips in counts.items() if int(count) < length)
        if total:
            told.append(f"{split} {few:,} of {total:,} ({few / total:.1%})")
    return f"clips with fewer than {length} frames: {', '.join(told)}" if told else ""


def cut_all(jobs: list[Job], workers: int, tally: Tally) -> list[Kept]:
    """Cut the videos, or find that an earlier run has; the shards of each, in order of the jobs."""
    done: dict[int, Kept] = {}
    with closing(work_off(cut_video, jobs, workers, attrgetter("media"))) as messages:
        for number, message in messages:
            if isinstance(message, Kept):
                done[number] = message
            else:
                tally.count(jobs[number].clips[message.clip].item, message.reason)
    return [done[number] for number in range(len(jobs))]


def check(found: list[Item], settings: Pack) -> int:
    """The short side; InputError where clips cannot be packed at all."""
    for item in found:
        if not item.media:
            raise InputError(
                f"the clips of source {item.source} have no media (`videos: null`), so there is "
                f"nothing to pack or to train on; set captions.sources.{item.source}.videos to the "
                "folder of videos"
            )
    if settings.image_size is None:
        raise InputError(
            "pack.image_size is null; clips of videos need a number, the short side of stored "
            "frames in pixels, for example 256"
        )
    return settings.image_size


def make_jobs(
    found: list[Item], settings: Pack, short_side: int, kept: Path, tally: Tally,
    streams: Mapping[str, StreamKind],
) -> list[Job]:  # fmt: skip
    """A job for each video that is there; the clips of the others are lost."""
    videos: dict[str, list[Item]] = {}
    for item in found:
        videos.setdefault(item.media, []).append(item)
    shown = ("short_side", "frame_rate", "quality", "shard_size")
    numbers: Counter[str] = Counter()
    jobs = []
    for media, of_video in videos.items():
        clips = []
        for item in of_video:
            clips.append(Clip(f"{numbers[item.split]:08d}", item))
            numbers[item.split] += 1
        try:
            files = video_files(media)
        except OSError as error:
            for item in of_video:
                tally.count(item, f"{media} cannot be read ({error.strerror or error})")
            continue
        if sum(size for _, size, _ in files) != of_video[0].media_bytes:
            raise InputError(
                f"{media} ({of_video[0].sample_id}) has changed since the captions stage saw it; "
                "run `dvc repro -sf captions`"
            )
        job = Job(
            media, files, clips, short_side, settings.frame_rate, settings.quality,
            settings.shard_size, kept / hashlib.sha256(media.encode()).hexdigest()[:32], "",
            dict(streams),
        )  # fmt: skip
        what = {
            "format": FORMAT,
            "versions": versions(),
            "files": files,
            "clips": [(clip.key, sample_json(clip.item).decode()) for clip in clips],
            **{name: getattr(job, name) for name in shown},
            "streams": {name: kind.packed for name, kind in streams.items()},
            "columns": [dict(clip.item.columns) for clip in clips],
        }
        text = json.dumps(what, ensure_ascii=False)
        jobs.append(job._replace(fingerprint=hashlib.sha256(text.encode()).hexdigest()))
    return jobs


def versions() -> dict[str, str]:
    """Of the packages that decode frames and write them."""
    try:
        return {name: version(name) for name in ("av", "pillow")}
    except PackageNotFoundError:
        raise InputError("videos need PyAV; run `pip install '.[video]'` in the checkout") from None


@contextmanager
def partials_removed(kept: Path) -> Iterator[None]:
    """Remove in the end what processes that were stopped have left."""
    try:
        yield
    finally:
        for path in kept.glob(".*.partial"):
            shutil.rmtree(path, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """One file under two names; a copy where the file system has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

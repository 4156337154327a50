"""Pictures that stay in the tars where they are, with an entry in the index alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from mmts.errors import InputError
from mmts.media import parts, plain_name
from mmts.shards.index import Place
from mmts.shards.items import Item
from mmts.shards.tars import REMEDY, Job, Tar, survey
from mmts.shards.verified import Mark, memory_of, remember
from mmts.shards.workers import work_off


class InPlace(NamedTuple):
    """A tar that is read in place: of the file, and the split and place of each sample in it."""

    sha256: str
    bytes: int
    places: list[tuple[str, Place]]

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        samples = Counter(split for split, _ in self.places)
        return {"samples": dict(samples), "bytes": self.bytes, "sha256": self.sha256}


def path_of(folder: Path, name: str) -> Path:
    """Where the shard is that the index of `folder` (data/shards/<dataset>) calls `name`.

    A file name is one of ours; all else is a tar in place, relative to the project or absolute.
    """
    return _root(folder) / name if "/" in name else folder / name


def name_of(folder: Path, tar: str) -> str:
    """What the index of `folder` calls a tar: relative to the project if it is below it."""
    absolute, root = Path(tar).absolute(), _root(folder).absolute()
    inside = absolute.is_relative_to(root) and absolute.parent != root
    return (absolute.relative_to(root) if inside else absolute).as_posix()


def _root(folder: Path) -> Path:
    """The project that `folder` is data/shards/<dataset> of; the working folder as `.`."""
    above = folder.absolute().parents
    root = above[min(2, len(above) - 1)]
    return Path() if root == Path.cwd() else root


def find_in_place(
    folder: Path, found: Iterable[Item], workers: int, progress: Callable[[int], object]
) -> dict[str, InPlace]:
    """The tars that have pictures which can stay there, in order of appearance, by their names.

    Pictures that are plain files, or neither JPEG nor PNG, are in none of them.

    Args:
        folder: where index and manifest will be; what is known of tars is kept beside it.
        found: what is to be packed.
        workers: processes that read tars; 0 reads in this one.
        progress: told how many pictures have been found.

    Raises:
        InputError: a tar cannot be read, or a picture is not what the captions stage saw.
    """
    wanted: dict[str, list[tuple[str, Item]]] = {}
    for item in found:
        path, member = parts(item.media)
        if member:
            wanted.setdefault(path, []).append((member, item))
    memory = memory_of(folder)
    kept = memory.parent / "tars" if memory is not None else None
    names, jobs = list(wanted), [Job(Path(path), kept) for path in wanted]
    done: dict[int, InPlace] = {}
    sure: dict[str, Mark] = {}
    with closing(work_off(survey, jobs, workers, lambda job: str(job.path))) as messages:
        for number, tar in messages:
            places = _places(tar, wanted[names[number]])
            done[number] = InPlace(tar.sha256, tar.bytes, places)
            if tar.mark is not None:
                sure[str(jobs[number].path.absolute())] = tar.mark
            progress(len(places))
    remember(memory, sure)
    return {name_of(folder, names[n]): done[n] for n in sorted(done) if done[n].places}


def _places(tar: Tar, wanted: list[tuple[str, Item]]) -> list[tuple[str, Place]]:
    names, *columns = (tar.members[name].to_pylist() for name in tar.members.column_names)
    rows = dict(zip(map(plain_name, names), zip(*columns, strict=True), strict=True))
    places = []
    for name, item in wanted:
        if name not in rows:
            raise InputError(
                f"{item.media} ({item.sample_id}) is not there as a regular file; it was in the "
                f"captions stage: {REMEDY}"
            )
        offset, size, crc, sha256, extension = rows[name]
        if (size, sha256) != (item.media_bytes, item.media_sha256):
            raise InputError(
                f"{item.media} ({item.sample_id}) has changed since the captions stage saw it; "
                "run `dvc repro -sf captions`"
            )
        if extension:
            key, _, ending = name.rpartition(".")
            places.append((item.split, Place(key, item.sample_id, ending, offset, size, crc, 0, 0)))
    return places

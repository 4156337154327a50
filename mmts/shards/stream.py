"""Shards behind a URL, read front to back through webdataset; nothing is ever unpickled.

For sets that do not fit on the machine. Those that do are better read by `ShardReader`, which
shuffles truly and can resume in the middle of an epoch.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from mmts.errors import InputError

MEDIA = ("jpg", "jpeg", "png", "webp", "mjpeg")
ALLOWED = frozenset((*MEDIA, "json", "txt"))
"""Endings of the members that are read at all."""
SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.tar")
PIECE = 1 << 20
DAMAGE = (OSError, EOFError, ValueError, tarfile.TarError, zlib.error)
"""What reading a damaged shard raises, or one that is not there."""


class Streamed(NamedTuple):
    """One sample.

    Attributes:
        key: what its members' names have in common.
        said: its JSON; empty where it has none.
        text: its txt.
        media: the file of its picture or clip, not decoded; empty where it has none.
        ending: that file's, one of MEDIA.
    """

    key: str
    said: dict[str, Any]
    text: str
    media: bytes
    ending: str


class ShardStream(IterableDataset[Streamed]):
    """The samples of one split, in an order from (seed, epoch), each once an epoch.

    The shards are permuted and dealt out to ranks and DataLoader workers, each of which mixes its
    samples in a buffer. So the order depends on how many there are, and ranks get as many samples
    as their shards have: stop all at the fewest, or use many more shards than ranks.

    The SHA-256 of a shard is known when its last byte has come: a damaged one stops the epoch then,
    after its samples have been given.
    """

    def __init__(
        self,
        base: str,
        split: str,
        *,
        seed: int,
        buffer: int = 1000,
        rank: int = 0,
        ranks: int = 1,
        shards: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """
        Args:
            base: where the shards are: a folder, or a URL that webdataset opens (file:, http:,
                https:, gs:, hf:, or `pipe:` with a command). A shard's name follows after `/`, or
                stands for `{}`: `pipe:aws s3 cp s3://bucket/cc3m/{} -`.
            split: of the shards.
            seed: of the order.
            buffer: samples that are mixed; 0 keeps the order within shards.
            rank, ranks: which share of the shards.
            shards: as in manifest.json: `split`, and `sha256` where it is to be checked. Without
                it, that of `base` is read.

        Raises:
            InputError: the manifest cannot be read or has a name that is no plain file name; there
                are fewer shards than ranks.
        """
        self.base, self.seed, self.buffer, self.epoch = base, seed, buffer, 0
        self.rank, self.ranks = rank, ranks
        manifest = {"shards": shards} if shards is not None else self._manifest()
        found = {n: f for n, f in manifest["shards"].items() if f.get("split", split) == split}
        for name in found:
            if not SHARD_NAME.fullmatch(name):
                raise InputError(f"the manifest of {base} names a shard {name!r}; expected x.tar")
        if len(found) < ranks:
            raise InputError(
                f"{base} has {len(found)} shards of split {split} for {ranks} processes; use fewer "
                "processes, or pack with a smaller pack.shard_size"
            )
        self.digests = {name: facts.get("sha256") for name, facts in found.items()}
        self.samples = sum(facts.get("samples", 0) for facts in found.values())

    def set_epoch(self, epoch: int) -> None:
        """Before a DataLoader's workers start: the epoch that the next pass is."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Streamed]:
        worker = get_worker_info()
        workers, number = (1, 0) if worker is None else (worker.num_workers, worker.id)
        consumer = self.rank * workers + number
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.digests))
        names = [list(self.digests)[n] for n in order[consumer :: self.ranks * workers]]
        samples = (sample for name in names for sample in self._samples(name))
        rng = np.random.default_rng([self.seed, self.epoch, consumer])
        yield from mixed(samples, self.buffer, rng)

    def _url(self, name: str) -> str:
        if "{}" in self.base:
            return self.base.replace("{}", name)
        return f"{self.base.rstrip('/')}/{name}"

    def _open(self, name: str) -> Any:
        try:
            from webdataset.gopen import gopen
        except ImportError:
            raise InputError(
                "streaming needs webdataset; run `pip install 'mmts[stream]'`"
            ) from None
        try:
            return gopen(self._url(name))
        except OSError as error:
            raise InputError(f"{self._url(name)} cannot be opened ({error})") from None
        except ValueError as error:
            raise InputError(f"{self._url(name)}: no such kind of URL ({error})") from None

    def _manifest(self) -> Any:
        try:
            with opened(self._open("manifest.json")) as stream:
                manifest = json.loads(stream.read())
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._url('manifest.json')} cannot be read ({error}); is the address right?"
            ) from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("shards"), dict):
            raise InputError(f"{self._url('manifest.json')} lists no shards; copy the one of pack")
        return manifest

    def _samples(self, name: str) -> Iterator[Streamed]:
        from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_expander

        def allowed(member: str) -> bool:
            return (base_plus_ext(member)[1] or "").lower() in ALLOWED

        url = self._url(name)
        try:
            with opened(self._open(name)) as stream:
                hashed = _Hashed(stream)
                members = tar_file_expander([{"url": url, "stream": hashed}], select_files=allowed)
                for sample in group_by_keys(members):
                    yield _streamed(sample)
                digest = hashed.hexdigest()
        except InputError:
            raise
        except DAMAGE as error:
            said = str(error.args[0] if error.args else error)
            raise InputError(f"{url} is damaged or cannot be read ({said})") from None
        if self.digests[name] not in (None, digest):
            raise InputError(f"{url} does not match the SHA-256 in manifest.json; copy it again")


@contextmanager
def opened(stream: Any) -> Iterator[Any]:
    """Close it in the end; what that says of a process which was cut off counts for nothing."""
    try:
        yield stream
    except BaseException:
        with suppress(OSError):
            stream.close()
        raise
    stream.close()


class _Hashed:
    """A stream whose bytes are hashed as they are read."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._hash = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        """Of the whole stream, which is read to its end."""
        while self.read(PIECE):
            pass
        return self._hash.hexdigest()


def _streamed(sample: Mapping[str, Any]) -> Streamed:
    ending = next((name for name in MEDIA if name in sample), "")
    return Streamed(
        sample["__key__"],
        json.loads(sample.get("json", b"{}")),
        sample.get("txt", b"").decode(),
        sample.get(ending, b""),
        ending,
    )


def mixed(samples: Iterable[Streamed], size: int, rng: np.random.Generator) -> Iterator[Streamed]:
    """The samples, each drawn from the `size` that are held, and in the end from what is left."""
    held: list[Streamed] = []
    for sample in samples:
        if len(held) < size:
            held.append(sample)
        elif size == 0:
            yield sample
        else:
            at = int(rng.integers(size))
            held[at], sample = sample, held[at]
            yield sample
    for at in rng.permutation(len(held)):
        yield held[at]

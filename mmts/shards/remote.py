"""Shards behind a URL, read front to back through webdataset; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from selectors import EVENT_READ, DefaultSelector
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, cast

from mmts import tars
from mmts.errors import InputError
from mmts.kinds.stream import IMAGE

MEDIA = ("jpg", "jpeg", "png", "webp", "mjpeg")
"""Endings of the picture or clip. With JSON and those of the streams, they are all that is read."""
JSON = "json"
NO_STREAMS: Mapping[str, str] = MappingProxyType({})
PIECE, PATIENCE = 1 << 20, 100
MANIFEST = 1 << 28  # bytes, at most
DAMAGE = (OSError, *tars.DAMAGE)
"""What reading a damaged shard raises, or one that is not there."""
FIRST_BYTE = 20.0
"""Seconds that one may wait for it before a training begins: later curl and gsutil may try for
minutes to bridge a gap in the network."""
NOTHING = "{} gave nothing; is it empty, is the address right, is the server up?"


class Streamed(NamedTuple):
    """One sample.

    Attributes:
        shard: the address of its shard.
        key: what its members' names have in common.
        said: its JSON; empty where it has none.
        members: what is stored of it, not decoded: the picture or clip as IMAGE, and each further
            stream by its name, where it has them.
    """

    shard: str
    key: str
    said: dict[str, Any]
    members: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """Its shard and key, as errors begin with."""
        return f"{self.shard}, sample {self.key}"


class Remote:
    """A folder, or a URL that webdataset opens: file:, http:, https:, gs:, hf:, `pipe:` a command.

    A file's name follows after `/`, or stands for `{}`: `pipe:aws s3 cp s3://bucket/cc3m/{} -`.
    """

    def __init__(self, base: str, streams: Mapping[str, str] = NO_STREAMS) -> None:
        """
        Args:
            base: the folder or URL.
            streams: names of the further streams that are read, and the endings of their files.

        Raises:
            InputError: webdataset is not there.
        """
        if find_spec("webdataset") is None:
            raise InputError(
                "streaming needs webdataset; run `pip install '.[stream]'` in the checkout"
            )
        self.base = base
        self._names = dict.fromkeys(MEDIA, IMAGE)
        self._names |= {f"{stream}.{ending}": stream for stream, ending in streams.items()}

    def url(self, name: str) -> str:
        """The address of a file there."""
        if "{}" in self.base:
            return self.base.replace("{}", name)
        return f"{self.base.rstrip('/')}/{name}"

    def _open(self, name: str) -> Any:
        from webdataset.gopen import gopen

        try:
            return gopen(self.url(name))
        except OSError as error:
            raise InputError(f"{self.url(name)} cannot be opened ({error})") from None
        except ValueError as error:
            raise InputError(f"{self.url(name)}: no such kind of URL ({error})") from None
        except Exception as error:  # of hf: what the HTTP library pleases
            raise InputError(f"{self.url(name)} cannot be opened ({error})") from None

    def reach(self, name: str) -> None:
        """InputError where a file there cannot be opened, or gives no byte for FIRST_BYTE s."""
        stream = self._open(name)
        process = getattr(stream, "proc", None)
        if process is None:
            stream.close()
            return
        pipe = stream.stream
        with DefaultSelector() as selector:  # select() takes no file number above 1,023
            selector.register(pipe, EVENT_READ)
            ready = selector.select(FIRST_BYTE)
        some = bool(ready) and bool(pipe.read(1))
        process.kill()
        with suppress(OSError):  # that it was cut off
            stream.close()
        if not some:
            waited = "" if ready else f" in {FIRST_BYTE:g} s"
            raise InputError(NOTHING.format(self.url(name)).replace(";", f"{waited};", 1))

    def manifest(self) -> Any:
        """What manifest.json says there; InputError where that is no such file."""
        url, stream = self.url("manifest.json"), self._open("manifest.json")
        hashed = Hashed(stream)
        try:
            with opened(stream):
                manifest = json.loads(hashed.read(MANIFEST))
        except (OSError, ValueError, RecursionError) as error:
            if not hashed.size:
                raise InputError(NOTHING.format(url)) from None
            raise InputError(f"{url} cannot be read ({error}); is the address right?") from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("shards"), dict):
            raise InputError(f"{url} lists no shards; copy the one of pack")
        if manifest.get("tars"):
            raise InputError(
                f"{url} has pictures in tars in place, which cannot be streamed; pack with "
                "pack.in_place false"
            )
        return manifest

    def samples(self, name: str, digest: str | None) -> Iterator[Streamed]:
        """The samples of a shard, in order.

        Args:
            name: of the shard.
            digest: its SHA-256; None where it is not to be checked.

        Raises:
            InputError: it cannot be read, a sample's JSON is no mapping, or, after the last one,
                its SHA-256 is not `digest`.
        """
        from webdataset.tariterators import group_by_keys

        url, stream = self.url(name), self._open(name)
        hashed = Hashed(stream)
        try:
            with opened(stream):
                for sample in group_by_keys(_members(url, hashed, {*self._names, JSON})):
                    yield _streamed(url, sample, self._names)
                found = hashed.hexdigest()
        except InputError:
            raise
        except DAMAGE as error:
            if not hashed.size:
                raise InputError(NOTHING.format(url)) from None
            said = str(error.args[0] if error.args else error)
            raise InputError(f"{url} is damaged or cannot be read ({said})") from None
        if digest not in (None, found):
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


class Hashed:
    """A stream whose bytes are hashed as they are read.

    Attributes:
        size: bytes that were read.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._hash, self.size = stream, hashlib.sha256(), 0
        self._past = 0  # reads that gave nothing

    def read(self, size: int = -1) -> bytes:
        """As the stream reads; EOFError for who goes on behind the end, as tarfile does of a member
        that claims more bytes than there are."""
        data: bytes = self._stream.read(size)
        self._past = 0 if data else self._past + 1
        if self._past > PATIENCE:
            raise EOFError("unexpected end of data")
        self._hash.update(data)
        self.size += len(data)
        return data

    def hexdigest(self) -> str:
        """Of the whole stream, which is read to its end."""
        while self.read(PIECE):
            pass
        return self._hash.hexdigest()


def _members(url: str, stream: Hashed, endings: Container[str]) -> Iterator[dict[str, Any]]:
    """The members of some endings, as webdataset has them. No compressed tars: a few bytes of one
    may be gigabytes."""
    from webdataset.tariterators import base_plus_ext

    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", tarinfo=tars.Member) as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else they add up
            ending = (base_plus_ext(member.name)[1] or "").lower()
            if member.isreg() and ending in endings:
                tars.refuse_sparse(url, member)
                yield {"fname": member.name, "data": tars.content(archive, member), "__url__": url}


def _streamed(url: str, sample: Mapping[str, Any], names: Mapping[str, str]) -> Streamed:
    """The sample, with the members of some endings by the names of their streams."""
    members: dict[str, bytes] = {}
    for ending, name in names.items():
        if ending in sample:
            members.setdefault(name, sample[ending])
    found = Streamed(url, sample["__key__"], {}, members)
    try:
        said = json.loads(sample.get(JSON, b"{}"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{found.name}: its JSON cannot be read ({error}); copy the shard again"
        ) from None
    if not isinstance(said, dict):
        kind = type(said).__name__
        raise InputError(f"{found.name}: its JSON is a {kind}, not a mapping; copy the shard again")
    return found._replace(said=said)

"""Tars that somebody made to harm, through each of the four readers of tars.

They are what img2dataset writes (`read_output`), tars of pictures (`MediaReader`), tars that stay
where they are (`survey`), and shards behind an address (`ShardStream`).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mmts.media import MediaReader
from mmts.shards.stream import ShardStream
from mmts.shards.tars import Job, survey
from mmts.sources.img2dataset import read_output
from tests.faults.apart import apart
from tests.making import picture

Maker = Callable[[tarfile.TarFile], object]
BIG = 1 << 63
SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "2000"}
MAP = b"1\n1995\n5\n".ljust(512, b"\0") + b"parts"


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **facts: object) -> None:
    """A member; `facts` are set on its header (type, linkname, pax_headers)."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in facts.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(data))


def claim(tar: tarfile.TarFile, name: str, size: int, kind: bytes = tarfile.REGTYPE) -> None:
    """A header that claims a size, and nothing behind it."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    assert tar.fileobj is not None
    tar.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))


def chain(kind: bytes, data: bytes) -> Maker:
    """Thousands of headers that all belong to one member."""

    def write(tar: tarfile.TarFile) -> None:
        for _ in range(3000):
            claim(tar, "x", len(data), kind)
            assert tar.fileobj is not None
            tar.fileobj.write(data.ljust(512, b"\0"))
        add(tar, "b.png", picture(2))

    return write


def below_zero(tar: tarfile.TarFile) -> None:
    """A size in base 256 that leads back, to the same header again and again."""
    member = bytearray(tarfile.TarInfo("b.png").tobuf(tarfile.GNU_FORMAT))
    member[124:136] = (-512).to_bytes(12, "big", signed=True)
    member[148:156] = b" " * 8
    member[148:156] = b"%06o\0 " % sum(member)
    assert tar.fileobj is not None
    tar.fileobj.write(member)


def damaged(tar: tarfile.TarFile) -> None:
    """A header without a checksum between two members: tarfile takes it for the end."""
    assert tar.fileobj is not None
    tar.fileobj.write(b"b.png".ljust(512, b"?"))
    add(tar, "c.png", picture(3))


REFUSED: dict[str, Maker] = {
    "8 EB": lambda t: claim(t, "b.png", BIG),
    "8 EB of text": lambda t: claim(t, "b.json", BIG),
    "8 EB of a name": lambda t: claim(t, "b", BIG, tarfile.GNUTYPE_LONGNAME),
    "40 GB of pax": lambda t: claim(t, "b", 40 << 30, tarfile.XHDTYPE),
    "3 MB of pax": lambda t: add(t, "b.png", b"x", pax_headers={"comment": "x" * 3_000_000}),
    "pax 8 EB": lambda t: add(t, "b.png", picture(2), pax_headers={"size": str(BIG)}),
    "pax back": lambda t: add(t, "b.png", picture(2), pax_headers={"size": "-1536"}),
    "sparse 8 EB": lambda t: add(
        t, "b.png", MAP, pax_headers={**SPARSE, "GNU.sparse.realsize": str(BIG)}
    ),
    "sparse map": lambda t: add(t, "b.png", b"x\ny\n".ljust(512), pax_headers=SPARSE),
    "below zero": below_zero,
    "damaged header": damaged,
    "3000 names": chain(tarfile.GNUTYPE_LONGNAME, b"name"),
    "3000 pax headers": chain(tarfile.XHDTYPE, b"11 path=ab\n"),
    "pax length": chain(tarfile.XHDTYPE, b"99999999999999999999999 path=ab\n"),
}


def written(folder: Path, make: Maker) -> Path:
    """A tar with a picture and its caption in front of what `make` adds."""
    path = folder / "00000.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "a.png", picture(1)), add(tar, "a.txt", b"one")
        make(tar)
    return path


def read_all(path: Path) -> list[object]:
    """What the readers find, or how they refuse."""
    stream = {path.name: {"split": "train"}}
    readers: list[Callable[[], object]] = [
        lambda: read_output(path.parent)["media"].tolist(),
        lambda: MediaReader().index([f"{path}::a.png"]),
        lambda: next(survey(Job(path, None))).members["name"].to_pylist(),
        lambda: [
            (s.key, len(s.members.get("image", b"")))
            for s in ShardStream(str(path.parent), "train", seed=0, shards=stream)
        ],
    ]
    return [apart(reader) for reader in readers]


@pytest.mark.parametrize("name", REFUSED)
def test_headers_that_lie_are_refused_by_every_reader(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, REFUSED[name])
    for told in read_all(path):
        assert str(told).startswith(f"refused: {path} "), told


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_by_the_name_of_a_tar(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = written(tmp_path, lambda t: None)
    path.write_bytes(compress(path.read_bytes() + bytes(1 << 25)))
    assert path.stat().st_size < 100_000
    assert all(str(told).startswith(f"refused: {path} ") for told in read_all(path))


def test_a_sparse_member_is_refused_where_it_is_wanted(tmp_path: Path) -> None:
    path = written(tmp_path, lambda t: add(t, "b.png", MAP, pax_headers=SPARSE))
    records, media, in_place, stream = read_all(path)
    for told in (records, media, stream):
        assert "has the sparse member b.png" in str(told)
    assert in_place == "['a.png']"


def test_links_devices_and_pickles_are_passed_over(tmp_path: Path) -> None:
    def make(tar: tarfile.TarFile) -> None:
        kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
                 tarfile.FIFOTYPE, tarfile.DIRTYPE)  # fmt: skip
        for number, kind in enumerate(kinds):
            add(tar, f"{number}.png", type=kind, linkname="/etc/passwd")
        for ending in ("pyd", "pickle", "pkl", "pth", "pt", "npy", "cbor", "mp"):
            add(tar, f"a.{ending}", b"cposix\nsystem\n(S'false'\ntR.")

    path = written(tmp_path, make)
    records, media, in_place, stream = read_all(path)
    assert records == f"['{path}::a.png']" and media == "None"
    assert "png" in str(in_place) and ".png" in str(in_place)
    assert str(in_place).count(".png") == 1
    assert stream == f"[('a', {len(picture(1))})]"


@pytest.mark.parametrize("name", ["../up", "/abs", "C:/abs", "~root/a", "a\\..\\..\\b", "a::b",
                                  "a\x1b[2J", "new\nline"])  # fmt: skip
def test_names_that_lead_elsewhere_are_no_pictures(name: str, tmp_path: Path) -> None:
    """Nothing is unpacked, so a name is only looked up; img2dataset's are passed over."""
    path = written(tmp_path, lambda t: add(t, "b.png", picture(2), pax_headers={
        "path": f"{name}.png"}))  # fmt: skip
    with pytest.warns(UserWarning, match="ignored 1 members of tars"):
        assert read_output(tmp_path)["media"].tolist() == [f"{path}::a.png"]
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["00000.tar"]


def test_two_members_of_one_name(tmp_path: Path) -> None:
    """The later one counts, as tar has it, where a name is looked up; else the tar is refused."""
    path = written(tmp_path, lambda t: add(t, "a.png", picture(2)))
    records, _, in_place, stream = read_all(path)
    assert "the key 'a' stands twice" in str(records) and "duplicate" in str(stream)
    assert in_place == "['a.png']"
    assert MediaReader().read(f"{path}::a.png") == picture(2)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_tar_that_is_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "00000.tar"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    for told in (
        apart(lambda: read_output(tmp_path), seconds=3),
        apart(lambda: MediaReader().index([f"{path}::a.png"]), seconds=3),
    ):
        assert told.startswith(f"refused: {path} is no regular file")

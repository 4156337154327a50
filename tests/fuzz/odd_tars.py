"""Strategies of tars that are almost right."""

from __future__ import annotations

import tarfile

from hypothesis import strategies as st

from tests.fuzz.hostile import PICKLED, TEXTS, damaged

KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE,
         tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE,
         tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, b"Z")  # fmt: skip
PAX = (
    b"", b"0", b"11 size=-1\n", b"13 size=-512\n", b"30 size=99999999999999999999\n",
    b"22 GNU.sparse.major=1\n", b"26 GNU.sparse.size=1000000\n", b"99999999999 path=a\n",
    b"12 path=../\n", b"14 size=12x34\n", b"20 hdrcharset=BINARY\n", b"10 path=\xff\xfe\n",
    b"22 GNU.sparse.map=1,2\n22 GNU.sparse.size=12\n", b"-5 a=b\n", b"9 mtime=x\n",
)  # fmt: skip
SIZES = (b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"-0000000001\0", b"0000000000x\0",
         b"\0" * 12, b"\xff" * 10 + b"\xfe\0")  # fmt: skip


def tar_member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, size: bytes = b"") -> bytes:
    """A header with its data; `size` is the field as it stands, else that of the data."""
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(data), kind, "x" if kind in b"12" else ""
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT, errors="surrogateescape"))
    if size:
        header[124:136] = size
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


@st.composite
def odd_tar(draw: st.DrawFn, members: dict[str, bytes]) -> bytes:
    """A tar with members of other kinds, names, sizes and pax headers among the given ones."""
    found = [tar_member(name, data) for name, data in members.items()]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(found)))
        how = draw(st.sampled_from(("kind", "pax", "size", "name", "pickle", "take", "longnames")))
        name, data = draw(st.sampled_from([*members.items(), ("0.txt", b"a"), ("a.jpg", b"")]))
        if how == "kind":
            found.insert(at, tar_member(name, data, draw(st.sampled_from(KINDS))))
        elif how == "pax":
            found.insert(at, tar_member("@", draw(st.sampled_from(PAX)), tarfile.XHDTYPE))
        elif how == "size":
            kind = draw(st.sampled_from(KINDS))
            found.insert(at, tar_member(name, data, kind, draw(st.sampled_from(SIZES))))
        elif how == "name":
            text = draw(st.sampled_from([t for t in TEXTS if t and len(t) < 90 and t.isascii()]))
            found.insert(at, tar_member(f"{text}.{name.rpartition('.')[2]}", data))
        elif how == "pickle":
            ending = draw(st.sampled_from(("pyd", "pickle", "pth", "cls", "json", "txt", "npy")))
            found.insert(at, tar_member(f"{name.rpartition('.')[0]}.{ending}", PICKLED))
        elif how == "take" and at < len(found):
            del found[at]
        elif how == "longnames":
            found[at:at] = [tar_member("@", b"n", tarfile.GNUTYPE_LONGNAME)] * 600
    data = b"".join(found) + bytes(1024)
    return draw(damaged(data)) if draw(st.integers(0, 2)) == 0 else data

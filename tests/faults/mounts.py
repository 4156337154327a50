"""A full disk, a read-only one and no network, in the namespace of one process (Linux)."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

NEW_NAMES, NEW_USER, NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000  # unshare(2)
READ_ONLY, REMOUNT, BIND, PRIVATE, RECURSIVE = 1, 32, 4096, 1 << 18, 16384  # mount(2)
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: Path, kind: str | None, flags: int, data: str = "") -> None:
    found = _libc.mount(
        source.encode(), str(target).encode(), kind.encode() if kind else None,
        ctypes.c_ulong(flags), data.encode(),
    )  # fmt: skip
    _check(found, f"mount on {target}")


def _apart(what: int) -> None:
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(what | (NEW_USER if user else 0)), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def no_network() -> None:
    """This process and all that it starts reach no address, not even the machine's own."""
    _apart(NEW_NETWORK)


def own_namespace() -> None:
    """Let this process mount what no other sees. Only in a fork, which has one thread."""
    _apart(NEW_NAMES)
    _mount("none", Path("/"), None, RECURSIVE | PRIVATE)


def small_disk(folder: Path, size: int) -> None:
    """`folder` becomes an empty disk of so many bytes, until this process ends."""
    own_namespace()
    _mount("none", folder, "tmpfs", 0, f"size={size}")


def grow(folder: Path, size: int) -> None:
    """The disk of `small_disk` has so many bytes from now on."""
    _mount("none", folder, None, REMOUNT, f"size={size}")


def read_only(folder: Path) -> None:
    """No file below `folder` can be written by this process, not even by root."""
    own_namespace()
    _mount(str(folder), folder, None, BIND | RECURSIVE)
    _mount("none", folder, None, REMOUNT | BIND | READ_ONLY)

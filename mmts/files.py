"""Write files and folders so that a half-written one never has its final name."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmts.disk import room
from mmts.errors import InputError, first_line
from mmts.sealed import check_file, write_sums

if TYPE_CHECKING:
    import pandas as pd

PATIENCE = 2.0
"""Seconds that an output waits for another process: a killed one may still be ending."""
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""In JSON: a half of a character beyond the first 65,536, with or without the other half."""


@contextmanager
def output_folder(path: Path | str, *, sums: bool = True) -> Iterator[Path]:
    """Yield a fresh sibling folder that replaces `path` when the block ends without an error.

    It is on the disk then, and sealed (`mmts.sealed`), unless no stage reads it (`sums`). Whatever
    goes wrong inside the block, `path` is untouched and the sibling is removed. One that a killed
    process has left (`.<name>.partial`, which git and DVC ignore) goes with the next run.

    Raises:
        InputError: another process is writing the same folder, or the disk is full.
    """
    final = Path(path)
    with room(final):
        make_folder(final.parent)
        work = final.parent / f".{final.name}.partial"
        with _alone(work, final) as lock:
            try:
                yield work
                seal(work, final, sums=sums)
            except BaseException:
                if _is_at(lock, work):
                    shutil.rmtree(work, ignore_errors=True)
                raise


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Yield where to write a sibling that replaces `path` when the block ends without an error.

    Several processes may write one file at a time; the last one counts. A sibling that a killed one
    has left goes with the next run.

    Raises:
        InputError: the disk is full.
    """
    with room(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{escape(path.name)}.*.partial"):
            with suppress(OSError), open(left, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where its writer lives
                left.unlink()
        work = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with _held(work):
                yield work
                sync(work)
                work.replace(path)
        finally:
            work.unlink(missing_ok=True)


@contextmanager
def _held(work: Path) -> Iterator[None]:
    """A new file that no other process takes for one that was left."""
    while True:
        with open(work, "wb") as file:
            if _locked(file.fileno()) and _is_at(file.fileno(), work):
                yield
                return


def seal(work: Path, final: Path, *, sums: bool = True) -> None:
    """Wait until `work` is on the disk, and only then give it its name.

    Whatever stops the process or the machine, `final` is whole or not there. One that was there
    is replaced.

    Args:
        work: a folder beside `final`.
        final: the name.
        sums: whether to list the files and their SHA-256 first.
    """
    files = write_sums(work) if sums else [path for path in work.rglob("*") if path.is_file()]
    for path in (*files, *(path for path in work.rglob("*") if path.is_dir()), work):
        sync(path)
    aside = _aside(final)
    try:
        if final.exists():
            final.rename(aside)
        work.rename(final)
    except BaseException:
        if aside.exists() and not final.exists():
            aside.rename(final)
        raise
    _remove(aside)
    sync(final.parent)


def _remove(folder: Path) -> None:
    """A folder with all below it, or what stands in its place; nothing where it is not there."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


_locks: set[int] = set()


def _leave_to_the_parent() -> None:
    """A worker that outlives a killed stage must not hold its lock."""
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_leave_to_the_parent)


@contextmanager
def _alone(work: Path, final: Path) -> Iterator[int]:
    """Make `work` empty, and keep other processes from writing it, as far as its disk has locks.

    Yields the descriptor of the folder.

    The lock is on the folder itself: it goes with the process, and no file is left behind.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with suppress(FileExistsError):
                work.mkdir()
            lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # its writer has just ended
            if time.monotonic() > until:
                raise
            continue
        try:
            if _locked(lock) and _is_at(lock, work):
                break
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
        if time.monotonic() > until:
            raise InputError(
                f"{final} is being written by another process; wait for its end, or stop it"
            )
        time.sleep(0.05)
    _locks.add(lock)
    try:
        for left in work.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        _remove(_aside(final))
        yield lock
    finally:
        if lock in _locks:
            _locks.remove(lock)
            os.close(lock)


def _locked(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks, as some network disks are
        return True
    return True


def _is_at(opened: int, path: Path) -> bool:
    """Whether an open folder or file still has this path: another process may have taken it."""
    try:
        return os.path.samestat(os.fstat(opened), path.stat())
    except FileNotFoundError:
        return False


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.gone.partial")


def cache_folder(name: str) -> Path:
    """Return a folder of `data/cache`, or of the folder that MMTS_CACHE names.

    Several projects, or the temporary workspaces of DVC, may share it.
    """
    return Path(os.environ.get("MMTS_CACHE") or "data/cache") / name


def require(path: Path | str, remedy: str) -> Path:
    """A file or folder that exists, else an InputError that names it and the remedy."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} is not there; {remedy}")
    if not (path.is_file() or path.is_dir()):  # a pipe or a device may have no end
        raise InputError(f"{path} is no regular file; {remedy}")
    return path


def artifact(path: Path | str, remedy: str = "run `dvc repro`") -> Path:
    """`path` of a file that a stage wrote; InputError where it is missing or has changed since.

    A file of a folder that was made by hand, without SHA256SUMS, is taken as it is.
    """
    path = require(path, remedy)
    check_file(path, f"delete {path.parent} and {remedy}")
    return path


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline; NaN and infinity are refused."""
    path.write_text(
        json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )


def read_json(path: Path | str, remedy: str = "run `dvc repro`", *, ours: bool = True) -> Any:
    """The JSON value in `path`; InputError where it is missing or not JSON.

    `ours`: whether a stage wrote it, see `artifact`.
    """
    path = artifact(path, remedy) if ours else require(path, remedy)
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text, object_pairs_hook=None if ours else once)
        if HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # a half alone fits no file
        return value
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({first_line(error)}); {remedy}") from None


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict; ValueError where a key stands twice, of which one is lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def read_parquet(
    path: Path | str, remedy: str = "run `dvc repro`", *, ours: bool = True
) -> pd.DataFrame:
    """The table in `path`; InputError where it is missing or not Parquet.

    `ours`: whether a stage wrote it, see `artifact`.
    """
    import pandas as pd

    path = artifact(path, remedy) if ours else require(path, remedy)
    try:
        # else whole numbers lose their last digits where one of them is missing
        exact: Any = None if ours else {"integer_object_nulls": True}
        table = pd.read_parquet(
            path, use_threads=False, pre_buffer=False, to_pandas_kwargs=exact
        )  # threads that cannot start would be waited for
        check_texts(table)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may raise anything
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's or the rights' fault
        raise InputError(f"{path} is not a Parquet file ({first_line(error)}); {remedy}") from None
    if not table.columns.is_unique:
        name = table.columns[table.columns.duplicated()][0]
        raise InputError(f"{path} has the column {name} twice; {remedy}")
    return table


def check_texts(table: pd.DataFrame) -> None:
    """ValueError where a column of strings holds bytes that are not UTF-8."""
    import pandas as pd
    import pyarrow as pa

    for _, values in table.items():
        if isinstance(values.dtype, pd.StringDtype):
            pa.array(values).validate(full=True)


def sync(path: Path | str) -> None:
    """Wait until the disk has a file's bytes, or the names in a folder, if it can do that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, all of them on the disk on return."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def discard(folder: Path) -> None:
    """Remove a folder so that a killed process leaves no part of it under its name."""
    aside = _aside(folder)
    _remove(aside)
    folder.rename(aside)
    _remove(aside)

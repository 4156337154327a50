"""Write files and folders so that a half-written one never has its final name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmts.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def output_folder(path: Path | str) -> Iterator[Path]:
    """Yield a fresh sibling folder that replaces `path` when the block ends without an error.

    Whatever goes wrong inside the block, `path` is untouched and the sibling is removed. One that
    a killed process has left (`.<name>.partial`, which git and DVC ignore) goes with the next run.
    """
    final = Path(path)
    work = final.parent / f".{final.name}.partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
        if final.exists():
            shutil.rmtree(final)
        work.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Yield where to write a sibling that replaces `path` when the block ends without an error.

    Several processes may write one file at a time; the last one counts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield work
        sync(work)
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


def require(path: Path | str, remedy: str) -> Path:
    """`path` if it exists, else an InputError that names it and the remedy."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} is not there; {remedy}")
    return path


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline; NaN and infinity are refused."""
    path.write_text(
        json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )


def read_json(path: Path | str, remedy: str = "run `dvc repro`") -> Any:
    """The JSON value in `path`; InputError where it is missing or not JSON."""
    path = require(path, remedy)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); {remedy}") from None


def read_parquet(path: Path | str, remedy: str = "run `dvc repro`") -> pd.DataFrame:
    """The table in `path`; InputError where it is missing or not Parquet."""
    import pandas as pd

    path = require(path, remedy)
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{path} is not a Parquet file ({problem}); {remedy}") from None


def sha256_file(path: Path | str) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path | str) -> None:
    """Wait until the disk has a file's bytes, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until the disk has all below a folder, and the names of all folders above it."""
    for path in (*folder.rglob("*"), folder, *folder.parents):
        sync(path)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, all of them on the disk on return."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def discard(folder: Path) -> None:
    """Remove a folder so that a killed process leaves no part of it under its name."""
    aside = folder.with_name(f".{folder.name}.gone.partial")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)

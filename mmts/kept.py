"""Finished results of single seeds, kept under what decides them.

A stage that works on several seeds takes from here what is done: when the list of seeds has grown,
when it was interrupted, or when another machine that shares the folder was faster. The folders lie
in `data/cache/kept` (`mmts.files.cache_folder`), are sealed, and may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mmts.errors import InputError
from mmts.files import cache_folder, output_folder
from mmts.planned import Planned
from mmts.sealed import SUMS, check_seal, sha256_file


def folder_digest(folder: Path) -> str:
    """Return a SHA-256 over the names and contents of a folder; a sealed one is not read again."""
    if (folder / SUMS).is_file():
        return sha256_file(folder / SUMS)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = (f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Kept:
    """Results of the seeds of one cell.

    Attributes:
        digest: of plan, code and inputs.
        inputs: digest of each folder that the stage reads.
    """

    def __init__(self, plan: Planned, cell: Sequence[str], inputs: Sequence[Path]) -> None:
        """
        Args:
            plan: of the stage.
            cell: names of folders: stage, dataset and method.
            inputs: folders that the stage reads.
        """
        self.inputs = {folder.as_posix(): folder_digest(folder) for folder in inputs}
        texts = [plan.digest, *self.inputs.values()]
        self.digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
        self._folder = cache_folder("kept").joinpath(*cell, self.digest)

    def path(self, seed: int) -> Path:
        """Return where the result of a seed is or will be."""
        return self._folder / str(seed)

    def has(self, seed: int) -> bool:
        """Return whether the result of a seed is there, and as it was written."""
        folder = self.path(seed)
        if not (folder / SUMS).is_file():
            return False
        try:
            check_seal(folder, set(), "it is computed again")
        except InputError as error:
            print(error)
            return False
        return True

    @contextmanager
    def turn(self, seed: int) -> Iterator[None]:
        """Wait while another process works on a seed, as far as the disk has locks.

        Two experiments of a queue that share the folder may have a cell in common.
        """
        with ExitStack() as stack:
            with suppress(OSError):  # a disk without locks, or where nobody can write
                self._folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(self._folder / f".{seed}.lock", "w"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    print(f"seed {seed} is at work in another process; waiting for it", flush=True)
                    fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def new(self, seed: int) -> Iterator[Path]:
        """Yield a folder that becomes the result of a seed in the end."""
        with output_folder(self.path(seed)) as work:
            yield work

    def put(self, seed: int, folder: Path) -> None:
        """Put the result of a seed into `folder`, without a copy where the disk allows it.

        Raises:
            InputError: it has been deleted or changed since it was computed.
        """
        try:
            for path in sorted(self.path(seed).rglob("*")):
                target = folder / path.relative_to(self.path(seed))
                if path.is_dir():
                    target.mkdir(parents=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path, target)
                except OSError:
                    shutil.copyfile(path, target)
            check_seal(folder, set(), "")
        except (InputError, FileNotFoundError):
            raise InputError(
                f"{self.path(seed)} was deleted or changed while it was read; run the same command "
                "again"
            ) from None

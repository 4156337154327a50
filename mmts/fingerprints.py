"""Fingerprints of the weights and packages that params.yaml names, without loading them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmts.errors import InputError
from mmts.planned import Files
from mmts.weights import PACKAGE, cached_revision, package_folder, sentence_id


def files_outside(names: Iterable[str], raw: Path) -> list[Path]:
    """Return the files, of those that the settings of a source name, that are not below `raw`."""
    found = []
    for name in names:
        path = raw / name
        try:
            inside = path.resolve().is_relative_to(raw.resolve())
            found += [] if inside or not path.is_file() else [path]
        except (OSError, ValueError):  # no name of a file
            continue
    return sorted(found)


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return package -> version."""
    found = {}
    for package in packages:
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

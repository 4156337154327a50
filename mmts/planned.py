"""What a stage reads of its plan, and the watch over what would be recorded falsely.

DVC hashes the dependencies of a stage after its command has run. So the stage itself sees to it
that they are still what it read: the plan, the data and the code.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from pydantic import TypeAdapter, ValidationError

import mmts
from mmts.errors import InputError, first_line, known, spelt
from mmts.files import cache_folder, output_file, output_folder, read_json, require
from mmts.sealed import sha256_file, write_sums

PLAN = Path("data/plan")
AGAIN = "run `dvc repro plan`"
ANEW = "run `dvc repro`, or `dvc repro plan` and the same command again"
Mark = tuple[int, int, int]
"""Size, mtime in nanoseconds, inode."""


class Planned:
    """The plan of a stage for a dataset and a method, while the stage runs.

    Attributes:
        path: the JSON file of the plan.
        content: what is in it.
    """

    def __init__(
        self, stage: str, *, dataset: str | None = None, method: str | None = None,
        inputs: Sequence[Path] = (), params: Path = Path("params.yaml"), folder: Path = PLAN,
    ) -> None:  # fmt: skip
        """
        Args:
            stage: its name.
            dataset, method: as far as the stage has one for each.
            inputs: files and folders that the stage reads.
            params: params.yaml, which the plan is of.
            folder: of the plan.

        Raises:
            InputError: there is no params.yaml or no such plan, the code is not that of the plan,
                or the stage was started by hand and params.yaml is not that of the plan.
        """
        self._stage, self._folder, self._dataset = stage, folder, dataset
        self.path = folder.joinpath(*(name for name in (dataset, method) if name), f"{stage}.json")
        require(params, "run from the project's folder")
        if not folder.is_dir():
            raise InputError(f"{folder} is not there; {AGAIN}")
        self._check_names(dataset, method)
        if "DVC_STAGE" not in os.environ:
            of_plan = _read(folder / "run/params.json", "sha256")["sha256"]
            if sha256_file(params) != of_plan:
                raise InputError(f"{folder} is older than {params}; {AGAIN}")
        self._modules: dict[str, str] = _read(folder / f"run/code/{stage}.json")
        for module, digest in self._modules.items():
            self._check_module(module, digest)
        self.content = _read(self.path, "settings")
        code = [_file(name) for name in self._modules if "/" in name]
        outside = [Path(name) for name in self._outside()]
        self._inputs = [self.path, folder / "code" / stage, *code, *outside, *inputs]
        self._marks = {path: mark for root in self._inputs for path, mark in marks(root)}
        known_files = Files(cache_folder("plan") / "files.json")
        for name, digest in self._outside().items():
            if known_files.sha256(Path(name)) != digest:
                raise InputError(f"{name} has changed since {folder} was written; {ANEW}")

    def _outside(self) -> dict[str, str]:
        """Files and folders outside of `data` that the plan names, and their SHA-256."""
        named = {**self.content.get("files", {}), **self.content.get("weights", {})}
        digests = {name: str(said).removeprefix("sha256 ") for name, said in named.items()}
        return {
            name: digest
            for name, digest in digests.items()
            if re.fullmatch("[0-9a-f]{64}", digest) and not name.startswith("package:")
        }

    def settings(self, name: str, kind: Any) -> Any:
        """Return a part of the settings, with those that change no result.

        Args:
            name: such as `train`.
            kind: the type that it has.
        """
        settings = self.content["settings"]
        if not isinstance(settings, dict) or name not in settings:
            raise InputError(f"{self.path} has no {name}; {AGAIN}")
        value = settings[name]
        if self._dataset is not None:
            free = _read(self._folder / f"run/{self._dataset}.json")
            value = _together(value, free.get(name, {}))
        try:
            return TypeAdapter(kind).validate_json(_json(value))
        except ValidationError as error:
            raise InputError(
                f"{self.path} has no such {name} ({first_line(error)}); {AGAIN}"
            ) from None

    @cached_property
    def code(self) -> str:
        """Digest of what the stage runs."""
        path = require(self._folder / "code" / self._stage, AGAIN)
        found = path.read_bytes().strip()
        if not re.fullmatch(rb"[0-9a-f]{64}", found):
            raise InputError(f"{path} has no SHA-256; {AGAIN}")
        return found.decode()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the code and of the plan, but for the list of seeds."""
        of_cell = {**self.content, "settings": {**self.content["settings"], "seeds": None}}
        return hashlib.sha256(f"{self.code}{_json(of_cell)}".encode()).hexdigest()

    def check(self) -> None:
        """Raise InputError if the plan or an input has changed since the stage began."""
        now = {path: mark for root in self._inputs for path, mark in marks(root)}
        for path in (*self._marks, *now):
            if self._marks.get(path) != now.get(path):
                raise InputError(
                    f"{path} has changed while `{self._stage}` was reading it; run the same "
                    "command again"
                )

    @contextmanager
    def output(self, path: Path, *, sums: bool = True) -> Iterator[Path]:
        """Yield a folder that takes the name `path` in the end, as `output_folder` does.

        Raises:
            InputError: what `check` raises; `path` is as it was then.
        """
        with output_folder(path, sums=False) as work:
            yield work
            if sums:  # of much data it takes long
                write_sums(work)
            self.check()

    def __enter__(self) -> Planned:
        self._finder = _Finder(self._check_module, self._modules)
        sys.meta_path.insert(0, self._finder)
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        sys.meta_path.remove(self._finder)

    def _check_names(self, dataset: str | None, method: str | None) -> None:
        folder = self._folder
        for what, name in (("dataset", dataset), ("method", method)):
            if name is None:
                continue
            names = [
                p.name for p in folder.iterdir() if p.is_dir() and p.name not in ("code", "run")
            ]
            if name not in names:
                hint = known(name, sorted(names))
                raise InputError(f"there is no plan of {what} {spelt(name)}; {hint}")
            folder = folder / name

    def _check_module(self, module: str, digest: str) -> None:
        path = _file(module)
        if not path.is_file() or sha256_file(path) != digest:
            raise InputError(f"{path} has changed since {self._folder} was written; {ANEW}")


def _file(name: str) -> Path:
    """The file of a module, or a file of another kind by its path in the project."""
    root = Path(mmts.__file__).parents[1]
    if "/" in name:
        return root / name
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


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
                others = {path: mark for path, mark in self._known.items() if Path(path).exists()}
                work.write_text(json.dumps({**others, **self._used}, indent=0), encoding="utf-8")


def marks(path: Path) -> Iterator[tuple[Path, Mark]]:
    """Yield the files at or below a path, and what tells each from a changed one."""
    if path.is_dir():
        for root, folders, names in os.walk(path, followlinks=True):
            folders.sort()
            for name in sorted(names):
                yield from marks(Path(root, name))
    elif path.exists():
        stat = path.stat()
        yield path, (stat.st_size, stat.st_mtime_ns, stat.st_ino)


class _Finder(importlib.abc.MetaPathFinder):
    """Looks at each module of the project before it is imported; it finds none itself."""

    def __init__(self, check: Any, modules: Mapping[str, str]) -> None:
        self._check, self._modules = check, modules

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] in ("mmts", "stages"):
            if name not in self._modules:
                raise InputError(
                    f"{name} is imported but not in the plan, so that DVC would not see it change; "
                    "import it by its name in a module that the stage imports"
                )
            self._check(name, self._modules[name])
        return None

    def begin(self) -> None:
        """Look at what this process has imported, and from now on before it is imported."""
        sys.meta_path.insert(0, self)
        for name in list(sys.modules):
            self.find_spec(name, None)


def finder() -> _Finder | None:
    """Return what looks at the imports of this process, for one that it starts to `begin`."""
    return next((found for found in sys.meta_path if isinstance(found, _Finder)), None)


def _read(path: Path, *keys: str) -> dict[str, Any]:
    """Return what is in a JSON file of the plan: an object with some keys."""
    value = read_json(path, AGAIN, ours=False)
    missing = [key for key in keys if key not in value] if isinstance(value, dict) else ["object"]
    if missing:
        raise InputError(f"{path} has no {missing[0]}; {AGAIN}")
    return dict(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _together(value: Any, free: Any) -> Any:
    """Settings with those that change no result put back."""
    if not isinstance(value, dict) or not isinstance(free, dict):
        return value
    return {**value, **{k: _together(value[k], v) if k in value else v for k, v in free.items()}}

"""A registry: a folder in which each file is one kind of a thing.

A file `siglip.py` of `mmts/kinds/objective` holds a class `Kind`: the settings of `siglip`, and
what it builds. A file of `mmts/towers/vision` or `mmts/towers/text` has functions alone, such as
`build`: the settings of all towers are of one class (`mmts.settings.towers`). Nothing imports these
files by a statement, so that a new kind is a new file, and a change of one kind changes what names
it alone.
"""

from __future__ import annotations

import difflib
import reprlib
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from mmts.settings.base import Settings


class Registry:
    """The kinds of one thing.

    Where the files have a `Kind`, a field takes any of them as `Annotated[Any, REGISTRY,
    PlainValidator(REGISTRY.validated)]`: a mapping with the key `kind`, or the kind alone.
    """

    def __init__(self, what: str, package: str) -> None:
        """
        Args:
            what: the thing, for errors.
            package: import name of the folder.
        """
        self.what, self.package = what, package
        self.load = cache(self._load)

    @property
    def kinds(self) -> list[str]:
        """Names of all kinds, without importing them."""
        folder = Path(__file__).parents[1] / self.package.replace(".", "/")
        return sorted(m.name for m in iter_modules([str(folder)]) if m.name[0] != "_")

    def module(self, kind: str) -> str:
        """Return the import name of a kind's file."""
        return f"{self.package}.{kind}"

    def import_(self, kind: str) -> Any:
        """Return the module of a kind; KeyError where there is none."""
        if kind not in self.kinds:
            raise KeyError(kind)
        return import_module(self.module(kind))

    def _load(self, kind: str) -> type[Settings]:
        """Return the `Kind` of a kind's module, its settings; KeyError where there is none."""
        found: type[Settings] = self.import_(kind).Kind
        return found

    def validated(self, value: Any) -> Settings:
        """Return the settings of a kind; ValueError or pydantic's errors where they are none."""
        if isinstance(value, Settings):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            shown = "null" if value is None else reprlib.repr(value)
            raise ValueError(f"it is {shown}; write a name, or a mapping with `kind`")
        kind = value.get("kind")
        if kind is None:
            raise ValueError(f"it is missing; there are: {', '.join(self.kinds)}")
        if not isinstance(kind, str) or kind not in self.kinds:
            close = difflib.get_close_matches(str(kind), self.kinds, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            shown = str(kind)[:60]
            raise ValueError(f"it is {shown!r}; {hint}there are: {', '.join(self.kinds)}")
        return self.load(kind).model_validate(value)

"""A registry: a folder in which each file is one kind of a thing.

A file `siglip.py` of `mmts/kinds/objective` holds a class `Kind`: the settings of `siglip`, its
label on the page, facts that other code asks for, and what it builds. The folder's `__init__.py`
has the registry and the base class. Nothing imports a kind by a statement, so that a new kind is a
new file, and a change of one kind changes what names it alone.
"""

from __future__ import annotations

import difflib
import reprlib
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar, get_args

from mmts.errors import InputError
from mmts.settings.base import Settings

K = TypeVar("K", bound=Settings)


class KindError(ValueError):
    """Settings name no kind that there is.

    Attributes:
        key: of the settings, that should name it.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


class Registry(Generic[K]):
    """The kinds of one thing.

    A field takes any of them as `Annotated[Any, REGISTRY, PlainValidator(REGISTRY.validated)]`: a
    mapping with the key `kind`, or the kind alone.
    """

    def __init__(self, what: str, package: str, base: type[K], key: str = "kind") -> None:
        """
        Args:
            what: the thing, for errors.
            package: import name of the folder.
            base: class of every `Kind`.
            key: of the settings, that says which kind it is.
        """
        self.what, self.package, self.base, self.key = what, package, base, key
        self.load = cache(self._load)

    @property
    def kinds(self) -> list[str]:
        """Names of all kinds, without importing them."""
        folder = Path(__file__).parents[1] / self.package.replace(".", "/")
        return sorted(m.name for m in iter_modules([str(folder)]) if m.name[0] != "_")

    def module(self, kind: str) -> str:
        """Return the import name of a kind's file."""
        return f"{self.package}.{kind}"

    @property
    def modules(self) -> list[str]:
        """Import names of the files of all kinds."""
        return [self.module(kind) for kind in self.kinds]

    def _load(self, kind: str) -> type[K]:
        """Return the `Kind` of a kind's file.

        Raises:
            KeyError: there is no such file.
            InputError: the file has no `Kind`, one of another name, or one that lacks a fact which
                the base class declares without a value.
        """
        if kind not in self.kinds:
            raise KeyError(kind)
        found = getattr(import_module(self.module(kind)), "Kind", None)
        file = f"{self.package.replace('.', '/')}/{kind}.py"
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise InputError(f"{file} has no class Kind({self.base.__name__}); write one")
        named = get_args(found.model_fields[self.key].annotation)
        if named != (kind,):
            said = f"Literal[{', '.join(map(repr, named))}]" if named else "no Literal"
            raise InputError(
                f"{file}: {self.key} of its Kind is {said}; write Literal[{kind!r}], as the file "
                "is named"
            )
        for name in found.__class_vars__:
            if not hasattr(found, name):
                raise InputError(f"{file}: its Kind has no {name}; write `{name} = ...` into it")
        return found

    def optional(self, value: Any) -> K | None:
        """Return what `validated` does; None where there is none."""
        return None if value is None else self.validated(value)

    def validated(self, value: Any) -> K:
        """Return the settings of a kind; ValueError or pydantic's errors where they are none."""
        if isinstance(value, self.base):
            return value
        if isinstance(value, str):
            value = {self.key: value}
        if not isinstance(value, dict):
            shown = "null" if value is None else reprlib.repr(value)
            raise ValueError(f"it is {shown}; write a name, or a mapping with `{self.key}`")
        kind = value.get(self.key)
        if kind is None:
            raise KindError(self.key, f"it is missing; {self._there_are()}")
        if not isinstance(kind, str) or kind not in self.kinds:
            close = difflib.get_close_matches(str(kind), self.kinds, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            shown = str(kind)[:60]
            raise KindError(self.key, f"it is {shown!r}; {hint}{self._there_are()}")
        return self.load(kind).model_validate(value)

    def _there_are(self) -> str:
        if not self.kinds:
            return f"there is none yet: write a file in {self.package.replace('.', '/')}"
        return f"there are: {', '.join(self.kinds)}"

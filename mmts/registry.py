"""A registry: a folder in which each file is one kind of a thing.

A file `siglip.py` of `mmts/kinds/objective` holds a class `Kind`: the settings of `siglip`, its
label on the page, facts that other code asks for, and what it builds. The folder's `__init__.py`
has the registry and the base class. Nothing imports a kind by a statement, so that a new kind is a
new file, and a change of one kind changes what names it alone.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import warnings
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from mmts.errors import InputError, KindFault, fault, kind_file, known
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
            KindFault: the file cannot be imported, or has no sound `Kind`.
        """
        if kind not in self.kinds:
            raise KeyError(kind)
        file = kind_file(self.module(kind))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # `_check` tells what pydantic does
                found = getattr(import_module(self.module(kind)), "Kind", None)
        except InputError:  # of what looks at imports, see `mmts.planned`
            raise
        except Exception as error:
            raise KindFault(fault(self._misspelt(error), file)) from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise KindFault(f"{file} has no class Kind({self.base.__name__}); write one")
        named = get_args(found.model_fields[self.key].annotation)
        if named != (kind,):
            said = f"Literal[{', '.join(map(repr, named))}]" if named else "no Literal"
            raise KindFault(
                f"{file}: {self.key} of its Kind is {said}; write Literal[{kind!r}], as the file "
                "is named"
            )
        self._check(found, file)
        return found

    def _misspelt(self, error: Exception) -> Exception:
        """Return an error that says which facts there are, where pydantic wants a setting."""
        name = re.search("`(\\w+) = ", str(error))
        if getattr(error, "code", "") != "model-field-missing-annotation" or name is None:
            return error
        return InputError(
            f"{name[1]} is no fact of {self.base.__name__}, and a setting needs a type; "
            f"{known(name[1], sorted(self.base.__class_vars__))}"
        ).with_traceback(error.__traceback__)

    def _check(self, found: type[K], file: str) -> None:
        """Raise KindFault unless a `Kind` has all facts and methods that the base class wants."""
        for name, fact in self._facts.items():
            if name in found.model_fields:
                raise KindFault(
                    f"{file}: {name} is a fact, which has no type; write `{name} = ...`, without "
                    "one"
                )
            if not hasattr(found, name):
                raise KindFault(f"{file}: its Kind has no {name}; write `{name} = ...` into it")
            value = getattr(found, name)
            if isinstance(value, property):
                continue
            try:
                fact.validate_python(value)
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                raise KindFault(
                    f"{file}: {name} of its Kind is {reprlib.repr(value)}; "
                    f"{said[0].lower()}{said[1:]}"
                ) from None
        if found.__abstractmethods__:
            missing = ", ".join(sorted(found.__abstractmethods__))
            raise KindFault(
                f"{file}: its Kind lacks {missing}; write it as {self.base.__name__} describes it"
            )

    @cached_property
    def _facts(self) -> dict[str, TypeAdapter[Any]]:
        """What checks each fact of the base class."""
        hints = get_type_hints(self.base, include_extras=True)
        return {
            name: TypeAdapter(get_args(hints[name])[0], config={"strict": True})
            for name in sorted(self.base.__class_vars__)
        }

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
        try:
            found = self.load(str(kind))
        except KeyError:
            close = difflib.get_close_matches(str(kind), self.kinds, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            shown = str(kind)[:60]
            raise KindError(self.key, f"it is {shown!r}; {hint}{self._there_are()}") from None
        return found.model_validate(value)

    def _there_are(self) -> str:
        if not self.kinds:
            return f"there is none yet: write a file in {self.package.replace('.', '/')}"
        return f"there are: {', '.join(self.kinds)}"

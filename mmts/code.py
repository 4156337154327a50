"""Which files of the project a stage runs, and a digest of what they do.

The digest of a module is of its syntax tree without comments, docstrings and the defaults of
settings: those stand in the plan, resolved. What a stage runs is its module with what that imports,
in functions too, and the packages around them. What a registry loads by name (`mmts.registry`) is
not among it: the plan of a cell has the digest of each kind that it names.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import mmts
from mmts.errors import InputError
from mmts.files import output_file
from mmts.sealed import sha256_file

PACKAGES = ("mmts", "stages")
SETTINGS = ("mmts.kinds", "mmts.method", "mmts.settings")
"""Modules whose classes are settings."""
WORDS = ("label", "scale", "ties", "axis", "told", "headline", "by_part", "drawn", "noun")
"""Facts of a kind that only the page and files for people show."""
MADE_LATER = ("Augment", "BeatsShape", "BertShape", "EvaShape", "TextShape", "VideoShape")
"""Settings that a stage makes where the plan has null, so that their defaults count."""
REMEMBERED = 2000
"""Files of other states of the project, of which the memory knows the digests too."""
FORMAT = 5
"""Version of the digest; count it up when `_Plain` changes."""


class Code:
    """The project's Python files as they are now."""

    def __init__(self, cache: Path) -> None:
        """`cache`: a folder for what was found out of files that have not changed since."""
        self.root, self._cache = Path(mmts.__file__).parents[1], cache
        self._closures: dict[str, frozenset[str]] = {}

    @cached_property
    def files(self) -> dict[str, str]:
        """Module -> file, relative to the project."""
        found = {}
        for package in PACKAGES:
            for path in sorted((self.root / package).rglob("*.py")):
                relative = path.relative_to(self.root)
                parts = relative.with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[name] = relative.as_posix()
        return found

    @cached_property
    def sha256(self) -> dict[str, str]:
        """Module -> SHA-256 of its file."""
        return {name: hashlib.sha256(text).hexdigest() for name, text in self._texts.items()}

    @cached_property
    def others(self) -> dict[str, dict[str, str]]:
        """Package -> its files that are no modules (templates, styles) and their SHA-256."""
        found: dict[str, dict[str, str]] = {}
        for name, file in self.files.items():
            if not file.endswith("__init__.py"):
                continue
            paths = sorted(p for p in (self.root / file).parent.iterdir() if p.is_file())
            found[name] = {
                path.relative_to(self.root).as_posix(): sha256_file(path)
                for path in paths
                if path.suffix not in (".py", ".pyc")
            }
        return found

    def closure(self, modules: Sequence[str]) -> set[str]:
        """Return the modules that some run: themselves, their imports, and their packages."""
        found: set[str] = set()
        left = list(modules)
        while left:
            name = left.pop()
            if name in found or name not in self.files:
                continue
            found.add(name)
            left += [*self._read[name]["imports"], name.rpartition(".")[0]]
        return found

    def digest(self, modules: Iterable[str], wordless: str = "") -> str:
        """Return the SHA-256 of what some modules do.

        Args:
            modules: import names.
            wordless: one of them whose facts that are words alone (`WORDS`) do not count.
        """
        read = {name: self._read[name] for name in sorted(modules)}
        lines = [
            f"{name} {of['wordless' if name == wordless else 'digest']}\n"
            for name, of in read.items()
        ]
        others = (self.others.get(name, {}) for name in sorted(modules))
        lines += [f"{path} {digest}\n" for files in others for path, digest in files.items()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @cached_property
    def _texts(self) -> dict[str, bytes]:
        return {name: (self.root / path).read_bytes() for name, path in self.files.items()}

    @cached_property
    def _read(self) -> dict[str, dict[str, Any]]:
        """Module -> its digest, and the names that it imports; a file is read once."""
        memory = self._cache / "code.json"
        try:
            known: dict[str, Any] = dict(json.loads(memory.read_bytes()))
        except (OSError, ValueError, TypeError):
            known = {}
        keys = {name: f"{FORMAT} {name} {self.sha256[name]}" for name in self.files}
        found = {
            name: known.get(key) or _read(self._texts[name], name) for name, key in keys.items()
        }
        if any(key not in known for key in keys.values()):
            with output_file(memory) as work:
                now = {key: found[name] for name, key in keys.items()}
                text = json.dumps({**dict(list(known.items())[-REMEMBERED:]), **now}, indent=0)
                work.write_text(text, encoding="utf-8")
        return found


def _read(text: bytes, name: str) -> dict[str, Any]:
    file = f"{name.replace('.', '/')}.py"
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        told = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"{file}{line} is no Python ({told}); mend it") from None
    imports = sorted(set(_imports(tree.body, file)))
    plain = _Plain(name.startswith(SETTINGS)).visit(tree)
    digest = hashlib.sha256(ast.dump(plain).encode()).hexdigest()
    for node in plain.body:
        if isinstance(node, ast.ClassDef):
            node.body = [statement for statement in node.body if not _is_word(statement)]
    wordless = hashlib.sha256(ast.dump(plain).encode()).hexdigest()
    return {"digest": digest, "wordless": wordless, "imports": imports}


def _is_word(statement: ast.stmt) -> bool:
    """Return whether it sets a fact of a kind that is words alone."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return bool(targets) and all(isinstance(t, ast.Name) and t.id in WORDS for t in targets)


def _imports(body: Iterable[ast.AST], file: str) -> Iterator[str]:
    """Names that may be modules of the project, but for types alone."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise InputError(
                    f"{file} line {node.lineno} has a relative import, which the plan does not "
                    "follow; write the module's whole name"
                )
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            yield from _imports(ast.iter_child_nodes(node), file)


class _Plain(ast.NodeTransformer):
    """Removes what changes no result."""

    def __init__(self, settings: bool) -> None:
        self._settings = settings
        self._known: set[str] = set()
        """Names in the module that are classes of settings."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop statements that are a text alone, such as docstrings."""
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else self.generic_visit(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Note which classes of the module are settings: those with a base that is."""
        for statement in node.body if self._settings else ():
            if isinstance(statement, ast.ImportFrom) and str(statement.module).startswith(SETTINGS):
                self._known |= {alias.asname or alias.name for alias in statement.names}
            if isinstance(statement, ast.ClassDef):
                bases = {base.id for base in statement.bases if isinstance(base, ast.Name)}
                if bases & self._known:
                    self._known.add(statement.name)
                    self._drop_defaults(statement)
        return self.generic_visit(node)

    def _drop_defaults(self, node: ast.ClassDef) -> None:
        """Drop the defaults of settings, but not what `Field` demands of a value."""
        for statement in node.body if node.name not in MADE_LATER else ():
            if not isinstance(statement, ast.AnnAssign) or "ClassVar" in ast.dump(
                statement.annotation
            ):
                continue
            value = statement.value
            if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "Field":
                value.args = []
                demanded = [
                    k for k in value.keywords if k.arg not in ("default", "default_factory")
                ]
                value.keywords = demanded
            else:
                statement.value = None

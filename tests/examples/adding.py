"""An example is a folder: a new file of `mmts/kinds`, at its place, and lines for params.yaml."""

from __future__ import annotations

import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ruamel.yaml import YAML

from tests.pipeline.project import Project, copy_project, tiny_pairs

EXAMPLES = Path(__file__).parent


def tiny(folder: Path, *names: str, **grid: Any) -> Project:
    """Return a tiny project on pictures of coloured squares, with some examples added.

    Args:
        folder: where to; its name must be new.
        names: of the examples.
        grid: keys of `grid` that are set last, such as `methods`.
    """
    project = copy_project(folder)
    tiny_pairs(project)
    for name in names:
        add(project, name)
    tree = project.params()
    tree["grid"].update(grid)
    YAML().dump(tree, project.folder / "params.yaml")
    return project


def add(project: Project, name: str) -> None:
    """Do what a reader of docs/extend.md does: copy the file, and add the lines."""
    source = EXAMPLES / name
    for path in sorted(source.rglob("*.py")):
        target = project.folder / path.relative_to(source)
        assert target.parent.is_dir() and not target.exists(), target
        shutil.copyfile(path, target)
    tree = project.params()
    merge(tree, YAML().load(source / "params.yaml"))
    YAML().dump(tree, project.folder / "params.yaml")


def merge(low: Any, high: Any) -> None:
    """Put the mapping `high` on top of `low`; lists, other values and other kinds replace."""
    for key, value in high.items():
        below = low.get(key)
        alike = isinstance(value, dict) and isinstance(below, dict)
        if alike and value.get("kind") in (None, below.get("kind")):
            merge(low[key], value)
        else:
            low[key] = value


def module_of(name: str) -> ModuleType:
    """Return the module of an example's only file, imported from where it is."""
    (path,) = (EXAMPLES / name).rglob("*.py")
    spec = spec_from_file_location(f"example_{name}", path)
    assert spec is not None and spec.loader is not None
    found = module_from_spec(spec)
    sys.modules[spec.name] = found  # where pydantic looks up the names of types
    spec.loader.exec_module(found)
    return found

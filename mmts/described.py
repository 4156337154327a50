"""Every setting of params.yaml with its default, as Markdown, from the classes and their words."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from mmts.config import Sections
from mmts.registry import Registry
from mmts.settings.base import NO_RESULT, Settings
from mmts.settings.dataset import Dataset, Switches

HEADING = "## Every setting\n"
"""In docs/params.md; what follows is `described`."""


def described() -> str:
    """Return the list, a section a class."""
    notes = (
        "This list is written by `python -m stages.plan settings --page docs/params.md`, from what "
        "stands in\n`mmts/settings`, `mmts/method.py` and `mmts/kinds`. † changes no result, and "
        "runs nothing again (but\n`train.workers` where shards are streamed). Beside the settings "
        "below, a dataset has `base`, and a method\n`base` and `per_dataset`.\n"
    )
    places = {"methods": ("methods.NAME", Switches), "datasets": ("datasets.NAME", Dataset)}
    sections = [notes]
    for name, field in Sections.model_fields.items():
        place, model = places.get(name, (name, field.annotation))
        sections += _sections(place, model, set())
    return "\n".join(sections)


def _sections(place: str, model: Any, seen: set[Any]) -> Iterator[str]:
    """The section of a class at a place, and those of the classes below."""
    if model in seen:
        return
    seen.add(model)
    words = _words(model)
    literals = {
        name: get_args(field.annotation)
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    kind = {name: named[0] for name, named in literals.items() if len(named) == 1}
    title = ", ".join([f"`{place}`", *(f"`{name}: {named}`" for name, named in kind.items())])
    lines = [f"### {title}", "", _plain(inspect.getdoc(model) or ""), ""]
    rows, below = [], []
    for name, field in model.model_fields.items():
        if name in kind:
            continue
        mark = " †" if NO_RESULT in field.metadata else ""
        said = " ".join(filter(None, (_choices(field.annotation), words.get(name))))
        rows.append(f"| `{name}`{mark} | {_default(field)} | {_cell(said)} |")
        below += list(_below(f"{place}.{name}", name, field))
    if rows:
        lines += ["| setting | default | |", "|---|---|---|", *rows, ""]
    yield "\n".join(lines)
    for inner, found in below:
        yield from _sections(inner, found, seen)


def _below(place: str, name: str, field: Any) -> Iterator[tuple[str, Any]]:
    """Places and classes of the mappings that a field takes."""
    registry = next((m for m in field.metadata if isinstance(m, Registry)), None)
    found = _classes(field.annotation) if registry is None else _kinds(registry)
    yield from ((f"{place}{part}", model) for part, model in found)


def _kinds(registry: Registry[Any]) -> Iterator[tuple[str, Any]]:
    yield from (("", registry.load(kind)) for kind in registry.kinds)


def _classes(annotation: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield "", annotation
    elif get_origin(annotation) is Annotated:
        of, *metadata = get_args(annotation)
        registry = next((m for m in metadata if isinstance(m, Registry)), None)
        yield from _classes(of) if registry is None else _kinds(registry)
    elif get_origin(annotation) is dict:
        yield from ((".NAME", found) for _, found in _classes(get_args(annotation)[1]))
    elif get_origin(annotation) is not tuple:
        for part in get_args(annotation):
            yield from _classes(part)


def _default(field: Any) -> str:
    """The default as params.yaml would have it."""
    if field.is_required():
        return "needed"
    shown = _yaml(field.get_default(call_default_factory=True))
    return "see below" if shown == "{}" else f"`{shown}`"


def _choices(annotation: Any) -> str:
    """The words that a field takes, where there are few."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    named = get_args(annotation) if get_origin(annotation) is Literal else ()
    return f"{', '.join(f'`{word}`' for word in named)}." if len(named) > 1 else ""


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return '""' if value == "" else str(value)


def _words(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring of each field of a class and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not (isinstance(base, type) and issubclass(base, Settings)) or base is Settings:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
                found[field.target.id] = str(text.value.value)  # type: ignore[attr-defined]
    return found


def _plain(text: str) -> str:
    """Paragraphs, a line each."""
    return "\n\n".join(_cell(part) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    """A text as Markdown, in which what stands between backticks is as it is."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    for n in range(0, len(parts), 2):
        parts[n] = parts[n].replace("<", "&lt;").replace("*", "\\*")
    return "`".join(parts)

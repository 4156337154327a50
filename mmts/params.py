"""Reading params.yaml, and one-line errors that name the key in the file."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from mmts.errors import InputError
from mmts.settings import Settings

T = TypeVar("T", bound=Settings)


def read_params(path: Path | str) -> dict[str, Any]:
    """The parameter file as plain dicts and lists (YAML 1.2, no tags)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe", pure=True).load(Path(path))
    except FileNotFoundError:
        raise InputError(f"{path} is not there; run from the project's folder") from None
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{path}{place}: not valid YAML: {problem}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected a mapping with grid, methods, datasets, report")
    return tree


def lookup(tree: Any, key: str, where: str) -> Any:
    """The value at a dotted key; InputError that lists the keys that are there."""
    node, done = tree, ""
    for part in key.split("."):
        if not isinstance(node, dict):
            raise InputError(f"{where}: {done} must be a mapping with the key {part}")
        if part not in node:
            raise InputError(f"{where}: {join(done, part)} is missing; {known(part, node)}")
        node, done = node[part], join(done, part)
    return node


def validated(model: type[T], values: Any, places: dict[tuple[str, ...], str], where: str) -> T:
    """`model` of `values`, or an InputError that names the first offending key in the file."""
    try:
        return model.model_validate(values)
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
    error = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    location = _without_tags(error["loc"], values)
    key = next(
        join(places[location[:n]], ".".join(location[n:]))
        for n in range(len(location), -1, -1)
        if location[:n] in places
    )
    value = error["input"]
    if error["type"] == "extra_forbidden":
        names = known(location[-1], _fields_at(model, location[:-1], values))
        raise InputError(f"{where}: {key} is not a setting; {names}")
    if error["type"] == "missing":
        raise InputError(f"{where}: {key} is missing; add it")
    if error["type"].startswith("union_tag"):
        tag = str(error["ctx"].get("tag", "missing"))
        named = not isinstance(_value_at(values, location), dict)  # a name is short for its kind
        kinds = known(tag, [_kind(member) for member in _members_at(model, location, values)])
        raise InputError(f"{where}: {key}{'' if named else '.kind'} is {tag}; {kinds}")
    if error["type"] == "value_error":
        problem = str(error["ctx"]["error"])
        of_value = problem.startswith("it is ")
        place = f"{where}: {key}" if key else where
        raise InputError(place + (problem[2:] if of_value else f": {problem}"))
    message = error["msg"][0].lower() + error["msg"][1:]
    for theirs, yaml in (("input should", "it should"), ("valid tuple", "list, such as [a, b]")):
        message = message.replace(theirs, yaml)
    if "valid dictionary" in message:
        message = "it should be a mapping of settings"
    shown = repr(value) if len(repr(value)) < 60 else type(value).__name__
    shown = "null" if value is None else shown
    raise InputError(f"{where}: {key} is {shown}; {message}")


def _without_tags(location: tuple[int | str, ...], values: Any) -> tuple[str, ...]:
    """pydantic's location as keys of the file: without the tag that it adds at a union."""
    node, found, fresh = values, [], True
    for step in location:
        if isinstance(node, str):
            break  # a name that is short for a mapping
        if fresh and isinstance(node, dict) and node.get("kind") == step:
            fresh = False  # the tag stands once, before a key that may have the same name
            continue
        found.append(str(step))
        is_key = isinstance(node, dict) and step in node
        is_item = isinstance(node, (list, tuple)) and step in range(len(node))
        if is_key or is_item:
            node, fresh = node[step], True
    return tuple(found)


def _value_at(values: Any, location: tuple[str, ...]) -> Any:
    """What the file has at `location`."""
    for part in location:
        values = values[int(part)] if isinstance(values, (list, tuple)) else values[part]
    return values


def _members_at(
    model: type[Settings], location: tuple[str, ...], values: Any
) -> list[type[Settings]]:
    """The settings classes that may stand at `location`: one, or the members of a union."""
    annotation: Any = model
    for depth, part in enumerate(location):
        members = _members(annotation)
        if members:
            owner = _of_kind(members, _value_at(values, location[:depth]))
            annotation = owner.model_fields[part].annotation
        else:
            annotation = get_args(annotation)[-1]  # of a mapping, the type of its values
    return _members(annotation)


def _members(annotation: Any) -> list[type[Settings]]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    found = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    return [m for m in found if isinstance(m, type) and issubclass(m, Settings)]


def _of_kind(members: list[type[Settings]], value: Any) -> type[Settings]:
    return next(m for m in members if len(members) == 1 or _kind(m) == value["kind"])


def _fields_at(model: type[Settings], location: tuple[str, ...], values: Any) -> list[str]:
    """The settings that may stand at `location`; of a union those of the value's `kind`."""
    members = _members_at(model, location, values)
    return list(_of_kind(members, _value_at(values, location)).model_fields)


def _kind(model: type[Settings]) -> str:
    kind: str = get_args(model.model_fields["kind"].annotation)[0]
    return kind


def known(name: str, names: Any) -> str:
    """The names that exist, the nearest one first."""
    listed = [str(n) for n in names]
    close = difflib.get_close_matches(name, listed, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}there are: {', '.join(listed)}" if listed else "the section is empty"


def only_keys(node: dict[str, Any], allowed: tuple[str, ...], where: str, prefix: str = "") -> None:
    """InputError naming the first key of `node` that is not allowed."""
    for key in node:
        if key not in allowed:
            name = join(prefix, str(key))
            raise InputError(f"{where}: {name} is not a setting; {known(str(key), allowed)}")


def join(left: str, right: str) -> str:
    """Two parts of a dotted key, of which one may be empty."""
    return f"{left}.{right}" if left and right else left or right

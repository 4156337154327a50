"""Reading params.yaml, and one-line errors that name the key in the file."""

from __future__ import annotations

import re
import reprlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from mmts.errors import InputError, KindFault, first_line, known, spelt
from mmts.registry import KindError, Registry
from mmts.settings.base import Settings

T = TypeVar("T", bound=Settings)
MOST = 200_000
"""Values in a parameter file."""


def read_params(path: Path | str) -> dict[str, Any]:
    """The parameter file as plain dicts and lists (YAML 1.2, UTF-8, no tags)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import ReusedAnchorWarning

    text = _text(Path(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML lets one be given again
            tree = YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise InputError(f"{path}: not valid YAML: it is nested too deeply") from None
    except Exception as error:  # of odd tags, numbers and dates, what Python's types raise
        mark, position = getattr(error, "problem_mark", None), getattr(error, "position", None)
        line = mark.line if mark else text[:position].count("\n") if position is not None else None
        place = "" if line is None else f" line {line + 1}"
        problem = getattr(error, "problem", None) or first_line(error)
        raise InputError(f"{path}{place}: not valid YAML: {problem}") from None
    if not isinstance(tree, dict):
        found = "it is empty" if tree is None else f"it is a {type(tree).__name__}"
        raise InputError(f"{path}: {found}; write a mapping of keys to settings")
    _check_values(tree, path)
    check_keys(tree, str(path))
    return tree


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} is not there; run from the project's folder") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path} line {line}: not UTF-8; save it as that") from None


def check_keys(tree: Any, where: str) -> None:
    """InputError unless all keys of all mappings in a tree are text, and lists are lists."""
    nodes, seen = [("", tree)], set()
    while nodes:
        place, node = nodes.pop()
        if isinstance(node, set):
            raise InputError(f"{where}: {place} is a set; write a list, such as [a, b]")
        if not isinstance(node, (dict, list)) or id(node) in seen:
            continue
        seen.add(id(node))  # an alias may lead back
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(node, dict) and not isinstance(key, str):
                raise InputError(
                    f"{where}: {join(place, str(key))} has the key {key!r}, which is no text; "
                    "write it in quotes"
                )
            nodes.append((join(place, spelt(str(key))), value))


def _check_values(tree: dict[str, Any], path: Path | str) -> None:
    """InputError where aliases make more than MOST values of few lines."""
    left, nodes = MOST, [tree]
    while nodes and left > 0:
        node: Any = nodes.pop()
        left -= 1
        if isinstance(node, dict):
            nodes += node.values()
        elif isinstance(node, (list, tuple, set)):
            nodes += node
    if left <= 0:
        raise InputError(
            f"{path} has more than {MOST:,} values, an alias's each time that it stands; write "
            "them out without anchors"
        )


Places = dict[tuple[str, ...], str]
"""Where a setting's value stands in the file: the dotted key, by the place in the settings."""


class Mistakes(InputError):  # noqa: N818
    """Several mistakes of a file, a line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = list(lines)


def validated(model: type[T], values: Any, places: Places, where: str) -> T:
    """`model` of `values`, or `Mistakes` that name each offending key in the file."""
    found, mistakes = tried(model, values, places, where)
    if found is None:
        raise Mistakes(mistakes)
    return found


def tried(model: type[T], values: Any, places: Places, where: str) -> tuple[T | None, list[str]]:
    """`model` of `values` and no mistakes, or None and a line for each offending key."""
    try:
        return model.model_validate(values), []
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
    places_of = [e["loc"] for e in errors]
    first: dict[str, str] = {}
    for error in sorted(errors, key=lambda e: e["type"] != "extra_forbidden"):
        at = error["loc"]
        if error["type"] == "too_short" and any(
            place[: len(at)] == at and place != at for place in places_of
        ):
            continue  # of a list whose items are wrong
        line = _line(model, values, places, where, error)
        first.setdefault(line.partition(" is ")[0], line)
    return None, list(first.values())


def _line(model: type[T], values: Any, places: Places, where: str, error: Any) -> str:
    """What is wrong with one key."""
    location = _in_file(error["loc"], values)
    key = next(
        join(places[location[:n]], ".".join(map(spelt, location[n:])))
        for n in range(len(location), -1, -1)
        if location[:n] in places
    )
    value = error["input"]
    if location[-1:] == ("[key]",):
        return f"{where}: {key.removesuffix('.[key]')} is no name; {_message(error)}"
    if error["type"] == "extra_forbidden":
        moved = next((told for old, told in MOVED if re.fullmatch(old, key)), None)
        told = f"; {moved}" if moved else _other(model, location, values)
        return f"{where}: {key} is not a setting{told}"
    if error["type"] == "missing":
        return f"{where}: {key} is missing; add it"
    if error["type"] == "value_error":
        raised = error["ctx"]["error"]
        if isinstance(raised, KindFault):
            return str(raised)
        problem = str(raised)
        of_value = problem.startswith("it is ")
        if isinstance(raised, KindError) and isinstance(value, dict):
            key = places.get((*location, raised.key), f"{key}.{raised.key}")
        place = f"{where}: {key}" if key else where
        return place + (problem[2:] if of_value else f": {problem}")
    shown = "null" if value is None else _SHORT.repr(value)
    return f"{where}: {key} is {shown}; {_message(error)}"


_METHOD = r"methods\.[^.]+(\.per_dataset\.[^.]+)?"
_NUMBERS = "datasets.NAME.temperature (of max_margin: margin)"
MOVED = (
    (
        r"datasets\.[^.]+\.methods",
        f"its numbers now stand once for all methods in {_NUMBERS}, and an exception for one "
        "method in methods.NAME.per_dataset",
    ),
    (_METHOD + r"\.tau_default", f"it is now `fixed` in {_NUMBERS}"),
    (
        _METHOD + r"\.alpha",
        f"it now stands in {_NUMBERS}, and a method that uses it says `schedule: cosine`",
    ),
    (
        _METHOD + r"\.shift_m(in|ax)",
        f"it now stands in {_NUMBERS}, and a method that uses it says `shift: linear`",
    ),
    (_METHOD + r"\.shift_mapping", "it is now the method's `shift`: linear, log or rank"),
    (
        _METHOD + r"\.(oscillations|update_every)",
        "it now stands in the method's `schedule`, such as {kind: cosine, oscillations: 5}",
    ),
)
"""Keys of the first edition, and where they are now."""


_SHORT = reprlib.Repr()  # what aliases repeat would fill the memory
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 2, 60, 60, 60


def _message(error: Any) -> str:
    """What pydantic says of a value, in the words of YAML."""
    if "valid dictionary" in error["msg"]:
        return "it should be a mapping of settings"
    if error["type"] == "string_pattern_mismatch":
        if "x00" in error["ctx"]["pattern"]:
            return "it should have no NUL"
        return "it should be of letters, digits, _ and -, beginning with a letter or digit"
    message: str = error["msg"][0].lower() + error["msg"][1:]
    message = message.replace("input should", "it should").replace("string should", "it should")
    return message.replace("valid tuple", "list, such as [a, b]")


def _in_file(location: tuple[int | str, ...], values: Any) -> tuple[str, ...]:
    """pydantic's location as keys of the file: no further than a name that is short for more."""
    node, found = values, []
    for step in location:
        if isinstance(node, str):
            break
        found.append(str(step))
        node = _item(node, str(step))
    return tuple(found)


def _item(node: Any, part: str) -> Any:
    """The value of a key or the item of a number; None where there is none."""
    if isinstance(node, dict):
        return node.get(part)
    is_item = isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node)
    return node[int(part)] if is_item else None


def _other(model: type[Settings], location: tuple[str, ...], values: Any) -> str:
    """What to say of a key that is no setting: the settings, or the kinds that have this one."""
    annotation: Any = model
    node, *_, name = values, *location
    for part in location[:-1]:
        annotation, node = _inside(annotation, node, part), _item(node, part)
    owner, registry = _settings(annotation, node), _registry(annotation)
    assert owner is not None
    others = ""
    if registry is not None:
        having = [kind for kind in registry.kinds if name in registry.load(kind).model_fields]
        others = f" of {node[registry.key]}, but of {', '.join(having)}" if having else ""
    return f"{others}; {known(name, owner.model_fields)}"


def _inside(annotation: Any, node: Any, part: str) -> Any:
    """The type of a field, or of an item of a list or mapping; of kinds, their registry."""
    owner = _settings(annotation, node)
    if owner is not None:
        field = owner.model_fields[part]
        return next((m for m in field.metadata if isinstance(m, Registry)), field.annotation)
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    of_items = 0 if get_origin(annotation) is tuple else -1  # of a mapping, its values
    return get_args(annotation)[of_items]


def _settings(annotation: Any, node: Any) -> type[Settings] | None:
    """The class of the settings that stand where `annotation` does; None if they are no such."""
    registry = _registry(annotation)
    if registry is not None:
        return registry.load(node if isinstance(node, str) else node[registry.key])
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    found = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    return next((m for m in found if isinstance(m, type) and issubclass(m, Settings)), None)


def _registry(annotation: Any) -> Registry[Any] | None:
    if isinstance(annotation, Registry):
        return annotation
    found = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((m for m in found if isinstance(m, Registry)), None)


def join(left: str, right: str) -> str:
    """Two parts of a dotted key, of which one may be empty."""
    return f"{left}.{right}" if left and right else left or right

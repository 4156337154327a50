"""Which keys of params.yaml a stage reads, and reading them.

Each stage has one `StageSettings` class. Its `keys` say where in params.yaml each field stands, in
the words of dvc.yaml (a test holds the two against each other), and `load` reads nothing else.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import ValidationError, model_validator

from mmts.errors import InputError
from mmts.settings import (
    Captions,
    Clustering,
    Dataset,
    Embed,
    Evaluate,
    Grid,
    Method,
    Name,
    Pack,
    Report,
    Settings,
    Towers,
    Train,
)

# --- what each stage reads ---------------------------------------------------------------------


class StageSettings(Settings):
    """Settings of one stage; `keys` maps each field to its place in params.yaml."""

    keys: ClassVar[dict[str, str]] = {}


class CaptionsStage(StageSettings):
    """What `captions` reads."""

    keys: ClassVar[dict[str, str]] = {"captions": "datasets.{dataset}.captions"}
    captions: Captions


class EmbedStage(StageSettings):
    """What `embed` reads."""

    keys: ClassVar[dict[str, str]] = {
        "embed": "datasets.{dataset}.embed",
        "towers": "datasets.{dataset}.towers",
    }
    embed: Embed
    towers: Towers


class ClusterStage(StageSettings):
    """What `cluster` reads."""

    keys: ClassVar[dict[str, str]] = {"clusterings": "datasets.{dataset}.clusterings"}
    clusterings: dict[Name, Clustering]

    @model_validator(mode="after")
    def _default(self) -> ClusterStage:
        if "default" not in self.clusterings:
            raise ValueError("there is no `default` clustering; the shards carry that one")
        return self


class PackStage(StageSettings):
    """What `pack` reads."""

    keys: ClassVar[dict[str, str]] = {"pack": "datasets.{dataset}.pack"}
    pack: Pack


class TrainStage(StageSettings):
    """What `train` reads. `method` is the general one with the dataset's own numbers on top."""

    keys: ClassVar[dict[str, str]] = {
        "method": "methods.{method}",
        "override": "datasets.{dataset}.methods.{method}",
        "towers": "datasets.{dataset}.towers",
        "train": "datasets.{dataset}.train",
    }
    method: Method
    towers: Towers
    train: Train


class ShiftStage(StageSettings):
    """What `shift` reads: of a method only what Eq. 6 needs, so that `alpha` does not touch it."""

    keys: ClassVar[dict[str, str]] = {
        "shift_min": "methods.{method}.shift_min",
        "shift_max": "methods.{method}.shift_max",
        "clustering": "methods.{method}.clustering",
        "override": "datasets.{dataset}.methods.{method}",
    }
    shift_min: float
    shift_max: float
    clustering: Name


class EvaluateStage(StageSettings):
    """What `evaluate` reads."""

    keys: ClassVar[dict[str, str]] = {"evaluate": "datasets.{dataset}.evaluate"}
    evaluate: Evaluate


class ReportStage(StageSettings):
    """What `report` reads."""

    keys: ClassVar[dict[str, str]] = {"grid": "grid", "report": "report"}
    grid: Grid
    report: Report


STAGES: dict[str, type[StageSettings]] = {
    "captions": CaptionsStage,
    "embed": EmbedStage,
    "cluster": ClusterStage,
    "shift": ShiftStage,
    "pack": PackStage,
    "train": TrainStage,
    "evaluate": EvaluateStage,
    "report": ReportStage,
}

S = TypeVar("S", bound=StageSettings)


def load(stage: type[S], path: Path | str = "params.yaml", **cell: str) -> S:
    """Settings of one stage and one cell of the grid.

    Args:
        stage: the settings class, e.g. `TrainStage`.
        path: the parameter file.
        cell: `dataset` and `method`, as far as the stage's keys name them.

    Raises:
        InputError: a key is missing, unknown, of the wrong type or out of range.
    """
    return _from_tree(stage, read_params(path), str(path), cell)


def check(path: Path | str = "params.yaml") -> Grid:
    """Check the whole file: every section, and every cell that `grid` names.

    Raises:
        InputError: the first thing that is wrong.
    """
    tree, where = read_params(path), str(path)
    _only_keys(tree, ("grid", "methods", "datasets", "report"), where)
    grid = _from_tree(ReportStage, tree, where, {}).grid
    for section in ("methods", "datasets"):
        if not isinstance(_lookup(tree, section, where), dict):
            raise InputError(f"{where}: {section} must be a mapping of names to settings")
    for name, dataset in tree["datasets"].items():
        _validate(Dataset, dataset, {(): f"datasets.{name}"}, where)
    for method in tree["methods"]:
        _validate(Method, tree["methods"][method], {(): f"methods.{method}"}, where)
    for dataset in grid.datasets:
        for stage in STAGES.values():
            for method in grid.methods:
                _from_tree(stage, tree, where, {"dataset": dataset, "method": method})
    return grid


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


def _from_tree(stage: type[S], tree: dict[str, Any], where: str, cell: dict[str, str]) -> S:
    """Pick the stage's keys out of the tree, lay the dataset's override on top, validate."""
    values: dict[str, Any] = {}
    places: dict[tuple[str, ...], str] = {(): ""}
    for field, template in stage.keys.items():
        key = template.format(**cell)
        values[field] = _lookup(tree, key, where)
        places[(field,)] = key
    if len(places) == 2:  # one key: what is wrong with the whole is wrong with that
        places[()] = key
    if "override" in values:
        override, key = values.pop("override"), places.pop(("override",))
        if not isinstance(override, dict):
            raise InputError(f"{where}: {key} is {override!r}; write {{}} for no difference")
        _only_keys(override, tuple(Method.model_fields), where, key)
        for name, value in override.items():
            if "method" in values and isinstance(values["method"], dict):
                values["method"] = {**values["method"], name: value}
                places[("method", name)] = f"{key}.{name}"
            elif name in values:
                values[name], places[(name,)] = value, f"{key}.{name}"
    return _validate(stage, values, places, where)


def _lookup(tree: Any, key: str, where: str) -> Any:
    node, done = tree, ""
    for part in key.split("."):
        if not isinstance(node, dict):
            raise InputError(f"{where}: {done} must be a mapping with the key {part}")
        if part not in node:
            raise InputError(f"{where}: {_join(done, part)} is missing; {_known(part, node)}")
        node, done = node[part], _join(done, part)
    return node


T = TypeVar("T", bound=Settings)


def _validate(model: type[T], values: Any, places: dict[tuple[str, ...], str], where: str) -> T:
    """`model` of `values`, or an InputError that names the first offending key in the file."""
    try:
        return model.model_validate(values)
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
    error = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    location = _without_tags(error["loc"], values)
    key = next(
        _join(places[location[:n]], ".".join(location[n:]))
        for n in range(len(location), -1, -1)
        if location[:n] in places
    )
    value = error["input"]
    if error["type"] == "extra_forbidden":
        known = _known(location[-1], _fields_at(model, location[:-1], values))
        raise InputError(f"{where}: {key} is not a setting; {known}")
    if error["type"] == "missing":
        raise InputError(f"{where}: {key} is missing; add it")
    if error["type"].startswith("union_tag"):
        kinds = error["ctx"].get("expected_tags") or "see params.yaml"
        tag = error["ctx"].get("tag", "missing")
        raise InputError(f"{where}: {key}.kind is {tag}; there are: {kinds}")
    if error["type"] == "value_error":
        raise InputError(f"{where}: {key}: {error['ctx']['error']}")
    message = error["msg"][0].lower() + error["msg"][1:]
    shown = repr(value) if len(repr(value)) < 60 else type(value).__name__
    raise InputError(f"{where}: {key} is {shown}; {message.replace('input should', 'it should')}")


def _without_tags(location: tuple[int | str, ...], values: Any) -> tuple[str, ...]:
    """pydantic's location as keys of the file: without the tag that it adds at a union."""
    node, found, fresh = values, [], True
    for step in location:
        if fresh and isinstance(node, dict) and node.get("kind") == step:
            fresh = False  # the tag stands once, before a key that may have the same name
            continue
        found.append(str(step))
        is_key = isinstance(node, dict) and step in node
        if is_key or (isinstance(node, (list, tuple)) and isinstance(step, int)):
            node, fresh = node[step], True
    return tuple(found)


def _fields_at(model: type[Settings], location: tuple[str, ...], values: Any) -> list[str]:
    """The settings that may stand at `location`; of a union those of the value's `kind`."""
    found: Any = model
    for part in location:
        values = values[part]
        is_model = isinstance(found, type) and issubclass(found, Settings)
        found = found.model_fields[part].annotation if is_model else get_args(found)[-1]
        if get_origin(found) is Annotated:
            found = get_args(found)[0]
        if get_origin(found) is UnionType:
            members = [m for m in get_args(found) if issubclass(m, Settings)]
            found = next(m for m in members if len(members) == 1 or _kind(m) == values["kind"])
    return list(found.model_fields)


def _kind(model: type[Settings]) -> str:
    kind: str = get_args(model.model_fields["kind"].annotation)[0]
    return kind


def _known(name: str, names: Any) -> str:
    listed = [str(n) for n in names]
    close = difflib.get_close_matches(name, listed, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}there are: {', '.join(listed)}" if listed else "the section is empty"


def _only_keys(
    node: dict[str, Any], allowed: tuple[str, ...], where: str, prefix: str = ""
) -> None:
    for key in node:
        if key not in allowed:
            name = _join(prefix, str(key))
            raise InputError(f"{where}: {name} is not a setting; {_known(str(key), allowed)}")


def _join(left: str, right: str) -> str:
    return f"{left}.{right}" if left and right else left or right

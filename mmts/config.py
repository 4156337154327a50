"""Which keys of params.yaml a stage reads, and reading them.

Each stage has one `StageSettings` class. Its `keys` say where in params.yaml each field stands, in
the words of dvc.yaml (a test holds the two against each other), and `load` reads nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import model_validator

from mmts.errors import InputError
from mmts.method import Method, ShiftSettings
from mmts.params import known, lookup, only_keys, read_params, validated
from mmts.settings import (
    Captions,
    Clustering,
    Dataset,
    Embed,
    Evaluate,
    Grid,
    Name,
    Pack,
    Report,
    Settings,
    Towers,
    Train,
)
from mmts.settings.base import NAME, check_apart

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
        check_apart(self.clusterings, "clusterings")
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

    @model_validator(mode="after")
    def _augment(self) -> TrainStage:
        if self.train.augment and self.towers.vision.frozen:
            raise ValueError(
                "train.augment is set but towers.vision.frozen is true, so no picture is seen in "
                "training; set one of them to false"
            )
        if self.train.augment and self.train.augment.ops and self.towers.vision.video:
            raise ValueError(
                f"train.augment.ops is {self.train.augment.ops} but towers.vision.name is "
                f"{self.towers.vision.name}, and RandAugment is for pictures alone; set ops and "
                "magnitude to 0"
            )
        return self


class ShiftStage(ShiftSettings, StageSettings):
    """What `shift` reads: of a method only what Eq. 6 needs, so that `alpha` does not touch it."""

    keys: ClassVar[dict[str, str]] = {
        "tau_default": "methods.{method}.tau_default",
        "shift_min": "methods.{method}.shift_min",
        "shift_max": "methods.{method}.shift_max",
        "shift_mapping": "methods.{method}.shift_mapping",
        "clustering": "methods.{method}.clustering",
        "override": "datasets.{dataset}.methods.{method}",
    }


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


def check_names(where: str, **cell: str) -> None:
    """InputError unless each name is one that the grid may have: it becomes part of a path."""
    for what, name in cell.items():
        if len(name) > 64 or not re.fullmatch(NAME, name):
            raise InputError(
                f"{where}: {name[:100]!r} cannot be the name of a {what}; it becomes a folder: use "
                "letters, digits, _ and -, at most 64, the first a letter or digit"
            )


def load(stage: type[S], path: Path | str = "params.yaml", **cell: str) -> S:
    """Settings of one stage and one cell of the grid.

    Args:
        stage: the settings class, e.g. `TrainStage`.
        path: the parameter file.
        cell: `dataset` and `method`, as far as the stage's keys name them.

    Raises:
        InputError: a key is missing, unknown, of the wrong type or out of range.
    """
    check_names(str(path), **cell)
    return from_tree(stage, read_params(path), str(path), cell)


def check(path: Path | str = "params.yaml") -> Grid:
    """Check the whole file: every section, and every cell that `grid` names.

    Raises:
        InputError: the first thing that is wrong.
    """
    return check_tree(read_params(path), str(path))


class Sections(Settings):
    """The whole file: `methods` and `datasets` have names of their own."""

    grid: dict[str, Any]
    methods: dict[Name, dict[str, Any]]
    datasets: dict[Name, dict[str, Any]]
    report: dict[str, Any]


def check_tree(tree: dict[str, Any], where: str) -> Grid:
    """`check` of what `read_params` found in the file `where`."""
    validated(Sections, tree, {(): ""}, where)
    grid = from_tree(ReportStage, tree, where, {}).grid
    for section, names in (("datasets", grid.datasets), ("methods", grid.methods)):
        for name in names:
            if name not in tree[section]:
                raise InputError(
                    f"{where}: grid.{section} names {name}; {known(name, tree[section])}"
                )
    for name, dataset in tree["datasets"].items():
        validated(Dataset, dataset, {(): f"datasets.{name}"}, where)
    for method in tree["methods"]:
        validated(Method, tree["methods"][method], {(): f"methods.{method}"}, where)
    for name, dataset in tree["datasets"].items():
        _check_overrides(dataset["methods"], tree["methods"], f"datasets.{name}.methods", where)
    for dataset in grid.datasets:
        for stage in STAGES.values():
            for method in grid.methods:
                found = from_tree(stage, tree, where, {"dataset": dataset, "method": method})
                if isinstance(found, ShiftStage):
                    clusterings = tree["datasets"][dataset]["clusterings"]
                    for name in found.clustering.names:
                        if name not in clusterings:
                            raise InputError(
                                f"{where}: methods.{method}.clustering names {name}, which "
                                f"datasets.{dataset}.clusterings lacks; {known(name, clusterings)}"
                            )
    return grid


def _check_overrides(
    overrides: dict[str, Any], methods: dict[str, Any], place: str, where: str
) -> None:
    """InputError unless each override belongs to a method and makes a sound one."""
    only_keys(overrides, tuple(methods), where, place)
    for name, override in overrides.items():
        key = f"{place}.{name}"
        only_keys(override, tuple(Method.model_fields), where, key)
        places: dict[tuple[str, ...], str] = {(field,): f"{key}.{field}" for field in override}
        places[()] = key
        validated(Method, {**methods[name], **override}, places, where)


def from_tree(stage: type[S], tree: dict[str, Any], where: str, cell: dict[str, str]) -> S:
    """Pick the stage's keys out of the tree, lay the dataset's override on top, validate."""
    values: dict[str, Any] = {}
    places: dict[tuple[str, ...], str] = {(): ""}
    for field, template in stage.keys.items():
        key = template.format(**cell)
        values[field] = lookup(tree, key, where)
        places[(field,)] = key
    if len(places) == 2:  # one key: what is wrong with the whole is wrong with that
        places[()] = key
    if "override" in values:
        override, key = values.pop("override"), places.pop(("override",))
        if not isinstance(override, dict):
            raise InputError(f"{where}: {key} is {override!r}; write {{}} for no difference")
        only_keys(override, tuple(Method.model_fields), where, key)
        for name, value in override.items():
            if "method" in values and isinstance(values["method"], dict):
                values["method"] = {**values["method"], name: value}
                places[("method", name)] = f"{key}.{name}"
            elif name in values:
                values[name], places[(name,)] = value, f"{key}.{name}"
        if override and ("method",) in places:
            places[("method",)] += f" (with {key} on top)"
    return validated(stage, values, places, where)

"""params.yaml, resolved: for each dataset and method what holds there.

A setting's value is the last of: its default; the dataset that `base` names; the dataset; of the
numbers of tau then the method that its `base` names, with its `per_dataset`, and the method with
its own. Mappings merge. Lists, `sources`, and a mapping of another `kind` or `name` replace what
was there. Null takes away what was said before, so that the default of the setting holds; as a
method's `temperature` or `margin`, what methods said.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import model_validator

from mmts.errors import InputError, known, spelt
from mmts.method import Method
from mmts.params import Mistakes, Places, join, read_params, tried
from mmts.schedule import auto_range
from mmts.settings.base import Name, Settings, check_apart
from mmts.settings.dataset import Dataset, Margin, Switches, Temperature
from mmts.settings.grid import Grid, Report

Tree = dict[str, Any]
NUMBERS: dict[str, type[Temperature]] = {"temperature": Temperature, "margin": Margin}
SHORT = {"objective": "kind", "modulator": "kind", "schedule": "kind", "shift": "kind",
         "clustering": "shift"}  # fmt: skip
"""Settings whose name alone is short for a mapping with this key."""
RESERVED = ("code", "run")
"""No names of datasets: folders of `data/plan`."""
META = ("base", "per_dataset")
"""Settings of a method that are none of its switches and numbers."""
SHOWN = 20
"""Mistakes that are told at once."""


class Sections(Settings):
    """The whole file: `methods` and `datasets` have names of their own."""

    grid: Grid
    methods: dict[Name, Tree]
    datasets: dict[Name, Tree]
    report: Report = Report()

    @model_validator(mode="after")
    def _folders(self) -> Sections:
        for name in self.datasets:
            if name.lower() in RESERVED:
                raise ValueError(
                    f"datasets.{name} has the name of a folder of data/plan; rename it"
                )
        check_apart(self.datasets, "datasets")
        check_apart(self.methods, "methods")
        return self


@dataclass(frozen=True)
class Config:
    """params.yaml, checked.

    Attributes:
        grid, report: these sections.
        datasets: with what they build on, and all defaults.
        cells: of dataset and method, what holds there; without those outside of the grid that make
            no sound method.
        left_out: why, for those.
    """

    grid: Grid
    report: Report
    datasets: Mapping[str, Dataset]
    cells: Mapping[tuple[str, str], Method]
    left_out: Mapping[tuple[str, str], str]

    def cell(self, dataset: str, method: str) -> Method:
        """Return the settings of a method on a dataset; InputError where there are none."""
        for name, names, what in (
            (dataset, self.datasets, "dataset"),
            (method, dict.fromkeys(m for _, m in (*self.cells, *self.left_out)), "method"),
        ):
            if name not in names:
                raise InputError(f"there is no {what} {name}; {known(name, names)}")
        if (dataset, method) in self.left_out:
            raise InputError(self.left_out[dataset, method])
        return self.cells[dataset, method]


def load(path: Path | str = "params.yaml") -> Config:
    """Read and resolve the whole file.

    Raises:
        Mistakes: all that is wrong with it, a line each.
        InputError: it is no YAML, or not there.
    """
    return resolved(read_params(path), str(path))


def resolved(tree: Tree, where: str = "params.yaml") -> Config:
    """`load` of what `read_params` found in the file `where`."""
    sections, mistakes = tried(Sections, tree, {(): ""}, where)
    entries = {
        section: {k: v for k, v in part.items() if isinstance(v, dict)}
        for section in ("datasets", "methods")
        if isinstance(part := tree.get(section), dict)
    }
    if len(entries) < 2:
        raise Mistakes(_some(mistakes))
    for section, names in () if sections is None else sections.grid.model_dump().items():
        for name in names if section in entries else ():
            if name not in (there := tree[section]):
                mistakes.append(f"{where}: grid.{section} names {name}; {known(name, there)}")
    datasets: dict[str, Dataset] = {}
    numbers: dict[str, tuple[Tree, Places]] = {}
    for name in entries["datasets"]:
        try:
            values, places = _with_base(name, tree["datasets"], where)
        except InputError as error:
            mistakes += getattr(error, "lines", [str(error)])
            continue
        dataset, wrong = tried(Dataset, values, places, where)
        mistakes += wrong
        if dataset is not None:
            datasets[name], numbers[name] = dataset, (values, places)
    for name in entries["methods"]:
        mistakes += _checked(name, tree["methods"], tree["datasets"], where)
    if mistakes or sections is None:
        raise Mistakes(_some(mistakes))
    cells: dict[tuple[str, str], Method] = {}
    left_out: dict[tuple[str, str], str] = {}
    for name, method in ((d, m) for d in datasets for m in tree["methods"]):
        try:
            layers = _layers(method, tree["methods"], name, where)
            found = _cell(name, datasets[name], *numbers[name], method, layers, where)
            cells[name, method] = found
        except InputError as error:
            if name in sections.grid.datasets and method in sections.grid.methods:
                mistakes += getattr(error, "lines", [str(error)])
            left_out[name, method] = str(error)
    if mistakes:
        raise Mistakes(_some(mistakes))
    return Config(sections.grid, sections.report, datasets, cells, left_out)


def _some(mistakes: list[str]) -> list[str]:
    lines = list(dict.fromkeys(mistakes))
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"and {more} more mistakes"] if more > 0 else lines


# --- merging -----------------------------------------------------------------------------------


def lay(low: Tree, high: Mapping[str, Any], place: str, places: Places,
        path: tuple[str, ...] = ()) -> None:  # fmt: skip
    """Put the settings `high` on top of `low`, which is changed.

    Args:
        low, high: mappings of settings.
        place: dotted key of `high` in the file.
        places: where the values of `low` stand in the file; kept up.
        path: of `low` in the settings.
    """
    places[path] = place
    for key, value in high.items():
        here, at = (*path, key), join(place, spelt(key))
        below = low.get(key)
        short = SHORT.get(key) if isinstance(value, str) and not path else None
        if short is not None:
            value = {short: value}
        if value is None:
            low.pop(key, None)
            _forget(places, here)
        elif isinstance(value, Mapping) and key != "sources":
            if not isinstance(below, dict) or _replaces(value, below):
                _forget(places, here)
                below = low[key] = {}
            lay(below, value, at, places, here)
        else:
            _forget(places, here)
            low[key] = deepcopy(value)
            _remember(places, here, at, value)
        if short is not None:  # the name stands at the key itself
            places[*here, short] = at


def _replaces(value: Mapping[str, Any], below: Tree) -> bool:
    return any(name in value and value[name] != below.get(name) for name in ("kind", "name"))


def _forget(places: Places, path: tuple[str, ...]) -> None:
    for known_path in [p for p in places if p[: len(path)] == path]:
        del places[known_path]


def _remember(places: Places, path: tuple[str, ...], place: str, value: Any) -> None:
    places[path] = place
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _remember(places, (*path, key), join(place, spelt(str(key))), inner)


def _chain(name: str, entries: Tree, section: str) -> list[str]:
    """Return what an entry builds on by `base`, from the lowest, and itself last."""
    chain = [name]
    while (base := entries[chain[0]].get("base")) is not None:
        place = f"{section}.{chain[0]}.base"
        if not isinstance(base, str) or base not in entries:
            raise InputError(f"{place} is {reprlib.repr(base)}; {known(str(base)[:60], entries)}")
        if base in chain:
            raise InputError(f"{place} is {base}, which builds on {chain[0]} itself: a circle")
        if not isinstance(entries[base], dict):
            raise Mistakes([])  # told of that one
        chain.insert(0, base)
    return chain


# --- datasets ----------------------------------------------------------------------------------


def defaults() -> Tree:
    """Return what a dataset has where it says nothing, but for the defaults of single settings."""
    fields = Dataset.model_fields.items()
    given = {name: field.get_default(call_default_factory=True) for name, field in fields}
    clusterings = {n: c.model_dump(exclude_unset=True) for n, c in given["clusterings"].items()}
    parts = {
        n: v.model_dump(exclude_unset=True) for n, v in given.items() if isinstance(v, Settings)
    }
    return {**parts, "clusterings": clusterings}


def _with_base(name: str, entries: Tree, where: str) -> tuple[Tree, Places]:
    """A dataset on top of the ones that it builds on, on top of the defaults."""
    chain = _chain(name, entries, f"{where}: datasets")
    values = defaults()
    places: Places = {}
    for entry in chain:
        said = {key: value for key, value in entries[entry].items() if key != "base"}
        lay(values, said, f"datasets.{entry}", places)
    places[()] = f"datasets.{name}"
    for part in values:
        places.setdefault((part,), f"datasets.{name}.{part}")
    return values, places


# --- methods -----------------------------------------------------------------------------------


def _checked(name: str, methods: Tree, datasets: Tree, where: str) -> Iterator[str]:
    """Yield the mistakes in the entry of a method, alone and with each of its exceptions."""
    exceptions = _exceptions(methods[name])
    place = f"methods.{name}"
    if not isinstance(exceptions, dict):
        shown = reprlib.repr(exceptions)
        yield f"{where}: {place}.per_dataset is {shown}; write a mapping of settings"
        return
    for dataset in [None, *exceptions]:
        if dataset is not None and dataset not in datasets:
            yield f"{where}: {place}.per_dataset names {spelt(dataset)}; {known(dataset, datasets)}"
            continue
        try:
            switches, values, places = _switches(_layers(name, methods, dataset, where), where)
        except InputError as error:
            yield from getattr(error, "lines", [str(error)])
            continue
        part = switches.objective.quantity
        _, wrong = tried(NUMBERS[part], values.get(part, {}), _below(places, part), where)
        yield from wrong


def _exceptions(method: Tree) -> Any:
    found = method.get("per_dataset")
    return {} if found is None else found


def _layers(name: str, methods: Tree, dataset: str | None, where: str) -> list[tuple[str, Tree]]:
    """Return what a method is made of on a dataset, base first: places in the file, settings."""
    found: list[tuple[str, Tree]] = []
    for link in _chain(name, methods, f"{where}: methods"):
        place = f"methods.{link}"
        exceptions = _exceptions(methods[link])
        if not isinstance(exceptions, dict):
            raise Mistakes([])  # told of that one
        found.append((place, {k: v for k, v in methods[link].items() if k not in META}))
        exception = exceptions.get(dataset)
        if exception is not None:
            place = f"{place}.per_dataset.{dataset}"
            if not isinstance(exception, dict):
                shown = reprlib.repr(exception)
                raise InputError(f"{where}: {place} is {shown}; write a mapping of settings")
            found.append((place, exception))
    return found


def _switches(layers: list[tuple[str, Tree]], where: str) -> tuple[Switches, Tree, Places]:
    """The settings of a method, of its layers on top of each other."""
    values: Tree = {}
    places: Places = {}
    for place, said in layers:
        lay(values, said, place, places)
    found, mistakes = tried(Switches, values, places, where)
    if found is None:
        raise Mistakes(mistakes)
    return found, values, places


def _below(places: Places, part: str) -> Places:
    found = {path[1:]: place for path, place in places.items() if path[:1] == (part,)}
    return found or {(): part}


def _cell(
    name: str, dataset: Dataset, values: Tree, places: Places, method: str,
    layers: list[tuple[str, Tree]], where: str,
) -> Method:  # fmt: skip
    """A method with the numbers of a dataset, or Mistakes."""
    switches, _, at = _switches(layers, where)
    part = switches.objective.quantity
    for clustering in switches.clustering.names:
        if clustering not in dataset.clusterings:
            place = at.get(("clustering",), f"methods.{method}.clustering")
            raise InputError(
                f"{where}: {place} names {clustering}, which datasets.{name}.clusterings lacks; "
                f"{known(clustering, dataset.clusterings)}"
            )
    rerank = dataset.evaluate.rerank
    matching = next((key for key, term in switches.terms.items() if term.uses_match), None)
    if rerank is not None and rerank.uses_match and matching is None:
        raise InputError(
            f"{where}: datasets.{name}.evaluate.rerank is {rerank.kind}, but methods.{method} has "
            "no loss term that trains the model to match; add `terms: {matching: 0.1}`, or leave "
            "out rerank"
        )
    if matching is not None:
        place = at.get(("terms", matching), f"methods.{method}.terms.{matching}")
        _check_matching(name, dataset, f"{where}: {place}")
    tree, where_from = deepcopy(values.get(part, {})), _below(places, part)
    nulls = [n for n, (_, said) in enumerate(layers) if said.get(part, {}) is None]
    for place, said in layers[max(nulls, default=0) :]:
        lay(tree, said.get(part) or {}, f"{place}.{part}", where_from)
    where_from[()] = f"datasets.{name}.{part}"
    numbers, mistakes = tried(NUMBERS[part], tree, where_from, where)
    if numbers is None:
        raise Mistakes(mistakes)
    made, of = _numbers(switches, numbers)
    given = {
        "objective": switches.objective.model_dump(),
        "clustering": switches.clustering.model_dump(),
        "terms": {name: term.model_dump() for name, term in switches.terms.items()},
        **made,
    }
    if not isinstance(switches.modulator, str):
        given["modulator"] = switches.modulator.model_dump()
    if switches.relevancy_threshold is not None:
        given["relevancy_threshold"] = switches.relevancy_threshold
    found_at = {path: place for path, place in at.items() if path[:1] != (part,)}
    found_at[()] = f"datasets.{name}.{part} with methods.{method}"
    for key, source in of.items():
        found_at[key,] = where_from.get((source,), f"datasets.{name}.{part}.{source}")
    found, mistakes = tried(Method, given, found_at, where)
    if found is None:
        raise Mistakes(mistakes)
    return found


def _check_matching(name: str, dataset: Dataset, place: str) -> None:
    """InputError unless a dataset's model can be trained by a loss term that calls its `match`."""
    if not dataset.model.matches:
        raise InputError(
            f"{place} asks the model to match, but datasets.{name}.model is {dataset.model.kind}, "
            "which cannot; set it to another, such as omni, or leave out the term"
        )
    if dataset.train.micro_batch_size is not None:
        raise InputError(
            f"{place} asks the model to match, but datasets.{name}.train.micro_batch_size is "
            f"{dataset.train.micro_batch_size}, and the gradient of a match does not go in parts; "
            "set it to null"
        )


def _numbers(switches: Switches, numbers: Temperature) -> tuple[Tree, dict[str, str]]:
    """The numbers of a method's tau, and of which number of the dataset each is."""
    auto = auto_range(numbers.fixed)._asdict()

    def number(key: str) -> float:
        value = getattr(numbers, key)
        return float(auto[key] if value == "auto" else value)

    made: Tree = {"alpha": 0.0, "shift_min": numbers.fixed, "shift_max": numbers.fixed}
    of = {"alpha": "alpha", "shift_min": "fixed", "shift_max": "fixed"}
    if switches.schedule is not None:
        made["alpha"] = number("alpha")
        made["schedule"] = switches.schedule.model_dump()
    if switches.shift is not None:
        made |= {key: number(key) for key in ("shift_min", "shift_max")}
        made["shift"] = switches.shift.model_dump()
        of |= {"shift_min": "shift_min", "shift_max": "shift_max"}
    return made, of

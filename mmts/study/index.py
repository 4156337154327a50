"""Which cells a finished study has, and what each of them stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmts.errors import InputError
from mmts.files import output_file, read_json, write_json
from mmts.study.settings import Changes

REMEDY = "run `make study`"


@dataclass(frozen=True)
class Entry:
    """A method with changes, trained with some seeds.

    `changes` are all of them, with the chosen numbers of the method; `varied` those of an ablation
    alone. `keys` are those of the cells' records, one a seed, and empty where an ablation asks for
    what there cannot be (see `Base.unsound`).
    """

    name: str
    changes: Changes
    varied: Changes
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """What a dataset's records are records of.

    `trials` are those of all methods; `chosen` has one of each, in the order of the study.
    """

    dataset: str
    trials: tuple[Entry, ...]
    chosen: tuple[Entry, ...]
    ablations: Mapping[str, tuple[Entry, ...]]

    def keys(self) -> set[str]:
        """Of all records."""
        ablations = (entry for entries in self.ablations.values() for entry in entries)
        return {key for e in (*self.trials, *self.chosen, *ablations) for key in e.keys}

    def without(self, names: Collection[str]) -> Index:
        """Return the index without some methods."""

        def kept(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
            return tuple(entry for entry in entries if entry.name not in names)

        ablations = {name: kept(entries) for name, entries in self.ablations.items()}
        return Index(self.dataset, kept(self.trials), kept(self.chosen), ablations)

    def write(self, folder: Path) -> None:
        """Into `<folder>/<dataset>.json`."""
        with output_file(folder / f"{self.dataset}.json") as work:
            write_json(work, asdict(self))


def read_index(folder: Path, dataset: str) -> Index:
    """The index of a dataset; InputError where it is none."""
    path = folder / f"{dataset}.json"
    found = read_json(path, REMEDY)
    try:
        return Index(
            found["dataset"], _entries(found["trials"]), _entries(found["chosen"]),
            {name: _entries(entries) for name, entries in found["ablations"].items()},
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is no index of a study; {REMEDY}") from None


def _entries(found: list[dict[str, Any]]) -> tuple[Entry, ...]:
    entries = tuple(Entry(e["name"], e["changes"], e["varied"], tuple(e["keys"])) for e in found)
    if not all(isinstance(key, str) for entry in entries for key in entry.keys):
        raise TypeError
    return entries

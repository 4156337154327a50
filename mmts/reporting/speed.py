"""How fast the cells of the grid were trained, from what stage `train` has noted of its last run.

The notes lie in data/cache/speed: they differ from run to run, so no output of a stage holds them,
and nothing that git keeps may show them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mmts.errors import InputError
from mmts.files import read_json
from mmts.reporting.cells import Cell, Dataset
from mmts.reporting.markdown import escape, line

COLUMNS = (
    "method", "samples/s", "wait for data", "MFU", "processes", "device", "precision", "seeds",
)  # fmt: skip
NOTES = (
    "Samples/s are pairs a second of all processes, with the saving of checkpoints and without "
    "validation; wait for data is the share of that time in which a step waited for its batch, in "
    "the process that waited longest. Medians over the seeds that ran on the same device.",
    "MFU is the share of the device's dense peak at this precision that the model's own "
    "operations, forward and backward, make use of; a dash where the peak is not known.",
    "The stage train notes them in data/cache/speed when a training ends, on the machine that "
    "trains. They differ from run to run; a dash where there is no note, or one of a training with "
    "other settings or data. python -m stages.report writes this page anew.",
)


@dataclass(frozen=True)
class Speed:
    """A row: seeds of a method that ran on the same device, or whose speed is not known."""

    measured: bool
    seeds: tuple[int, ...]
    fields: tuple[str, ...]
    """The texts of COLUMNS."""


@dataclass(frozen=True)
class _Noted:
    """What was noted of one cell's training."""

    device: str
    processes: int
    precision: str
    samples_per_second: float
    data_wait: float
    mfu: float | None

    @property
    def where(self) -> tuple[str, str, str]:
        return str(self.processes), self.device, self.precision


def cell_speeds(folder: Path, dataset: Dataset) -> list[Speed]:
    """A row or more of each method of the dataset, from `folder`/<dataset>/<method>/<seed>.json."""
    rows = []
    for method in dataset.methods:
        found = {
            cell.seed: _noted(folder / dataset.name / method / f"{cell.seed}.json", cell)
            for cell in dataset.of(method)
        }
        keys = {seed: of if isinstance(of, str) else of.where for seed, of in found.items()}
        for key in dict.fromkeys(keys.values()):
            seeds = tuple(seed for seed in found if keys[seed] == key)
            noted = [of for seed in seeds if isinstance(of := found[seed], _Noted)]
            told = ", ".join(map(str, seeds))
            fields = (*_numbers(noted), *key, told) if noted else (*"––––––", f"{told}: {key}")
            rows.append(Speed(bool(noted), seeds, (method, *fields)))
    return rows


def _noted(file: Path, cell: Cell) -> _Noted | str:
    """What the file says of the cell's training, or why its speed is not known."""
    if not file.exists():
        return "not noted"
    try:
        of = read_json(file)
        if of["digest"] != cell.run.get("facts"):
            return "noted of another training"
        return _Noted(
            device=str(of["device"]),
            processes=int(of["processes"]),
            precision=str(of["precision"]),
            samples_per_second=float(of["samples_per_second"]),
            data_wait=float(of["data_wait"]),
            mfu=None if of["mfu"] is None else float(of["mfu"]),
        )
    except (InputError, KeyError, TypeError, ValueError, OverflowError):
        return "the note cannot be read"


def _numbers(noted: Sequence[_Noted]) -> tuple[str, str, str]:
    rate = median(of.samples_per_second for of in noted)
    wait = median(of.data_wait for of in noted)
    known = [of.mfu for of in noted if of.mfu is not None]
    shown = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
    return shown, f"{100 * wait:.1f} %", f"{100 * median(known):.1f} %" if known else "–"


def speed_page(speeds: Mapping[str, Sequence[Speed]]) -> str:
    """The page `results/local/speed.md`, of the speeds by dataset."""
    lines = ["# Speed of the trainings", "", *(f"- {escape(note)}" for note in NOTES), ""]
    for name, rows in speeds.items():
        marks = ["---", *["---:"] * 4, *["---"] * 3]
        lines += [f"## {escape(name)}", "", line(COLUMNS), line(marks)]
        lines += [*(line([escape(field) for field in row.fields]) for row in rows), ""]
    return "\n".join(lines)

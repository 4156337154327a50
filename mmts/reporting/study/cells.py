"""What stands in the tables of a study: numbers, to be formatted where they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from mmts.kinds.modulator import MODULATORS
from mmts.kinds.objective import OBJECTIVES, quantity
from mmts.reporting.intervals import Interval
from mmts.reporting.study.results import METRICS, StudyResults, Tested
from mmts.reporting.study.rows import value_text
from mmts.reporting.tables import KNOBS

RSUM = "rsum"
RECALLS = (*METRICS, RSUM)
FIXED = "fixed"  # in place of a difference to itself
SHARES = ("centre", "alpha_share", "spread", "shifts", "alpha")
SHORT = {
    "clustering.seed": "K-Means seed", "clustering.features": "clusters of",
    "clustering.k": "K", "shift_mapping": "mapping", "control": "shifts",
}  # fmt: skip


@dataclass(frozen=True)
class Mean:
    """Mean and standard deviation over seeds; None for one seed."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Tried:
    """The validation rsum of a trial, its numbers, and whether it was chosen."""

    rsum: float
    numbers: str
    chosen: bool


Cell = str | Mean | Interval | Tried | None


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, rows, and how many columns at the left are words."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1


def summary(values: Sequence[float]) -> Mean:
    """Mean and standard deviation of what the seeds have."""
    return Mean(mean(values), stdev(values) if len(values) > 1 else None)


def of_seeds(
    results: StudyResults, tested: Tested, metric: str = RSUM, part: str | None = None
) -> Mean:
    """A metric of a tested setting, see `StudyResults.values`."""
    return summary(results.values(tested, metric, part))


def short(key: str) -> str:
    """A changed setting in a word: `rho` for `objective.rho`."""
    return SHORT.get(key, key.rpartition(".")[2])


def numbers_of(tested: Tested) -> str:
    """The numbers of a setting: `τ 0.02–0.04, alpha 0.01`, and what else was changed."""
    method, changes = tested.records[0]["method"], tested.entry.changes
    kind, modulator = method["objective"]["kind"], method["modulator"]["kind"]
    found = []
    if not OBJECTIVES.load(kind).temperature_free:
        shifts = dict.fromkeys((method["shift_min"], method["shift_max"]))
        how = MODULATORS.load(modulator).label
        start = f"{how} from " if how else ""
        found.append(f"{KNOBS[quantity(kind)]} {start}{value_text(list(shifts))}")
    if method["alpha"]:
        found.append(f"alpha {method['alpha']:g}")
    found += [f"{short(k)} {value_text(v)}" for k, v in changes.items() if k not in SHARES]
    return ", ".join(found)

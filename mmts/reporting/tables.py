"""The result tables: mean and standard deviation over seeds, best marks, differences."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, stdev

from mmts.metrics.longtail import PARTS
from mmts.reporting.cells import Dataset
from mmts.reporting.intervals import Interval, rsum_difference

KNOBS = {"temperature": "\N{GREEK SMALL LETTER TAU}", "margin": "margin"}

_OVERALL = (
    ("text to vision", (("R@1", "t2v/R@1"), ("R@5", "t2v/R@5"), ("R@10", "t2v/R@10"))),
    ("vision to text", (("R@1", "v2t/R@1"), ("R@5", "v2t/R@5"), ("R@10", "v2t/R@10"))),
    ("all six", (("rsum", "rsum"),)),
)
_BY_PART = tuple(
    (title, tuple((part, f"{part}/{key}") for part in PARTS))
    for title, key in (("rsum", "rsum"), ("t2v R@1", "t2v/R@1"), ("v2t R@1", "v2t/R@1"))
)


@dataclass(frozen=True)
class Entry:
    """One number of a table, in percent: None where a seed lacks it, std None for one seed."""

    mean: float | None
    std: float | None
    best: bool = False

    @property
    def text(self) -> str:
        """The mean with one decimal."""
        return "–" if self.mean is None else f"{self.mean:.1f}"

    @property
    def spread(self) -> str:
        """The standard deviation with one decimal, or a dash."""
        return "–" if self.std is None else f"{self.std:.1f}"


@dataclass(frozen=True)
class Row:
    """One method: its numbers, and its difference to its baseline (None for the baseline)."""

    method: str
    objective: str
    setting: str
    baseline: str
    entries: tuple[Entry, ...]
    difference: Interval | None


@dataclass(frozen=True)
class Table:
    """A result table of one source: column groups, and a row a method."""

    source: str
    title: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    difference: str
    rows: tuple[Row, ...]


def overall_table(dataset: Dataset, source: str, *, resamples: int, seed: int) -> Table:
    """R@1, R@5, R@10 of both directions and rsum, with the difference in rsum."""
    return _table(dataset, source, "All queries", _OVERALL, None, resamples, seed)


def part_table(dataset: Dataset, source: str, *, resamples: int, seed: int) -> Table:
    """rsum and R@1 on head, medium and tail queries, with the difference in tail rsum."""
    return _table(dataset, source, "By cluster size", _BY_PART, "tail", resamples, seed)


def best_row(table: Table) -> Row:
    """The method with the highest rsum of an overall table."""
    return max(table.rows, key=lambda row: row.entries[-1].mean or 0.0)


def headline_metrics(dataset: Dataset, source: str) -> dict[str, dict[str, float]]:
    """Per method the few numbers for `dvc exp show`: percent points, means over seeds."""
    keys = {"rsum": "rsum", "t2v_R1": "t2v/R@1", "v2t_R1": "v2t/R@1", "tail_rsum": "tail/rsum"}
    return {
        method: {
            name: round(100 * mean(values), 2)
            for name, key in keys.items()
            if (values := dataset.values(method, source, key))
        }
        for method in dataset.methods
    }


def setting(dataset: Dataset, method: str) -> str:
    """The range of the method's temperature or margin, such as `margin 0.1–0.3`."""
    low, high = (f"{end:.3g}" for end in tau_range(dataset, method))
    knob = ("learned " if dataset.learned(method) else "") + KNOBS[dataset.quantity(method)]
    apart = ", without alike pairs" if dataset.leaves_out_alike(method) else ""
    return f"{knob} {low}" + ("" if low == high else f"–{high}") + apart


def tau_range(dataset: Dataset, method: str) -> tuple[float, float]:
    """Lowest and highest tau: by the schedule and the shifts, or where learned, as logged."""
    if dataset.learned(method):
        logged = dataset.logged_tau(method)
        return float(logged["tau_min"].min()), float(logged["tau_max"].max())
    half = dataset.of(method)[0].run["alpha"] / 2
    shifts = dataset.shifts[method]["shift"]
    return float(shifts.min() - half), float(shifts.max() + half)


def _table(
    dataset: Dataset,
    source: str,
    title: str,
    groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...],
    part: str | None,
    resamples: int,
    seed: int,
) -> Table:
    keys = [key for _, columns in groups for _, key in columns]
    columns = [_column([dataset.values(m, source, key) for m in dataset.methods]) for key in keys]
    rows = []
    for method, entries in zip(dataset.methods, zip(*columns, strict=True), strict=True):
        baseline = dataset.baseline(method)
        difference = None
        if method != baseline:
            of = [_queries(dataset, name, source) for name in (method, baseline)]
            difference = rsum_difference(*of, resamples=resamples, seed=seed, part=part)
        about = (method, dataset.objective(method), setting(dataset, method), baseline)
        rows.append(Row(*about, entries, difference))
    heads = tuple((name, tuple(label for label, _ in columns)) for name, columns in groups)
    label = f"{part} rsum" if part else "rsum"
    return Table(source, title, heads, label, tuple(rows))


def _column(values: list[list[float]]) -> list[Entry]:
    """One column: the entries that show the highest number are the best, ties included."""
    means = [100 * mean(v) if v else None for v in values]
    shown = [round(m, 1) for m in means if m is not None]
    top = max(shown, default=None)
    return [
        Entry(m, 100 * stdev(v) if len(v) > 1 else None, m is not None and round(m, 1) == top)
        for m, v in zip(means, values, strict=True)
    ]


def _queries(dataset: Dataset, method: str, source: str) -> list:  # type: ignore[type-arg]
    return [cell.queries[cell.queries["source"] == source] for cell in dataset.of(method)]

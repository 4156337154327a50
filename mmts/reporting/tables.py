"""The result tables: mean and standard deviation over seeds, best marks, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

from mmts.kinds.measure import Columns
from mmts.kinds.term import TERMS
from mmts.metrics.longtail import PARTS
from mmts.reporting.cells import RERANK, Dataset
from mmts.reporting.intervals import Interval, paired_difference

KNOBS = {"temperature": "\N{GREEK SMALL LETTER TAU}", "margin": "margin"}


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
        """The standard deviation with one decimal, such as `± 0.4`; empty for one seed."""
        return "" if self.std is None else f"± {self.std:.1f}"


@dataclass(frozen=True)
class Row:
    """One method: its numbers, and its difference to its baseline (None for the baseline).

    `score` is the number that the difference is of; of a table without differences the first.
    """

    method: str
    objective: str
    setting: str
    baseline: str
    entries: tuple[Entry, ...]
    score: Entry
    difference: Interval | None


@dataclass(frozen=True)
class Table:
    """A result table of one source: column groups, a row a method, and what the difference is of.

    Without differences, `difference` is empty.
    """

    source: str
    title: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    difference: str
    rows: tuple[Row, ...]


def overall_table(dataset: Dataset, source: str, *, resamples: int, seed: int) -> Table:
    """The measure's numbers of all queries, with the difference in its key."""
    measure = dataset.measure
    gains = _differences(dataset, source, None, resamples=resamples, seed=seed)
    return _table(
        dataset, source, "All queries", measure.overall, measure.first, measure.name, gains
    )


def part_table(dataset: Dataset, source: str, *, resamples: int, seed: int) -> Table:
    """The measure's numbers on head, medium and tail queries, with the difference on tail ones."""
    measure = dataset.measure
    gains = _differences(dataset, source, "tail", resamples=resamples, seed=seed)
    about = (_by_group(dataset, PARTS), f"tail/{measure.first}", f"tail {measure.name}")
    return _table(dataset, source, "By cluster size", *about, gains)


def group_table(dataset: Dataset, source: str) -> Table | None:
    """The measure's numbers on the groups of queries that the annotations name; None without."""
    groups = query_groups(dataset, source)
    if not groups:
        return None
    columns = _by_group(dataset, groups)
    return _table(dataset, source, "By group of classes", columns, columns[0][1][0][1], "", {})


def query_groups(dataset: Dataset, source: str) -> tuple[str, ...]:
    """The groups of queries beside head, medium and tail; the last one is of all other queries."""
    end = f"/{dataset.measure.first}"
    keys = dataset.of(dataset.methods[0])[0].metrics[source]
    names = [key.removesuffix(end) for key in keys if key.endswith(end)]
    own = [name for name in names if not f"{name}/".startswith(RERANK)]
    return tuple(name for name in own if name not in PARTS)


def best_row(table: Table) -> Row:
    """The method with the highest score of an overall table."""
    return max(table.rows, key=lambda row: row.score.mean or 0.0)


def stated_row(dataset: Dataset, table: Table) -> Row:
    """Return the row that is compared with its baseline before all others, whatever the results.

    The first MM-TS of the grid, or else its last method. Baselines are passed over as long as there
    are other methods.
    """
    rows = [row for row in table.rows if row.method != row.baseline] or list(table.rows)
    return next((row for row in rows if dataset.has_both(row.method)), rows[-1])


def headline_metrics(dataset: Dataset, source: str) -> dict[str, dict[str, float]]:
    """Per method the few numbers for `dvc exp show`: percent points, means over seeds."""
    return {
        method: {
            ("rerank_" if view.reranked else "") + name: round(mean(values), 2)
            for view in dataset.views
            for name, key in dataset.measure.headline.items()
            if (values := view.percents(method, source, key))
        }
        for method in dataset.methods
    }


def setting(dataset: Dataset, method: str) -> str:
    """The range of the method's temperature or margin, such as `margin 0.1–0.3`.

    Then whatever of a schedule, shifts and the loss is not the paper's.
    """
    low, high = (f"{end:.3g}" for end in tau_range(dataset, method))
    cell = dataset.of(method)[0]
    knob = f"{cell.modulator.label} {KNOBS[dataset.quantity(method)]}".lstrip()
    told = [f"{knob} {low}" + ("" if low == high else f"–{high}")]
    if cell.schedule is not None and not cell.schedule.paper:
        told.append(cell.schedule.words)
    if cell.shift is not None and not cell.shift.paper:
        told.append(f"shifts by {cell.shift.label}")
    used = cell.run["clustering"]["shift"]
    if cell.shift is not None and used != "default":
        told.append(f"clusters {used} ({dataset.clusterings[used].label})")
    if dataset.leaves_out_alike(method):
        told.append("without alike pairs")
    if cell.objective_words:
        told.append(cell.objective_words)
    told += [_term(kind, settings) for kind, settings in cell.run.get("terms", {}).items()]
    return ", ".join(told)


def _term(name: str, settings: Mapping[str, Any]) -> str:
    """A loss term in words, with those of its numbers that are not the defaults."""
    kind = TERMS.load(name)
    defaults = {field: info.default for field, info in kind.model_fields.items()}
    own = {k: v for k, v in settings.items() if k in defaults and k not in ("kind", "weight")}
    unlike = ", ".join(f"{k} {v}" for k, v in own.items() if v != defaults[k])
    return f"plus {settings['weight']:g} × {kind.label}{f' ({unlike})' if unlike else ''}"


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
    groups: Columns,
    score: str,
    difference: str,
    gains: Mapping[str, Interval | None],
) -> Table:
    if dataset.reranked:
        title = f"{title}, re-ranked"
    if gallery := dataset.smaller_gallery(source):
        title = f"{title}, {gallery}"
    keys = [key for _, columns in groups for _, key in columns]
    columns = [_column([dataset.percents(m, source, key) for m in dataset.methods]) for key in keys]
    rows = []
    for method, entries in zip(dataset.methods, zip(*columns, strict=True), strict=True):
        about = (method, dataset.objective(method), setting(dataset, method))
        shown = (entries, entries[keys.index(score)], gains.get(method))
        rows.append(Row(*about, dataset.baseline(method), *shown))
    heads = tuple((name, tuple(label for label, _ in columns)) for name, columns in groups)
    return Table(source, title, heads, difference, tuple(rows))


def _by_group(dataset: Dataset, groups: Sequence[str]) -> Columns:
    return tuple(
        (title, tuple((group.replace("_", " "), f"{group}/{key}") for group in groups))
        for title, key in dataset.measure.by_part
    )


def _differences(
    dataset: Dataset, source: str, part: str | None, *, resamples: int, seed: int
) -> dict[str, Interval | None]:
    """Of each method beside the baselines."""
    return {
        method: to_baseline(dataset, source, method, part, resamples=resamples, seed=seed)
        for method in dataset.methods
        if method != dataset.baseline(method)
    }


def to_baseline(
    dataset: Dataset, source: str, method: str, part: str | None, *, resamples: int, seed: int
) -> Interval | None:
    """The measure's key of a method minus that of its baseline, on all queries or on a part."""
    of = [_queries(dataset, name, source) for name in (method, dataset.baseline(method))]
    draws = {"resamples": resamples, "seed": seed}
    return paired_difference(dataset.measure, of[0], of[1], part=part, **draws)


def own_interval(
    dataset: Dataset, source: str, method: str, part: str | None, *, resamples: int, seed: int
) -> Interval | None:
    """Return the measure's key of a method with its bounds, on all queries or on a part."""
    draws = {"resamples": resamples, "seed": seed}
    queries = _queries(dataset, method, source)
    return paired_difference(dataset.measure, queries, None, part=part, **draws)


def _column(values: list[list[float]]) -> list[Entry]:
    """One column: the entries that show the highest number are the best, ties included."""
    found = [entry(of_method) for of_method in values]
    shown = [round(one.mean, 1) for one in found if one.mean is not None]
    top = max(shown, default=None)
    return [replace(one, best=one.mean is not None and round(one.mean, 1) == top) for one in found]


def entry(values: list[float]) -> Entry:
    """Mean and standard deviation of what the seeds have, in percent points."""
    return Entry(mean(values) if values else None, stdev(values) if len(values) > 1 else None)


def _queries(dataset: Dataset, method: str, source: str) -> list:  # type: ignore[type-arg]
    return [cell.queries[cell.queries["source"] == source] for cell in dataset.of(method)]

"""Measures: what retrieval is judged by, in validation and on the test split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import PlainValidator

from mmts.errors import InputError
from mmts.registry import Registry
from mmts.settings.base import Settings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mmts.metrics.scores import Both, Scores
    from mmts.search import Search

Columns = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Groups of columns of a table: a title, and of each column its label and its key."""
DIRECTIONS = ("t2v", "v2t")


class Column(NamedTuple):
    """A column of queries.parquet, and the bounds of what is in it."""

    kind: Literal["whole", "number"]
    low: float
    high: float


class Total(NamedTuple):
    """A number over both directions: `factor` x the sum of some metrics of each."""

    metrics: tuple[str, ...]
    factor: float


class Told(NamedTuple):
    """A line of the notes with numbers of each method.

    start: its beginning; `{where}` is the source. keys: of metrics.json, each with a factor.
    text: how the numbers of a method are written.
    """

    start: str
    keys: tuple[tuple[str, float], ...]
    text: str


class MeasureKind(Settings):
    """Base of the settings of a measure.

    It says what each query scored (`values`), and which numbers are means of that over queries
    (`numbers`). Intervals, head, medium and tail, tables and figures follow from it.

    A key of metrics.json is that of `key`, or one of `totals`; with `/low` and `/high` for the
    bounds, below `head/`, `medium/`, `tail/` and the groups of queries that annotations name.
    """

    kind: str
    name: ClassVar[str]
    """Of the number that ranks the methods, as the page calls it."""
    first: ClassVar[str]
    """Its key; one of `totals`."""
    columns: ClassVar[Mapping[str, Column]]
    """What `values` gives of each query."""
    totals: ClassVar[Mapping[str, Total]]
    points: ClassVar[tuple[str, ...]] = ()
    """Keys that are in percent points in files. All others, and all means, are fractions."""
    validated: ClassVar[Mapping[str, str]]
    """Numbers of the validation split in the training log: `NAME` of its column `val_NAME`, and
    their keys."""
    drawn: ClassVar[tuple[str, ...]]
    """Which of those the figure of the training shows, by their names."""
    not_validated: ClassVar[set[str]] = set()
    """Settings that change no number of `validated`: an edit trains nothing again."""
    by_item: ClassVar[bool] = False
    """Whether the bootstrap draws media items with all their queries; or else single queries."""
    graded: ClassVar[bool] = False
    """Whether answers are more or less right. It needs captions with graded relevancy."""
    default: ClassVar[bool] = False
    """Whether it is the measure of captions with graded relevancy, or if not `graded` of others,
    where none is named."""
    held: ClassVar[bool] = False
    """Whether all scores are kept in memory."""

    by_part: ClassVar[tuple[tuple[str, str], ...]]
    """Title and key of the numbers that the tables by groups of queries show."""
    headline: ClassVar[Mapping[str, str]]
    """The numbers of results/metrics, by their names there."""
    scale: ClassVar[str]
    """A sentence on the numbers."""
    ties: ClassVar[str]
    """A sentence on equal scores."""
    axis: ClassVar[str]
    """Of figures."""
    told: ClassVar[Told]

    def check(self, graded: bool) -> None:
        """Raise InputError if the captions do not have what the measure needs.

        Args:
            graded: whether they have graded relevancy.
        """
        if self.graded and not graded:
            raise InputError(
                f"evaluate.measure is {self.kind}, but the captions have no graded relevancy (verb "
                "and noun classes); name another measure, or none"
            )

    @property
    @abstractmethod
    def overall(self) -> Columns:
        """The columns of the table of all queries."""
        raise NotImplementedError

    @abstractmethod
    def values(self, search: Search, scores: Scores) -> dict[str, Both]:
        """Return a number of each query, by column of queries.parquet.

        It is refused if it is not within the bounds of its `Column`.
        """
        raise NotImplementedError

    @abstractmethod
    def numbers(self, queries: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """Return the numbers of each query whose means are the metrics, by metric.

        Args:
            queries: has the columns that `values` gave.
        """
        raise NotImplementedError

    def key(self, metric: str, direction: str) -> str:
        """Return the key of the mean of a metric in a direction."""
        return f"{metric}/{direction}"

    def counts(self, queries: pd.DataFrame, direction: str) -> dict[str, float]:
        """Return further numbers of the queries of a direction, without bounds, by key."""
        return {f"queries/{direction}": len(queries)}

    def captions(self, search: Search) -> NDArray[np.bool_]:
        """Return which captions are searched for and among, [T]."""
        import numpy as np

        return np.ones(len(search.captions), dtype=bool)

    def gains(self, search: Search, direction: str, query: int) -> NDArray[Any]:
        """Return how right each answer to a query is, from 0 to 1; 1 is right."""
        own: NDArray[Any]
        if direction == "v2t":
            own = search.owner == query
        else:
            import numpy as np

            own = np.arange(len(search.items)) == search.owner[query]
        return own

    @abstractmethod
    def answered(self, query: Mapping[str, Any]) -> str:
        """Return how well a query was answered in words, from its row of queries.parquet."""
        raise NotImplementedError

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Return the main numbers of one source on one line."""
        shown = {name: key for name, key in self.headline.items() if key in metrics}
        return ", ".join(f"{name} {self.percent(metrics, key)}" for name, key in shown.items())

    # --- what follows of it -----------------------------------------------------------------------

    def measured(self, search: Search, scores: Scores) -> dict[str, Both]:
        """Return what `values` does; InputError where that is not what `columns` says."""
        from mmts.kinds.measure._checked import check_values

        return check_values(self, self.values(search, scores), search)

    def of_queries(self, queries: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        """Return what `numbers` does; InputError where that is no number of each query."""
        from mmts.kinds.measure._checked import check_numbers

        return check_numbers(self, self.numbers(queries), len(next(iter(queries.values()))))

    def means(self, values: Mapping[str, Both]) -> dict[str, float]:
        """Return the means over all queries, and the totals, by key.

        Args:
            values: what `measured` gave.
        """
        found, parts = {}, {}
        for direction in DIRECTIONS:
            numbers = self.of_queries({name: getattr(of, direction) for name, of in values.items()})
            for metric, of_query in numbers.items():
                parts[metric, direction] = mean = float(of_query.mean())
                found[self.key(metric, direction)] = mean
        for key, (metrics, factor) in self.totals.items():
            found[key] = factor * sum(parts[m, d] for d in DIRECTIONS for m in metrics)
        return found

    @property
    def units(self) -> str:
        """What the bootstrap draws, in words."""
        return "test items (all queries of an item move together)" if self.by_item else "queries"

    def to_percent(self, key: str) -> float:
        """Return the factor that turns a number of files into percent points."""
        return 1.0 if any(part in self.points for part in key.split("/")) else 100.0

    def percent(self, metrics: Mapping[str, float], key: str) -> str:
        """Return a number in percent points with one decimal."""
        return f"{self.to_percent(key) * metrics[key]:.1f}"

    @property
    def curves(self) -> tuple[tuple[str, str], ...]:
        """Name, and column in curves.csv, of what the figure of the training shows."""
        return tuple((name, f"val_{name}") for name in self.drawn)

    @property
    def needed(self) -> set[str]:
        """The keys that every source has."""
        overall = (key for _, columns in self.overall for _, key in columns)
        return {self.first, *overall, *(key for key, _ in self.told.keys)}


def default_measure(graded: bool) -> MeasureKind:
    """Return the measure where none is named.

    Args:
        graded: whether captions have graded relevancy.

    Raises:
        InputError: there is none, or more than one.
    """
    loaded = {kind: MEASURES.load(kind) for kind in MEASURES.kinds}
    found = [kind for kind, of in loaded.items() if of.default and of.graded == graded]
    if len(found) != 1:
        raise InputError(
            f"{', '.join(found) or 'none'} of mmts/kinds/measure has default = True and graded = "
            f"{graded}; it must be one file"
        )
    return loaded[found[0]](kind=found[0])


MEASURES = Registry("measure", "mmts.kinds.measure", MeasureKind)
Measure = Annotated[Any, MEASURES, PlainValidator(MEASURES.validated)]
MeasureOrNone = Annotated[Any, MEASURES, PlainValidator(MEASURES.optional)]

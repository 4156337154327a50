"""The paper's tables as data: rows, columns, and what was trained and tested for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """What tells a method of the paper from the others; `column` and `clusters` count with ICS."""

    objective: str
    ts: bool = False
    ics: bool = False
    column: str = "noun"
    """The class column behind the shifts; empty for the clusters of K-Means."""
    clusters: str = ""
    """What K-Means clusters, where that is no sentence vectors: the name of a file of vectors."""
    learned: bool = False
    """Whether it learns one temperature."""
    smoothing: float = 0.0
    """Its label smoothing."""
    terms: tuple[tuple[str, float], ...] = ()
    """Its further loss terms, with their weights."""


@dataclass(frozen=True)
class Published:
    """A row of a table, in percent; `recipe` if this project can run the method.

    None stands where the paper has no number.
    """

    label: str
    numbers: tuple[float | None, ...]
    backbone: str = ""
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Group:
    """Three columns about a kind of test source: three numbers, or two and their average.

    `keys` has, of each column, the keys of metrics.json that it is the mean of.
    """

    title: str
    kind: str
    labels: tuple[str, str, str]
    keys: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    averaged: bool = True
    """Whether the third is the average of the two."""


def recalls(title: str, kind: str, direction: str) -> Group:
    """R@1, R@5 and R@10 of a direction, such as `t2v` or `rerank/t2v`."""
    keys = tuple((f"{direction}/R@{k}",) for k in (1, 5, 10))
    labels = ("R@1", "R@5", "R@10")
    return Group(title, kind, labels, (keys[0], keys[1], keys[2]), averaged=False)


@dataclass(frozen=True)
class PublishedTable:
    """A table of the paper."""

    number: int
    title: str
    rows: tuple[Published, ...]
    groups: tuple[Group, ...] = ()
    """Its columns, where they are not those of the experiment."""
    notes: tuple[str, ...] = ()
    """Sentences that stand below it."""


@dataclass(frozen=True)
class PublishedRanges:
    """A table of the paper with one number for each shift range and alpha, in percent."""

    number: int
    title: str
    kind: str
    """The kind of the test source."""
    label: str
    key: str
    """Of metrics.json."""
    recipe: Recipe
    alphas: tuple[float, ...]
    rows: Mapping[tuple[float, float], tuple[float, ...]]
    """By the lowest and the highest shift, a number for each alpha."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """A training source of the paper, and the tables with what was trained on it."""

    train: str
    """The kind of the source that is trained on."""
    listed: int
    """Its training items in the official files."""
    lacking: str
    """The sentence for a training on another number of items."""
    words: tuple[str, str]
    """What vision and text queries are called."""
    tests: Mapping[str, tuple[int, int]]
    """Vision and text queries of the official test, by the kind of the test source."""
    groups: tuple[Group, ...]
    tables: tuple[PublishedTable, ...]
    ranges: PublishedRanges | None = None
    """Its table of shift ranges and alphas."""
    further: bool = False
    """Whether the other methods of the grid follow as measured rows."""
    streams: tuple[str, ...] = ()
    """What its models read beside pictures or clips."""
    usual: Mapping[tuple[int, int, int], str] = field(default_factory=dict)
    """A sentence for training items, vision and text queries that are usual; `lacking` otherwise.
    Without any, `listed` and `tests` are the only ones."""
    loss: str = ""
    """What else the losses of its methods have."""
    candidates: int = 0
    """Best answers to each query that its tables have re-ranked; 0 where none are."""
    clusters: tuple[int, ...] = ()
    """Training captions of the five largest and the five smallest clusters, as in Table 10."""
    notes: tuple[str, ...] = ()
    """Sentences that stand below its first table."""

    def columns(self, table: PublishedTable) -> tuple[Group, ...]:
        """The columns of one of its tables."""
        return table.groups or self.groups

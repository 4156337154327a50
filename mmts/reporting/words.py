"""The sentences and numbers that the Markdown and the page share."""

from __future__ import annotations

from statistics import mean
from typing import NamedTuple

from mmts.captions import repeats_line
from mmts.kinds.stream import STREAMS
from mmts.long_tail import long_tail_line
from mmts.reporting.cells import Dataset
from mmts.reporting.intervals import Interval
from mmts.reporting.tables import Row, Table, best_row, query_groups, stated_row

COLUMN_NAMES = {"verb_noun": "verb and noun"}
"""Class columns that are called otherwise than they are named."""


def signed(value: float) -> str:
    """A number with its sign and one decimal, with a true minus: `+1.2`, `−0.3`."""
    return f"{value:+.1f}".replace("-", "−")


def bounds(interval: Interval) -> str:
    """The 95 % bounds in words: `+0.3 to +2.1`."""
    return f"{signed(interval.low)} to {signed(interval.high)}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: `1 seed`, `1,000 items`."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}" + ("" if count == 1 else ending)


def test_size(dataset: Dataset, source: str) -> str:
    """How many test items and queries the source has."""
    queries = dataset.of(dataset.methods[0])[0].queries
    queries = queries[queries["source"] == source]
    directions = queries["direction"].value_counts()
    items = plural(queries["sample_id"].nunique(), "test item")
    gallery = capital(dataset.smaller_gallery(source)) or items
    return (
        f"{gallery}, "
        f"{int(directions.get('t2v', 0)):,} text queries (t2v) and "
        f"{int(directions.get('v2t', 0)):,} vision queries (v2t)"
    )


class Headline(NamedTuple):
    """What the page says first of a test source.

    number: a difference, or a score where there is none. about: what it is of. verdict: what it
    means. highest: the method with the highest score, named as picked on the test.
    """

    number: str
    about: str
    verdict: str
    highest: str

    @property
    def text(self) -> str:
        """What stands behind the number."""
        return f"{self.about}. {self.verdict} {self.highest}".rstrip()


def stated(dataset: Dataset, table: Table) -> Headline:
    """Return the comparison that is fixed beforehand, and beside it the winner on the test."""
    row, best, count = stated_row(dataset, table), best_row(table), len(table.rows)
    number, about = row.score.text, f"{table.difference} of {row.method}"
    if row.difference is not None:
        number, about = signed(row.difference.value), f"{about} minus its baseline {row.baseline}"
    compared = plural(sum(one.difference is not None for one in table.rows), "comparison")
    of = f"{count} methods ({compared})"
    highest = f"Highest of {of} on the test: {best.method}, {best.score.text}."
    if best.method != row.method:
        highest += " It was picked on the test items, which flatters it."
    return Headline(number, about, _verdict(dataset, row), highest if count > 1 else "")


def _verdict(dataset: Dataset, row: Row) -> str:
    gain = row.difference
    if row.method == row.baseline:
        return "No method here has a baseline to compare it with."
    if gain is None:
        return f"Its difference to its baseline {row.baseline} could not be measured."
    meaning = "excludes zero" if gain.clear else "holds zero, so this may be chance"
    seeds = " One seed: another may differ by more." if len(dataset.seeds) == 1 else ""
    return (
        f"The 95 % interval, {bounds(gain)}, {meaning}.{seeds} The grid fixes this comparison "
        "before any result is known."
    )


def notes(dataset: Dataset, resamples: int, *, names: bool = False) -> list[str]:
    """Further numbers and intervals, and how the numbers were made: seeds, parts, ties.

    With `names`, pictures may be named in them.
    """
    measure = dataset.measure
    seeds = ", ".join(str(seed) for seed in dataset.seeds)
    if len(dataset.seeds) > 1:
        spread = f"Numbers are mean ± standard deviation over the seeds {seeds}."
        draws = (
            f"over {measure.units}; seeds are too few to resample, so their part comes from "
            "Student's t and their spread"
        )
    else:
        spread = f"One seed only ({seeds}): there is no standard deviation."
        draws = (
            f"over {measure.units}; with one seed it does not tell how much another seed would "
            "change"
        )
    parts = (
        "Head, medium and tail: the training clusters sorted by size and cut at thirds of the "
        "training rows; a vision query belongs to its captions' most frequent cluster."
    )
    interval = (
        "The baseline is the first method in the grid that has a temperature too, or a margin too; "
        "the 95 % interval of the difference is a paired bootstrap "
        f"({resamples:,} resamples) {draws}."
    )
    best = (
        "The best of a column is bold; it is picked on the test items themselves, which flatters "
        "it a little."
    )
    told = [
        *_ranks(dataset), *_rerank(dataset), *_gallery(dataset), *_streams(dataset),
        *_lacking(dataset), *_long_tail(dataset), *_unused(dataset), *_repeats(dataset, names),
        *_noise(dataset),
    ]  # fmt: skip
    grouped = [parts, *_groups(dataset)]
    return [*told, measure.scale, spread, *grouped, interval, measure.ties, best]


def _streams(dataset: Dataset) -> list[str]:
    """A line on what the models read beside the pictures or clips, where there is more."""
    cell = dataset.of(dataset.methods[0])[0]
    named = [f"{name} ({STREAMS.load(kind).label})" for name, kind in cell.streams.items()]
    if not cell.sees:
        return [f"The vision side reads {', '.join(named)} alone, no frames and no pictures."]
    return [f"The vision side reads further streams: {', '.join(named)}."] if named else []


def _lacking(dataset: Dataset) -> list[str]:
    """A line on the items that lack a stream which the models read, where there are any."""
    item = "clips" if "start" in dataset.captions else "pictures"
    kinds = dataset.of(dataset.methods[0])[0].streams
    told = [
        f"{of[split].items:,} of {count:,} {split} {item} have no "
        f"{STREAMS.load(kinds[stream]).noun or stream} (first: {of[split].first[0]})"
        for split, count in dataset.packed.items()
        for stream, of in dataset.empty.items()
        if stream in kinds and split in of
    ]
    return [f"{', '.join(told)}. None leaves the gallery for it."] if told else []


def _gallery(dataset: Dataset) -> list[str]:
    """A line a source whose gallery is smaller than the official one."""
    return [
        f"{source}: a {gallery}; numbers of another gallery do not compare."
        for source in dataset.test_sources
        if (gallery := dataset.smaller_gallery(source))
    ]


def _long_tail(dataset: Dataset) -> list[str]:
    """A line on the long tail that was drawn, where one was."""
    item = "clips" if "start" in dataset.captions else "pictures"
    return [long_tail_line(dataset.long_tail, item)] if dataset.long_tail else []


def _unused(dataset: Dataset) -> list[str]:
    """A line on the rows of the sources that were left out, where there are any."""
    count = sum(dataset.unused.values())
    if not count:
        return []
    lost = dataset.unused.get("lost in cutting", 0)
    rows = len(dataset.captions) + count - lost
    of = "; ".join(f"{kind}: {number:,}" for kind, number in dataset.unused.items())
    were = "was" if count == 1 else "were"
    return [f"{count:,} of {plural(rows, 'row')} of the sources {were} left out ({of})."]


def _repeats(dataset: Dataset, names: bool) -> list[str]:
    """Lines on pictures that repeat another one, and on images without captions."""
    lines = []
    merged = sum(source.merged for source in dataset.sources)
    if merged:
        lines.append(
            f"{plural(merged, 'picture')} with the same bytes as another became one item with it."
        )
    without = sum(sum(source.uncaptioned.values()) for source in dataset.sources)
    if without:
        lines.append(f"{plural(without, 'listed image')} without a caption left out.")
    for repeat in dataset.repeats:
        line = repeats_line(**{**repeat, "example": repeat["example"] if names else None})
        effect = (
            "they cannot be told apart, so recall is too low"
            if repeat["also_in"] == repeat["split"]
            else "recall may be too high"
        )
        lines.append(f"{capital(line)}; {effect}.")
    return lines


def _noise(dataset: Dataset) -> list[str]:
    """A line a clustering that puts training captions into no cluster."""
    count = int((dataset.captions["split"] == "train").sum())
    return [
        f"The clustering {name} ({of.label}) takes {of.noise:,} of {count:,} training captions "
        f"({100 * of.noise / count:.1f} %) for noise; each is a cluster of its own, of size 1."
        for name, of in dataset.clusterings.items()
        if of.noise
    ]


def _groups(dataset: Dataset) -> list[str]:
    """A line on the groups of queries that the annotations name, where there are any."""
    found = [query_groups(dataset, source) for source in dataset.test_sources]
    names = [name.replace("_", " ") for name in dict.fromkeys(n for of in found for n in of)]
    if not names:
        return []
    return [
        f"{capital(', '.join(names[:-1]))}: queries of classes that the annotations list as such; "
        f"{names[-1]}: of none of them. A query may be in several."
    ]


def _ranks(dataset: Dataset) -> list[str]:
    """A line a source with the numbers that the measure tells of each method, means over seeds.

    And one after re-ranking, where there is any.
    """
    (start, keys, text), lines = dataset.measure.told, []
    for source in dataset.test_sources:
        for view in dataset.views:
            told = []
            for method in dataset.methods:
                of = [times * mean(view.values(method, source, key)) for key, times in keys]
                told.append(f"{method} {text.format(*of)}")
            where = f" on {source}" if len(dataset.test_sources) > 1 else ""
            again = "After re-ranking: " if view.reranked else ""
            lines.append(f"{again}{start.format(where=where)}: {'; '.join(told)}.")
    return lines


def _rerank(dataset: Dataset) -> list[str]:
    """A line on what re-ranking is, where there is any."""
    return [
        f"Re-ranked: {view.reranked}. They get new scores in each direction; all other answers "
        "stay behind them in the order that they had."
        for view in dataset.views
        if view.reranked
    ]


def shortened(text: str, most: int = 500) -> str:
    """The text, cut where it has more characters than a page can show of one caption."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]

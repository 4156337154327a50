"""The sentences and numbers that the Markdown and the page share."""

from __future__ import annotations

from statistics import mean

from mmts.reporting.cells import Dataset
from mmts.reporting.intervals import Interval
from mmts.reporting.tables import Row

OBJECTIVES = {
    "info_nce": "InfoNCE", "max_margin": "max-margin", "siglip": "SigLIP", "cyclip": "CyCLIP",
    "sogclr": "SogCLR", "arctanh": "arctanh InfoNCE",
}  # fmt: skip


def signed(value: float) -> str:
    """A number with its sign and one decimal, with a true minus: `+1.2`, `−0.3`."""
    return f"{value:+.1f}".replace("-", "−")


def bounds(interval: Interval) -> str:
    """The 95 % bounds in words: `+0.3 to +2.1`."""
    return f"{signed(interval.low)} to {signed(interval.high)}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: `1 seed`, `1,000 items`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def test_size(dataset: Dataset, source: str) -> str:
    """How many test items and queries the source has."""
    queries = dataset.of(dataset.methods[0])[0].queries
    queries = queries[queries["source"] == source]
    directions = queries["direction"].value_counts()
    return (
        f"{plural(queries['sample_id'].nunique(), 'test item')}, "
        f"{int(directions.get('t2v', 0)):,} text queries (t2v) and "
        f"{int(directions.get('v2t', 0)):,} vision queries (v2t)"
    )


def verdict(best: Row) -> str:
    """What the best method's difference to its baseline means, in plain words."""
    gain = best.difference
    if best.method == best.baseline:
        return "It is a baseline itself: no other method scores higher."
    if gain is None:
        return "Its difference to its baseline could not be measured."
    side = "above" if gain.value >= 0 else "below"
    start = f"{abs(gain.value):.1f} points {side} its baseline {best.baseline}"
    if gain.clear:
        return f"{start}; the 95 % interval, {bounds(gain)}, excludes zero."
    return f"{start}; the 95 % interval, {bounds(gain)}, holds zero, so this may be chance."


def notes(dataset: Dataset, resamples: int) -> list[str]:
    """Median ranks and intervals, and how the numbers were made: seeds, parts, ties."""
    seeds = ", ".join(str(seed) for seed in dataset.seeds)
    if len(dataset.seeds) > 1:
        spread = f"Numbers are mean ± standard deviation over the seeds {seeds}."
        draws = "over test items (all queries of an item move together) and over seeds"
    else:
        spread = f"One seed only ({seeds}): there is no standard deviation, shown as a dash."
        draws = (
            "over test items (all queries of an item move together); with one seed it does not "
            "tell how much another seed would change"
        )
    scale = "Recalls are in percent; rsum is the sum of the six recalls, 0 to 600."
    parts = (
        "Head, medium and tail: the training clusters sorted by size and cut at thirds of the "
        "training rows; a vision query belongs to its captions' most frequent cluster."
    )
    interval = (
        "The baseline is the first method in the grid that has a temperature too, or a margin too; "
        "the 95 % interval of the difference is a paired bootstrap "
        f"({resamples:,} resamples) {draws}."
    )
    ties = "Ties count against: a wrong answer with the right one's score ranks before it."
    best = (
        "The best of a column is bold; it is picked on the test items themselves, which flatters "
        "it a little."
    )
    return [*_ranks(dataset), scale, spread, parts, interval, ties, best]


def _ranks(dataset: Dataset) -> list[str]:
    """A line a source: median ranks and the interval of rsum, means over seeds."""
    lines = []
    for source in dataset.test_sources:
        told = []
        for method in dataset.methods:
            of = {
                key: mean(dataset.values(method, source, key))
                for key in ("t2v/median_rank", "v2t/median_rank", "rsum/low", "rsum/high")
            }
            told.append(
                f"{method} {of['t2v/median_rank']:.3g} and {of['v2t/median_rank']:.3g}, "
                f"{100 * of['rsum/low']:.0f} to {100 * of['rsum/high']:.0f}"
            )
        where = f" on {source}" if len(dataset.test_sources) > 1 else ""
        lines.append(
            f"Median rank of the right answer{where}, text to vision and vision to text, and the "
            f"95 % interval of rsum over test items: {'; '.join(told)}."
        )
    return lines


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]

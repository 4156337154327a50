"""What stands above and below the tables of a study."""

from __future__ import annotations

from collections.abc import Sequence

from mmts.reporting.study.cells import short
from mmts.reporting.study.rows import MAIN, Rows
from mmts.reporting.words import plural

GRID = (
    "info_nce and max_margin have one fixed temperature or margin; _ts: the cosine schedule alone "
    "(TS); _ics: a shift by the size of the caption's cluster alone (ICS); _mmts: both (MM-TS)."
)
OTHERS = {
    "clip": "InfoNCE with one learned temperature",
    "siglip": "that loss, with one learned temperature",
    "cyclip": "that loss, with one learned temperature",
    "isogclr": "a learned temperature for each sample",
    "tempnet": "a temperature that a network predicts",
    "arctanh": "a loss without a temperature, whose trials are learning rates",
}
UNITS = (
    "Recalls are percent, rsum is the sum of all six (600 at most). ± is the standard deviation "
    "over seeds. Δ is a difference of rsum, in brackets its 95 % interval; bold where it excludes "
    "zero. Own fixed: max_margin for the methods with a margin, info_nce for all others. τ or "
    "margin: the fixed value, or the range of the shifts; alpha: the peak-to-peak range of the "
    "cosine on top. CPU s: of a training and its evaluation."
)
EFFECTS = (
    "Each method has its own chosen numbers, so a step may move the centre of the temperature too. "
    "Reversed and random shifts are described below; they keep the numbers of the row above them."
)
TRIED = (
    "Validation rsum of each trial, with its numbers in brackets; the chosen one is bold. Shares "
    "are of the centre: alpha = centre x alpha_share; shifts = centre x (1 - spread) to centre x "
    "(1 + spread)."
)
COMPONENTS = (
    "As in the paper's Table 4: what an untuned comparison around one temperature or margin shows."
)
TEST_ONLY = (
    "These are test results after all choices: nothing was chosen by them, and the best of many "
    "looks better than it is."
)
RANGES = f"As in the paper's Table 8. A dash: tau would reach 0. {TEST_ONLY}"
VARIED = (
    "The chosen method with one thing changed and nothing tuned anew, over the seeds that both "
    "have. Reversed: the smallest cluster has the largest shift; random: the shifts are dealt to "
    "the clusters, anew for each seed. Clusters differ in size, so both also move the mean tau of "
    "the training pairs. Clusters of lsa: of the captions' words alone (TF-IDF, reduced by SVD); "
    f"of vision: of the image features. {TEST_ONLY}"
)
GROWTH = (
    "Δ to fixed is to info_nce on the same split. Methods keep the numbers that were chosen on the "
    "whole split, so Δ is also of these; growth of Δ is how much larger it is than at the smallest "
    "imbalance."
)


def names(studies: Sequence[Rows]) -> str:
    """Return what the names of the methods mean that the tables show."""
    shown = {name for rows in studies for name in rows.chosen}
    others = "; ".join(f"{name}: {what}" for name, what in OTHERS.items() if name in shown)
    return f"{GRID} {others}." if others else GRID


def chance(rows: Rows) -> str:
    """How many of the main table's intervals chance alone would make look like something."""
    gains = [row.difference(rows.results, "best") for row in rows.by_table[MAIN]]
    found = [gain for gain in gains if gain]
    clear = sum(gain.clear for gain in found)
    return (
        f"{rows.dataset}: of the {plural(len(found), 'interval')} to {rows.best}, about "
        f"{len(found) / 20:.1f} would exclude zero by chance alone if no method differed from it; "
        f"{clear} {'does' if clear == 1 else 'do'}."
    )


def edges(rows: Rows) -> list[str]:
    """The methods of which a chosen number is the lowest or highest of three or more."""
    found = []
    for name, tried in rows.results.trials.items():
        for key, chosen in rows.results.chosen[name].entry.changes.items():
            of_all = (entry.changes.get(key) for entry, _ in tried)
            values = {value for value in of_all if isinstance(value, int | float)}
            if len(values) > 2 and chosen in (min(values), max(values)):
                found.append(f"{name} ({short(key)} {chosen:g})")
    if not found:
        return []
    return [
        f"{rows.dataset}: chosen at an end of what was tried, so that a wider search might find "
        f"better: {', '.join(found)}."
    ]

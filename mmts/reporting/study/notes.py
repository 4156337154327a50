"""How a study was done and what it leaves open, in words with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from mmts.reporting.study.cells import short
from mmts.reporting.study.results import RESAMPLES
from mmts.reporting.study.rows import MAIN, SWEEP, Rows
from mmts.reporting.words import plural
from mmts.study.settings import Study

NAMES = (
    "info_nce and max_margin have one fixed temperature or margin; _ts: the cosine schedule alone "
    "(TS); _ics: a shift by the size of the caption's cluster alone (ICS); _mmts: both (MM-TS). "
    "clip: InfoNCE with one learned temperature; siglip, cyclip: those losses, with one learned "
    "too; isogclr: a learned temperature for each sample; tempnet: one that a network predicts; "
    "arctanh: a loss without a temperature, whose trials are learning rates."
)
UNITS = (
    "Recalls are percent, rsum is the sum of all six (600 at most). ± is the standard deviation "
    "over seeds. Δ is a difference of rsum, in brackets its 95 % interval; bold where it excludes "
    "zero. τ or margin: the shift, or the range of the shifts; alpha: the range of the cosine on "
    "top."
)

TRIED = (
    "Validation rsum of each trial; the chosen one is bold. Shares are of the centre: alpha = "
    "centre x alpha_share; shifts = centre x (1 - spread) to centre x (1 + spread)."
)
COMPONENTS = (
    "As in the paper's Table 4: what an untuned comparison around one temperature or margin shows."
)
RANGES = "As in the paper's Table 8. A dash: tau would reach 0."
GROWTH = (
    "Growth of Δ: how much larger a method's difference to fixed is than at the smallest imbalance."
)


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
            values = {
                entry.changes[key] for entry, _ in tried if _is_number(entry.changes.get(key))
            }
            if len(values) > 2 and chosen in (min(values), max(values)):
                found.append(f"{name} ({short(key)} {chosen:g})")
    if not found:
        return []
    return [
        f"{rows.dataset}: chosen at an end of what was tried, so that a wider search might find "
        f"better: {', '.join(found)}."
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def method(studies: Sequence[Rows], study: Study) -> list[str]:
    """How it was done."""
    seeds = ", ".join(map(str, study.seeds.results))
    return [
        *(_data(rows) for rows in studies),
        f"Tuning: {study.trials} settings of every method, each trained with "
        f"{plural(len(study.seeds.trials), 'seed')}; the one with the highest rsum on the "
        "validation split is chosen. No trial sees the test split. All methods of a dataset share "
        "one recipe.",
        f"Results: the chosen settings are trained anew with the seeds {seeds} (weights, order, "
        "dropout; none of them a seed of the trials) and tested once. The best fixed method, and "
        "the better MM-TS of the answer, are those with the higher mean validation rsum of these "
        "cells.",
        f"Intervals: methods are paired by seed and query. {RESAMPLES:,} resamples of the media "
        "items, each with all its queries; seeds are too few to resample, so their part comes from "
        "Student's t and their spread. A difference is over the seeds that both have.",
        "Head, medium and tail: the training clusters sorted by size and cut at thirds of the "
        "training captions; an image belongs to its captions' most frequent cluster.",
        *_sweep(studies, study),
        *(_cost(rows) for rows in studies),
    ]


def _data(rows: Rows) -> str:
    results = rows.results
    record = results.chosen[rows.best].records[0]
    train, of_each = record["train"], results.queries["direction"].value_counts()
    return (
        f"{rows.dataset}: {record['items']:,} training items; the test split has "
        f"{results.queries['item'].nunique():,} with {of_each['t2v']:,} captions. "
        f"{train['epochs']} epochs of {record['steps'] // train['epochs']} steps, batches of "
        f"{train['batch_size']}, AdamW, learning rate {train['learning_rate']:g}, weight decay "
        f"{train['weight_decay']:g}."
    )


def _sweep(studies: Sequence[Rows], study: Study) -> list[str]:
    if not any(SWEEP in rows.by_table for rows in studies):
        return []
    tail = study.tail
    return [
        f"Long-tail sweep: items are drawn from the training split so that the sizes of "
        f"{tail.classes} classes (K-Means on the training captions) fall as a power of their rank; "
        "imbalance is the largest over the smallest. All splits of a dataset have about as many "
        f"items, and a training has about {tail.steps} steps with batches of {tail.batch_size}. "
        "The classes are the clusters of ICS and MM-TS there. Numbers are those chosen on the "
        "whole split. Tail queries are those of the classes that are tail at the largest "
        "imbalance, the same at every imbalance."
    ]


def _cost(rows: Rows) -> str:
    records = rows.results.records.values()
    facts = {
        what: ", ".join(sorted({str(record[what]) for record in records}))
        for what in ("device", "torch", "code")
    }
    return (
        f"{rows.dataset}: {plural(len(records), 'training')}, "
        f"{sum(record['cpu_seconds'] for record in records) / 3600:.1f} CPU hours, a thread each; "
        f"device {facts['device']}, torch {facts['torch']}, training code {facts['code']}."
    )


def untested(studies: Sequence[Rows], study: Study) -> list[str]:
    """What the study does not tell."""
    known = {rows.dataset for rows in studies}
    return [
        *(
            f"{dataset}, with all towers trained instead of the heads alone: it needs a GPU, and "
            "was not run."
            for dataset in study.cuda_datasets
            if dataset not in known
        ),
        *(
            f"{dataset}: its records are not complete, so it is left out."
            for dataset in study.datasets
            if dataset not in known
        ),
        "Other recipes: learning rate, batch size and length were not tuned, except the learning "
        "rate of arctanh.",
        f"Finer searches: {study.trials} trials of {plural(len(study.seeds.trials), 'seed')} are "
        "few for a method with three numbers, which may be further from its best.",
        "Real classes in a long tail: those of the sweep are clusters of captions.",
        "A correction for many comparisons: no interval has one; the counts below the main tables "
        "tell what chance alone would do.",
        *(
            ["Larger pictures: the photographs of flickr8k are seen at 160 pixels."]
            if "flickr8k" in known
            else []
        ),
    ]

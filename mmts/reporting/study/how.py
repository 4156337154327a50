"""How a study was done and what it leaves open, in words with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from mmts.reporting.study.cells import short
from mmts.reporting.study.results import RESAMPLES
from mmts.reporting.study.rows import SWEEP, Rows
from mmts.reporting.words import plural
from mmts.study.settings import Study


def method(studies: Sequence[Rows], study: Study) -> list[str]:
    """How it was done."""
    seeds = ", ".join(map(str, study.seeds.results))
    return [
        *(_data(rows) for rows in studies),
        f"Tuning: {study.trials} settings of every method, each trained with "
        f"{plural(len(study.seeds.trials), 'seed')}; the one with the highest rsum on the "
        "validation split is chosen. No trial sees the test split. All methods of a dataset share "
        "one recipe, that of params.yaml, but for arctanh's learning rate.",
        f"Results: the chosen settings are trained anew with the seeds {seeds} (weights, order, "
        "dropout; none of them a seed of the trials) and tested once. The best fixed method, and "
        "the better MM-TS of the answer, are those with the higher mean validation rsum of these "
        "trainings.",
        f"Intervals: methods are paired by seed and query. {RESAMPLES:,} resamples of the media "
        "items, each with all its queries; seeds are too few to resample, so their part comes from "
        "Student's t and their spread. They hold for the chosen numbers: that other trials might "
        "choose others is not in them.",
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
        f"{train['weight_decay']:g}; projections to {train['head']['dim']} dimensions. Towers: "
        f"params.yaml, datasets.{rows.dataset}.towers."
    )


def _sweep(studies: Sequence[Rows], study: Study) -> list[str]:
    if not any(SWEEP in rows.by_table for rows in studies):
        return []
    tail, sizes = study.tail, [_swept(rows) for rows in studies if SWEEP in rows.by_table]
    return [
        f"Long-tail sweep: items are drawn from the training split so that the sizes of "
        f"{tail.classes} classes (K-Means on the training captions) fall as a power of their rank; "
        "imbalance is the largest over the smallest. All splits of a dataset have about as many "
        f"items, and a training has about {tail.steps} steps with batches of {tail.batch_size}. "
        "The classes are the clusters of ICS and MM-TS there; at imbalance 1 they are of one size, "
        "or nearly, so shifts are all alike, or by chance. Tail queries are those of the classes "
        "that are tail at the largest imbalance, the same at every imbalance. The test split is "
        f"the whole one. {' '.join(sizes)}"
    ]


def _swept(rows: Rows) -> str:
    """How large the drawn splits and their tail are."""
    tested = rows.by_table[SWEEP][0].tested
    share = float((rows.results.parts(tested) == "tail").mean())
    return (
        f"{rows.dataset}: about {tested.records[0]['items']:,} items; {share:.0%} of the test "
        "queries are tail."
    )


def _cost(rows: Rows) -> str:
    records = [rows.results.records[key] for key in sorted(rows.results.index.keys())]
    facts = {
        what: ", ".join(sorted({str(record[what]) for record in records}))
        for what in ("device", "torch", "code")
    }
    return (
        f"{rows.dataset}: {plural(len(records), 'training')}, "
        f"{sum(record['cpu_seconds'] for record in records) / 3600:.1f} CPU hours, a thread each; "
        f"device {facts['device']}, torch {facts['torch']}, training code {facts['code']}."
    )


def _weakest(study: Study) -> list[str]:
    """How near to a fixed value the trials of TS and ICS come."""
    grids = [grid for searched in study.methods.values() for grid in searched.grids]
    tried = {key: [v for g in grids for v in g.get(key, ())] for key in ("alpha_share", "spread")}
    if not all(tried.values()):
        return []
    low = " and ".join(f"{short(key)} {min(values):g}" for key, values in tried.items())
    return [f"Weaker schedules and shifts: the smallest tried are {low}; 0 is a fixed value."]


def untested(studies: Sequence[Rows], study: Study) -> list[str]:
    """What the study does not tell."""
    known = {rows.dataset for rows in studies}
    return [
        *(
            f"{dataset}, with all towers trained instead of the heads alone: it needs a GPU, and "
            "was not run."
            for dataset in study.cuda_datasets
            if dataset not in known and not study.aside(dataset)
        ),
        *(
            f"{dataset}: its records are not complete, so it is left out."
            for dataset in study.datasets
            if dataset not in known and not study.aside(dataset)
        ),
        "Other recipes: learning rate, weight decay, batch size and length were not tuned, except "
        "the learning rate of arctanh. They are those that this project used with InfoNCE, which "
        "may favour the methods close to it.",
        f"Finer searches: {study.trials} trials of {plural(len(study.seeds.trials), 'seed')} are "
        "few for a method with three numbers, which may be further from its best than one with a "
        "single number. K, oscillations and the mapping were not tuned at all.",
        *_weakest(study),
        "Larger data and batches.",
        "A long tail with numbers tuned for it, or of real classes: those of the sweep are "
        "clusters of captions, and always the same ones are small.",
        "Clusters of another sentence encoder (the paper's Table 6): LSA stands for it.",
        "A correction for many comparisons: no interval has one; the counts below the main tables "
        "tell what chance alone would do.",
        *(
            ["Larger pictures: the photographs of flickr8k are seen at 160 pixels."]
            if "flickr8k" in known
            else []
        ),
    ]

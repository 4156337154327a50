"""The sentences below the paper's tables: what measured rows are, and when they compare."""

from __future__ import annotations

from collections.abc import Mapping

from mmts.reporting.cells import Dataset
from mmts.reporting.clusters import cluster_sizes
from mmts.reporting.paper import Experiment


def how_measured(dataset: Dataset, experiment: Experiment, tests: Mapping[str, str]) -> str:
    """What measured rows are, and whether they were trained and tested on what the paper has.

    `tests` has a test source of the dataset for each kind that it was tested on.
    """
    one, seeds = len(experiment.tables) == 1, len(dataset.seeds)
    train, (vision, _) = _trained(dataset), experiment.words
    text = (
        f"Measured{'' if one else ', in all tables of the paper'}: the first method of the grid "
        "with the objective, the schedule and the shifts of the row above"
        f"{f' ({experiment.loss})' if experiment.loss else ''}"
        f"{', then the other methods of the grid' if experiment.further else ''}; "
        f"{'one seed' if seeds == 1 else f'mean ± standard deviation over {seeds} seeds'}. "
        f"Trained on {train:,} {vision}{_coverage(dataset, experiment)}, tested on "
        f"{' and on '.join(_tested(dataset, experiment, tests))}."
    )
    if experiment.usual:
        [source] = tests.values()
        counts = (train, *_queries(dataset, source))
        return f"{text} {experiment.usual.get(counts, experiment.lacking)}"
    if train != experiment.listed:
        text += f" {experiment.lacking}"
    return text + "".join(_unlike(dataset, experiment, tests))


def further_notes(dataset: Dataset, experiment: Experiment) -> tuple[str, ...]:
    """What was drawn, read and re-ranked, and how large clusters are; then the paper's."""
    told = [*_drawn(dataset, experiment), *_streams(dataset, experiment)]
    told += _refined(dataset, experiment)
    return (*told, *_clusters(dataset, experiment), *experiment.notes)


def _drawn(dataset: Dataset, experiment: Experiment) -> list[str]:
    if not dataset.long_tail:
        return []
    return [
        f"The {experiment.words[0]} are a long tail drawn here with seed "
        f"{dataset.long_tail['seed']}, not those of the paper."
    ]


def _streams(dataset: Dataset, experiment: Experiment) -> list[str]:
    cell = dataset.of(dataset.methods[0])[0]
    missing = [name for name in experiment.streams if name not in cell.streams]
    missing += [] if cell.sees else ["vision"]
    if not missing:
        return []
    return [f"The models here read no {' and no '.join(missing)}, those of the paper do."]


def _refined(dataset: Dataset, experiment: Experiment) -> list[str]:
    if not experiment.candidates:
        return []
    rerank = dataset.of(dataset.methods[0])[0].rerank
    if rerank is None:
        return ["Nothing was re-ranked here, so that columns with refinement are empty."]
    unlike = (
        "" if rerank.candidates == experiment.candidates else f", in VAST {experiment.candidates}"
    )
    return [
        f"With refinement: re-ranked, here the best {rerank.candidates:,} of each query by "
        f"{rerank.label}{unlike}."
    ]


def _clusters(dataset: Dataset, experiment: Experiment) -> list[str]:
    sizes = [f"{size:,}" for size in cluster_sizes(dataset)]
    if not experiment.clusters or len(sizes) < len(experiment.clusters):
        return []
    paper = [f"{size:,}" for size in experiment.clusters]
    theirs, ours = (", ".join([*of[:5], "…", *of[-5:]]) for of in (paper, sizes))
    return [
        "Training captions of the largest and the smallest clusters: in the paper (Table 10) "
        f"{theirs}; here {ours}."
    ]


def _trained(dataset: Dataset) -> int:
    """How many training items there are in the shards; by the captions where that is not told."""
    captions = dataset.captions
    listed = captions.loc[captions["split"] == "train", "sample_id"].nunique()
    return dataset.packed.get("train", int(listed))


def _queries(dataset: Dataset, source: str) -> tuple[int, int]:
    """How many vision and text queries the source has."""
    queries = dataset.of(dataset.methods[0])[0].queries
    found = queries.loc[queries["source"] == source, "direction"].value_counts()
    return int(found.get("v2t", 0)), int(found.get("t2v", 0))


def _counted(experiment: Experiment, counts: tuple[int, int]) -> str:
    """Such as `1,000 images and 5,000 captions`."""
    return " and ".join(f"{n:,} {w}" for n, w in zip(counts, experiment.words, strict=True))


def _name(experiment: Experiment, kind: str) -> str:
    """` of Flickr30K`, or nothing where the experiment has one test only."""
    names = {group.kind: group.title for group in experiment.groups}
    return f" of {names[kind]}" if len(experiment.tests) > 1 else ""


def _tested(dataset: Dataset, experiment: Experiment, tests: Mapping[str, str]) -> list[str]:
    return [
        _counted(experiment, _queries(dataset, source)) + _name(experiment, kind)
        for kind, source in tests.items()
    ]


def _unlike(dataset: Dataset, experiment: Experiment, tests: Mapping[str, str]) -> list[str]:
    """A sentence for each official test that this is not."""
    found = []
    for kind, counts in experiment.tests.items():
        if kind not in tests:
            found.append(f" Nothing was tested on a source of kind {kind}.")
        elif _queries(dataset, tests[kind]) != counts:
            found.append(
                f" The official test{_name(experiment, kind)} has {_counted(experiment, counts)}: "
                "these numbers do not compare with the published ones."
            )
    return found


def _coverage(dataset: Dataset, experiment: Experiment) -> str:
    """How many of the listed training items are there, where the source has counted them."""
    found = [
        source.coverage["train"]
        for source in dataset.sources
        if source.kind == experiment.train and "train" in source.coverage
    ]
    if not found:
        return ""
    there, listed = (sum(of[key] for of in found) for key in ("there", "listed"))
    return f" ({there:,} of {listed:,} listed {experiment.words[0]} are there)"

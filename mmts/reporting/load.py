"""Reads the artifacts of a dataset and of the cells that the grid names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.files import artifact
from mmts.kinds.measure import MEASURES
from mmts.kinds.model import VISION
from mmts.kinds.modulator import MODULATORS
from mmts.kinds.rerank import RERANKS
from mmts.reporting import facts
from mmts.reporting.cells import RERANK, Cell, Clustering, Dataset, Lacking, Source
from mmts.reporting.facts import (
    REMEDY,
    Judges,
    Manifest,
    Metrics,
    Model,
    Run,
    Summary,
    read_facts,
)
from mmts.reporting.read import (
    read_class_sizes,
    read_clustered,
    read_curves,
    read_method_shifts,
    read_queries,
)


def load_dataset(data: Path, name: str, *, methods: Sequence[str], seeds: Sequence[int]) -> Dataset:
    """The dataset and the cells `methods` x `seeds`, read from the folder `data`.

    Raises InputError naming the first missing or damaged file, before anything is read; then the
    first that is not as a stage writes it, or not of the same captions or sources as another.
    """
    keys = [(method, seed) for method in methods for seed in seeds]
    _check_files(data, name, methods, keys)
    cells = {key: _cell(data, name, *key) for key in keys}
    captions = read_clustered(data, name)
    _check_sources(name, cells)
    path = data / "captions" / name / "summary.json"
    summary = read_facts(path, Summary)
    sources = tuple(
        Source(
            source, about["kind"], about["publishable"], about.get("credit") or "",
            about.get("coverage", {}), about.get("merged", 0),
            about.get("uncaptioned", {}), about.get("official", {}),
        )
        for source, about in summary["sources"].items()
    )  # fmt: skip
    used = {*captions["source"], *next(iter(cells.values())).metrics}
    if not used <= summary["sources"].keys():
        lost = min(used - summary["sources"].keys())
        raise InputError(f"{path} has no source {lost}, which captions or cells are of; {REMEDY}")
    clusterings = _clusterings(data / "cluster" / name)
    manifest = read_facts(data / "shards" / name / "manifest.json", Manifest)
    return Dataset(
        name=name,
        sources=sources,
        captions=captions,
        vectors=data / "embed" / name / "text.npy",
        shards=data / "shards" / name,
        methods=tuple(methods),
        seeds=tuple(seeds),
        shifts={
            m: read_method_shifts(data / "shift" / name / m / "shift.parquet") for m in methods
        },
        clusterings=clusterings,
        class_sizes=_class_sizes(data / "cluster" / name, clusterings),
        unused=_unused(summary, manifest),
        cells=cells,
        repeats=summary.get("repeats", ()),
        long_tail=summary.get("long_tail") or {},
        packed=manifest.get("samples", {}),
        empty={
            stream: {split: Lacking(of["items"], of["first"]) for split, of in splits.items()}
            for stream, splits in manifest.get("empty", {}).items()
        },
        plans={
            m: path.read_bytes()
            for m in methods
            if (path := data / "train" / name / m / "plan.json").exists()
        },
    )


def _unused(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, int]:
    """Counts by the first words of a reason: what follows may be of single files."""
    found: dict[str, int] = {}
    for reason, rows in summary.get("dropped", {}).items():
        kind = re.split(r" *[:(]", reason, maxsplit=1)[0]
        found[kind] = found.get(kind, 0) + int(rows)
    lost = int(manifest.get("clips", {}).get("lost", 0))
    return found | ({"lost in cutting": lost} if lost else {})


def _clusterings(folder: Path) -> dict[str, Clustering]:
    found = {}
    for file in sorted(folder.glob("*.json")):
        about = read_facts(file, facts.Clustering)
        fields = {field: about[field] for field in facts.Clustering.model_fields}
        found[file.stem] = Clustering(**fields)
    return found


def _class_sizes(
    folder: Path, clusterings: Mapping[str, Clustering]
) -> dict[str, NDArray[np.int64]]:
    """The training rows of each class, falling, by column: that with the fewest classes first."""
    found = {}
    for name, clustering in clusterings.items():
        if clustering.column and clustering.column not in found:
            found[clustering.column] = read_class_sizes(folder / f"{name}.parquet")
    return dict(sorted(found.items(), key=lambda item: len(item[1])))


def _check_files(
    data: Path, name: str, methods: Sequence[str], keys: Sequence[tuple[str, int]]
) -> None:
    files = [
        data / "captions" / name / "captions.parquet",
        data / "captions" / name / "summary.json",
        data / "embed" / name / "ids.parquet",
        data / "embed" / name / "text.npy",
        data / "embed" / name / "caption_text.npy",
        data / "cluster" / name / "default.parquet",
        data / "shards" / name / "manifest.json",
    ]
    files += [data / "shift" / name / method / "shift.parquet" for method in methods]
    for method, seed in keys:
        trained, evaluated = _folders(data, name, method, seed)
        files += [trained / f for f in ("run.json", "model.json", "curves.csv")]
        files += [
            evaluated / f
            for f in ("measure.json", "metrics.json", "queries.parquet", "retrievals.json")
        ]
    for file in files:
        artifact(file, "run `dvc repro`: the grid names it")


def _check_sources(name: str, cells: Mapping[tuple[str, int], Cell]) -> None:
    """All cells were evaluated on the same sources, by the same measure, with all its numbers."""
    first = next(iter(cells.values()))
    measure = first.measure
    for cell in cells.values():
        if list(cell.metrics) != list(first.metrics):
            raise InputError(
                f"{name}: {cell.method} seed {cell.seed} was evaluated on {list(cell.metrics)}, "
                f"{first.method} seed {first.seed} on {list(first.metrics)}; run dvc repro"
            )
        if (cell.measure, cell.rerank) != (measure, first.rerank):
            raise InputError(
                f"{name}: {cell.method} seed {cell.seed} was not measured by what {first.method} "
                f"seed {first.seed} was; {REMEDY}"
            )
        prefixes = ("",) if first.rerank is None else ("", RERANK)
        needed = {f"{prefix}{key}" for prefix in prefixes for key in measure.needed}
        for source, metrics in cell.metrics.items():
            missing = sorted(needed - metrics.keys())
            if missing:
                raise InputError(
                    f"{cell.retrievals.with_name('metrics.json')} lacks {missing[0]} of {source}; "
                    f"{REMEDY}"
                )


def _folders(data: Path, name: str, method: str, seed: int) -> tuple[Path, Path]:
    """What a cell's training and its evaluation wrote."""
    trained, evaluated = (data / s / name / method / str(seed) for s in ("train", "evaluate"))
    return trained, evaluated


def _cell(data: Path, name: str, method: str, seed: int) -> Cell:
    trained, evaluated = _folders(data, name, method, seed)
    run = read_facts(trained / "run.json", Run)
    model = read_facts(trained / "model.json", Model)
    metrics = read_facts(evaluated / "metrics.json", Metrics)
    judges = read_facts(evaluated / "measure.json", Judges)
    measure = MEASURES.validated(judges["measure"])
    rerank = RERANKS.optional(judges["rerank"])
    return Cell(
        method=method,
        seed=seed,
        run=run,
        curves=read_curves(
            trained / "curves.csv",
            measure,
            learned=MODULATORS.load(run["modulator"]).learned,
            terms=[run["objective"], *run["terms"]] if run.get("terms") else (),
        ),
        metrics=metrics,
        queries=read_queries(
            evaluated / "queries.parquet", measure, ("",) if rerank is None else ("", RERANK)
        ),
        retrievals=evaluated / "retrievals.json",
        vision=model["towers"]["vision"]["name"],
        measure=measure,
        rerank=rerank,
        streams={name: of["kind"] for name, of in model.get("streams", {}).items()},
        sees=VISION in model.get("model", {}).get("streams", [VISION]),
    )

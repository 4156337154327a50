"""A small tree of artifacts, as the stages before `report` write it, and stand-in shards."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmts.reporting.cells import Dataset
from mmts.reporting.load import load_dataset
from mmts.reporting.report import Report, dataset_report
from tests.reporting import graded

HOSTILE = "<script>alert('x')</script> & a <img src=http://evil.example/x.png> $a_b$"
METHODS = {  # objective, alpha, shift_min, shift_max, modulator
    "plain": ("info_nce", 0.0, 0.05, 0.05, "scheduled"),
    "mmts": ("info_nce", 0.04, 0.03, 0.08, "scheduled"),
    "margin": ("max_margin", 0.0, 0.2, 0.2, "scheduled"),
}
MANY = METHODS | {
    "sigmoid": ("siglip", 0.0, 0.1, 0.1, "learnable"),
    "cyclip": ("cyclip", 0.0, 0.05, 0.05, "learnable"),
    "margin_mmts": ("max_margin", 0.2, 0.1, 0.3, "scheduled"),
    "individual": ("sogclr", 0.0, 0.05, 0.05, "individual"),
    "free": ("arctanh", 0.0, 1.0, 1.0, "scheduled"),
}
SEEDS = (0, 1, 2)
SETTINGS = SimpleNamespace(
    bootstrap=200, tsne_points=60, tsne_perplexity=5.0, examples=3, seed=0
)  # fmt: skip
KMEANS = {"kind": "kmeans", "label": "K-Means", "column": "", "published": True, "noise": 0}
SIZES = (24, 15, 9, 6, 4, 2)  # training captions of each cluster
WORDS = ("red", "dog", "runs", "sea", "house", "night", "tree", "boat")
ITEMS, EACH = 20, 2  # test items, captions of an item


class FakeShards:
    """The interface of ShardReader over pictures drawn here."""

    video = False

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self.samples = samples

    def image_bytes(self, number: int) -> bytes:
        """A picture of one colour, with transparent pixels, as PNG."""
        image = Image.new("RGBA", (200, 150), (11 * number % 256, 90, 160, 200))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    def segment(self, number: int) -> graded.FakeSegment:
        """A picture is no clip."""
        raise AssertionError(f"sample {number} is a picture")


def write_tree(
    data: Path, name: str, *, publishable: bool = True, seeds: tuple[int, ...] = SEEDS,
    sources: tuple[str, ...] = ("main",), methods: dict[str, Any] = METHODS, clips: bool = False,
) -> FakeShards | graded.FakeClips:  # fmt: skip
    """All artifacts of one dataset under `data`; the shards come back as a stand-in.

    With `clips` it has graded relevancy, clusterings by column, and a source of kind ek100.
    """
    captions = _captions(name, sources)
    clusters = _clusters(captions)
    about = {
        source: {
            "kind": "ek100" if clips else "table",
            "publishable": publishable,
            "credit": f"{source} by <us>",
        }
        for source in sources
    }
    _json(data / "captions" / name / "summary.json", {"dataset": name, "sources": about})
    captions.to_parquet(data / "captions" / name / "captions.parquet")
    for folder in ("embed", "cluster"):
        (data / folder / name).mkdir(parents=True)
    vectors = np.random.default_rng(3).normal(size=(len(captions), 8)).astype(np.float32)
    np.save(data / "embed" / name / "text.npy", vectors)
    np.save(data / "embed" / name / "caption_text.npy", np.arange(len(captions)))
    captions[["caption_id", "sample_id"]].to_parquet(data / "embed" / name / "ids.parquet")
    if clips:
        graded.write_clusterings(data / "cluster" / name, clusters)
        clusters = pd.read_parquet(data / "cluster" / name / "default.parquet")
    else:
        clusters.to_parquet(data / "cluster" / name / "default.parquet")
        _json(data / "cluster" / name / "default.json", {**KMEANS, "k": len(SIZES)})
    _json(data / "shards" / name / "manifest.json", {})
    test = captions[captions["split"] == "test"].merge(clusters, on="caption_id")
    for number, (method, numbers) in enumerate(methods.items()):
        _shift(data / "shift" / name / method, *numbers[2:4])
        for seed in seeds:
            _train(data / "train" / name / method / str(seed), numbers, seed, clips)
            folder = data / "evaluate" / name / method / str(seed)
            rng = np.random.default_rng([number, seed])
            if clips:
                _evaluate_clips(folder, test, sources, rng, 0.4 + number / 50)
            else:
                _evaluate(folder, test, sources, rng, 9 - number)
    return (graded.FakeClips if clips else FakeShards)(
        [
            {"sample_id": item, "source": group["source"].iloc[0], "split": "test",
             "captions": group["caption"].tolist(), "caption_ids": group["caption_id"].tolist()}
            for item, group in test.groupby("sample_id", sort=False)
        ]
    )  # fmt: skip


def _captions(name: str, sources: tuple[str, ...]) -> pd.DataFrame:
    words = [name + word for word in WORDS]
    rows = []
    for number in range(sum(SIZES)):
        text = f"{words[number % 8]} {words[number % 5]} {number}"
        rows.append((sources[0], "train", f"tr{number}", f"tr{number}#0", text))
    for source in sources:
        for number in range(ITEMS):
            for k in range(EACH):
                item = f"{source}-te{number}"
                text = f"{words[number % 8]} {number} {k} {HOSTILE}"
                rows.append((source, "test", item, f"{item}#{k}", text))
    table = pd.DataFrame(rows, columns=["source", "split", "sample_id", "caption_id", "caption"])
    return table.assign(media="x.png", media_bytes=1, media_sha256="0")


def _clusters(captions: pd.DataFrame) -> pd.DataFrame:
    train = np.repeat(np.arange(len(SIZES)), SIZES)
    test = np.arange(len(captions) - len(train)) // EACH % len(SIZES)
    ids = np.concatenate([train, test])
    return pd.DataFrame(
        {
            "caption_id": captions["caption_id"],
            "cluster_id": ids.astype("int32"),
            "cluster_size": np.array(SIZES)[ids].astype("int64"),
        }
    )


def _shift(folder: Path, low: float, high: float) -> None:
    folder.mkdir(parents=True)
    sizes = np.array(SIZES)
    shift = low + (high - low) * (sizes - min(sizes)) / (max(sizes) - min(sizes))
    table = {"cluster_id": np.arange(len(sizes)), "cluster_size": sizes, "shift": shift}
    pd.DataFrame(table).to_parquet(folder / "shift.parquet")


def _train(folder: Path, numbers: tuple[Any, ...], seed: int, clips: bool) -> None:
    objective, alpha, tau, high, modulator = numbers[:5]
    shift = numbers[5] if len(numbers) > 5 else "default"
    run = {"objective": objective, "modulator": modulator, "alpha": alpha,
           "schedule": {"kind": "cosine"} if alpha else None,
           "shift_min": tau, "shift_max": high,
           "shift": {"kind": "linear"} if tau < high else None,
           "clustering": {"shift": shift, "relevancy": []},
           "epochs": 4, "total_steps": 40, "period": 8.0,
           "seed": seed}  # fmt: skip
    _json(folder / "run.json", run)
    _json(folder / "model.json", {"towers": {"vision": {"name": "video_vit"}}})
    steps = np.arange(0, 40, 2)
    falling = tau * (1 - steps / 80) + seed / 1000
    spread = 0.0 if modulator == "learnable" else 0.01
    rsum = np.where(steps % 10 == 0, 5 * steps + seed, np.nan)
    measured = {"val_rsum": rsum}
    if clips:
        measured = {"val_rsum": np.nan * rsum, "val_mAP": rsum / 400, "val_nDCG": rsum / 300}
    curves = {"step": steps, "epoch": steps // 10, "loss": 3 - steps / 20, **measured,
              "tau_min": falling - spread, "tau_mean": falling,
              "tau_max": falling + 2 * spread}  # fmt: skip
    pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)


def _evaluate(
    folder: Path, test: pd.DataFrame, sources: tuple[str, ...], rng: np.random.Generator, hard: int
) -> None:
    parts = np.array(["head", "medium", "medium", "tail", "tail", "tail"])
    vision = test.drop_duplicates("sample_id").assign(query_id=lambda t: t["sample_id"])
    both = [
        test.assign(direction="t2v", query_id=test["caption_id"]),
        vision.assign(direction="v2t"),
    ]
    queries = pd.concat(both, ignore_index=True)
    queries = queries.assign(
        part=parts[queries["cluster_id"]], rank=rng.integers(1, hard + 6, len(queries))
    )
    columns = [
        "source",
        "direction",
        "query_id",
        "sample_id",
        "cluster_id",
        "cluster_size",
        "part",
        "rank",
    ]
    folder.mkdir(parents=True)
    queries[columns].to_parquet(folder / "queries.parquet")
    metrics = {s: _metrics(queries[queries["source"] == s]) for s in sources}
    _json(folder / "metrics.json", metrics)
    _judged(folder, {"kind": "recall", "ks": [1, 5, 10]})
    _json(folder / "retrievals.json", [_retrieval(test, row) for row in queries.itertuples()])


def _judged(folder: Path, measure: dict[str, Any]) -> None:
    _json(folder / "measure.json", {"measure": measure, "rerank": None})


def _evaluate_clips(
    folder: Path, test: pd.DataFrame, sources: tuple[str, ...], rng: np.random.Generator,
    good: float,
) -> None:  # fmt: skip
    queries = graded.graded_queries(test, rng, good)
    folder.mkdir(parents=True)
    queries.to_parquet(folder / "queries.parquet")
    found = {s: graded.graded_metrics(queries[queries["source"] == s]) for s in sources}
    _json(folder / "metrics.json", found)
    _judged(folder, {"kind": "multi_instance"})
    retrievals = [graded.graded_retrieval(test, row) for row in queries.itertuples()]
    _json(folder / "retrievals.json", retrievals)


def _metrics(queries: pd.DataFrame) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in ("", "head", "medium", "tail"):
        some = queries[queries["part"] == part] if part else queries
        prefix = f"{part}/" if part else ""
        recalls = {
            f"{prefix}{d}/R@{k}": float((some.loc[some["direction"] == d, "rank"] <= k).mean())
            for d in ("t2v", "v2t")
            for k in (1, 5, 10)
        }
        rsum = 100 * sum(recalls.values())
        found |= recalls | {f"{prefix}rsum": rsum}
        found |= {f"{prefix}rsum/low": rsum - 10, f"{prefix}rsum/high": rsum + 20}
        for d in ("t2v", "v2t"):
            rank = some.loc[some["direction"] == d, "rank"].median()
            found[f"{prefix}{d}/median_rank"] = float(rank)
    return found


def _retrieval(test: pd.DataFrame, row: Any) -> dict[str, Any]:
    near = test[test["source"] == row.source].iloc[:5]
    top = [
        {"id": r.sample_id if row.direction == "t2v" else r.caption_id, "text": r.caption,
         "sample_id": r.sample_id, "score": 0.5, "match": r.sample_id == row.sample_id}
        for r in near.itertuples()
    ]  # fmt: skip
    query = row.caption if row.direction == "t2v" else row.sample_id
    return {"source": row.source, "direction": row.direction, "query_id": row.query_id,
            "sample_id": row.sample_id, "query": query, "top": top}  # fmt: skip


def _json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def loaded(
    data: Path, name: str, seeds: tuple[int, ...] = SEEDS, methods: dict[str, Any] = METHODS
) -> Dataset:
    """The dataset as `load_dataset` reads it."""
    return load_dataset(data, name, methods=tuple(methods), seeds=seeds)


@pytest.fixture(scope="session")
def tree() -> SimpleNamespace:
    """What tests need to make artifacts of their own."""
    return SimpleNamespace(
        write=write_tree, loaded=loaded, settings=SETTINGS, sizes=SIZES, items=ITEMS, each=EACH,
        words=WORDS, graded=graded,
    )  # fmt: skip


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The folder of two datasets and their shards: `open` may be published, `closed` may not."""
    folder = tmp_path_factory.mktemp("data")
    shards = {
        "open": write_tree(folder, "open"),
        "closed": write_tree(folder, "closed", publishable=False),
    }
    return SimpleNamespace(folder=folder, shards=shards)


@pytest.fixture(scope="session")
def dataset(data: SimpleNamespace) -> Dataset:
    """The publishable dataset."""
    return loaded(data.folder, "open")


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a dataset with more objectives, two of them with a learned temperature."""
    folder = tmp_path_factory.mktemp("many")
    shards = write_tree(folder, "open", methods=MANY)
    return dataset_report(loaded(folder, "open", methods=MANY), SETTINGS, shards)


@pytest.fixture(scope="session")
def ek100(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The report of clips with graded relevancy, and what it was made from."""
    folder = tmp_path_factory.mktemp("ek100")
    methods = graded.METHODS
    shards = write_tree(folder, "kitchen", publishable=False, methods=methods, clips=True)
    dataset = loaded(folder, "kitchen", methods=methods)
    report = dataset_report(dataset, SETTINGS, shards)
    return SimpleNamespace(folder=folder, shards=shards, dataset=dataset, report=report)


@pytest.fixture(scope="session")
def reports(data: SimpleNamespace) -> list[Report]:
    """The reports of both datasets."""
    return [
        dataset_report(loaded(data.folder, name), SETTINGS, shards)
        for name, shards in data.shards.items()
    ]

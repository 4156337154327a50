"""Artifacts of a dataset of clips with graded relevancy, as the stages before `report` write it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

METHODS = {  # objective, alpha, shift_min, shift_max, modulator, clustering of the shift
    "margin": ("max_margin", 0.0, 0.2, 0.2, "scheduled", "default"),
    "margin_verb": ("max_margin", 0.2, 0.17, 0.3, "scheduled", "verb"),
    "margin_mmts": ("max_margin", 0.2, 0.17, 0.3, "scheduled", "default"),
    "nce": ("info_nce", 0.0, 0.07, 0.07, "scheduled", "default"),
    "nce_wave": ("info_nce", 0.08, 0.07, 0.07, "scheduled", "default"),
    "nce_learned": ("info_nce", 0.0, 0.07, 0.07, "learnable", "default"),
}
GROUPS = ("tail_verb", "tail_noun")
COLUMNS = {"default": "noun", "noun": "noun", "verb": "verb", "verb_noun": "verb_noun"}
CLASSES = {"noun": 1, "verb": 2, "verb_noun": 0}  # clusters that are joined at the end
FRAMES = 9


class FakeSegment:
    """The interface of SegmentReader: frames of one colour that tells their number."""

    def __init__(self, number: int, frames: int = FRAMES) -> None:
        self.number, self.asked = number, []  # type: tuple[int, list[int]]
        self._frames = frames

    def __len__(self) -> int:
        return self._frames

    def images(self, indices: Sequence[int]) -> Iterator[Image.Image]:
        """Frames of 160 x 90, redder with the number."""
        for index in indices:
            self.asked.append(index)
            yield Image.new("RGB", (160, 90), (25 * index, 80, 17 * self.number % 256))


class FakeClips:
    """The interface of ShardReader over clips."""

    video = True

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self.samples = samples

    def image_bytes(self, number: int) -> bytes:
        """A clip is no picture."""
        raise AssertionError(f"sample {number} is a clip")

    def segment(self, number: int) -> FakeSegment:
        """The frames of a clip."""
        return FakeSegment(number)


def write_clusterings(folder: Path, clusters: pd.DataFrame) -> None:
    """A table and a JSON for each of COLUMNS, made by joining the smallest clusters."""
    train = clusters[clusters["caption_id"].str.startswith("tr")]
    kinds = clusters["cluster_id"].nunique()
    for name, column in COLUMNS.items():
        joined = clusters["cluster_id"].clip(upper=kinds - 1 - CLASSES[column])
        sizes = joined[train.index].value_counts()
        table = clusters.assign(cluster_id=joined.astype("int32"), cluster_size=joined.map(sizes))
        table.to_parquet(folder / f"{name}.parquet")
        facts = {"kind": "column", "label": "classes", "column": column, "published": True,
                 "k": len(sizes), "noise": 0, "labels": []}  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(facts))


def graded_queries(test: pd.DataFrame, rng: np.random.Generator, good: float) -> pd.DataFrame:
    """A row a query: two of three captions are sentences; AP and nDCG around `good`."""
    sentences = test[np.arange(len(test)) % 3 > 0]
    clips = test.drop_duplicates("sample_id")
    queries = pd.concat(
        [
            clips.assign(direction="v2t", query_id=clips["sample_id"]),
            sentences.assign(direction="t2v", query_id=sentences["caption_id"]),
        ],
        ignore_index=True,
    )
    parts = np.array(["head", "medium", "medium", "tail", "tail", "tail"])
    precision = rng.uniform(good - 0.2, good + 0.2, len(queries))
    return queries.assign(
        part=parts[queries["cluster_id"]], AP=precision, nDCG=0.5 + precision / 2
    )[["source", "direction", "query_id", "sample_id", "cluster_id", "cluster_size", "part", "AP",
       "nDCG"]]  # fmt: skip


def graded_metrics(queries: pd.DataFrame) -> dict[str, float]:
    """What `evaluate` writes for one source."""
    cluster = queries["cluster_id"]
    groups = {
        "": cluster >= 0,
        **{part: queries["part"] == part for part in ("head", "medium", "tail")},
        "tail_verb": cluster == 4,
        "tail_noun": cluster >= 4,
        "neither": cluster < 4,
    }
    found: dict[str, float] = {}
    for group, rows in groups.items():
        prefix = f"{group}/" if group else ""
        for metric, column in (("mAP", "AP"), ("nDCG", "nDCG")):
            of = {
                d: float(queries.loc[rows & (queries["direction"] == d), column].mean())
                for d in ("v2t", "t2v")
            }
            for name, value in {**of, "avg": (of["v2t"] + of["t2v"]) / 2}.items():
                key = f"{prefix}{metric}/{name}"
                found |= {key: value, f"{key}/low": value - 0.01, f"{key}/high": value + 0.02}
        for d in ("v2t", "t2v"):
            found[f"{prefix}queries/{d}"] = int((rows & (queries["direction"] == d)).sum())
    return found


def graded_retrieval(test: pd.DataFrame, row: Any) -> dict[str, Any]:
    """An entry of retrievals.json with relevancies 1, 0.5, 0.25, 0 and 1."""
    near = test[test["source"] == row.source].drop_duplicates("sample_id").iloc[:5]
    own = test.set_index("caption_id")["caption"]
    top = [
        {"id": r.sample_id if row.direction == "t2v" else r.caption_id, "sample_id": r.sample_id,
         "text": r.caption, "score": 0.5, "relevancy": relevancy, "match": relevancy == 1}
        for r, relevancy in zip(near.itertuples(), (1.0, 0.5, 0.25, 0.0, 1.0), strict=True)
    ]  # fmt: skip
    query = own[row.query_id] if row.direction == "t2v" else row.sample_id
    return {"source": row.source, "direction": row.direction, "query_id": row.query_id,
            "sample_id": row.sample_id, "query": query, "top": top}  # fmt: skip

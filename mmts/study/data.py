"""What the cells of one dataset are trained and tested on."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.captions_table import read_captions
from mmts.errors import InputError
from mmts.evaluation.queries import query_table
from mmts.files import output_file, read_parquet
from mmts.kinds.clustering import CLUSTERINGS, Clustering
from mmts.metrics.longtail import item_cluster
from mmts.search import Search
from mmts.settings.towers import Towers
from mmts.shards.reader import read_manifest
from mmts.shards.samples import column
from mmts.study.settings import Tail
from mmts.study.tail import drawn, tail_sizes
from mmts.training.inputs import Inputs
from mmts.training.pairs import Pairs

Ints = NDArray[np.int64]


class Training(NamedTuple):
    """What a cell is trained on.

    pairs: the training split, or what was drawn of it. clusters: a row a caption of it, with
    cluster_id and cluster_size. class_size: drawn items of each class; None of a whole split.
    """

    pairs: Pairs
    clusters: pd.DataFrame
    class_size: list[int] | None


class StudyData:
    """One dataset, opened once for many cells."""

    def __init__(self, data: Path, dataset: str, towers: Towers) -> None:
        """`data`: the folder of the stages' outputs; those of captions to pack must be there."""
        self.inputs = Inputs(data, dataset, towers)
        streams = read_manifest(self.inputs.shards).get("streams", {})
        if streams:
            raise InputError(
                f"datasets.{dataset}.streams has {', '.join(streams)}; a study is of pictures and "
                "captions alone: leave out streams"
            )
        self.tokenizer = self.inputs.tokenizer()
        self.captions = read_captions(data / "captions" / dataset)
        self._cache = data / "cache/study" / dataset
        self._whole = lru_cache(maxsize=8)(self._make_whole)
        self._drawn = lru_cache(maxsize=8)(self._make_drawn)

    @cached_property
    def held_out(self) -> Pairs:
        """The validation split; InputError where there is none to choose by."""
        if not read_manifest(self.inputs.shards)["samples"]["val"]:
            raise InputError(
                f"{self.inputs.dataset} has no validation split, by which a study chooses; give it "
                f"one under datasets.{self.inputs.dataset}.captions"
            )
        return self.inputs.pairs("val", self.tokenizer)

    @cached_property
    def test(self) -> Pairs:
        """The test split, of one source."""
        pairs = self.inputs.pairs("test", self.tokenizer)
        sources = sorted(set(column(pairs.shards.samples, "source") or ()))
        if pairs.classes_of is not None or len(sources) > 1:
            raise InputError(
                f"{self.inputs.dataset} is tested on {', '.join(sources)} or by mAP; a study is of "
                "recalls on one source"
            )
        return pairs

    def queries(self, tail: Tail) -> pd.DataFrame:
        """A row a test query: direction, item (its number), part, and class (see `Tail`)."""
        pairs, everything = self.test, np.arange(len(self.test.captions))
        items = np.arange(len(pairs))
        table = query_table("", Search(pairs, items, everything), pairs.shards.cluster_size)
        classes_of = self._clusters(_classes(tail))
        of_caption = classes_of.set_index("caption_id")["cluster_id"]
        classes = of_caption.loc[list(pairs.caption_ids)].to_numpy()
        of_item = [item_cluster(classes[a:b].tolist()) for a, b in _spans(pairs)]
        return pd.DataFrame(
            {
                "direction": table["direction"],
                "item": np.concatenate([pairs.owner, items]).astype(np.int32),
                "part": table["part"],
                "class": np.concatenate([classes, of_item]).astype(np.int32),
            }
        )

    def training(self, clustering: Clustering, imbalance: float | None, tail: Tail | None,
                 seed: int) -> Training:  # fmt: skip
        """What a cell is trained on; where there is an imbalance, `seed` draws the items."""
        if tail is None or imbalance is None:
            return self._whole(clustering)
        return self._drawn(imbalance, tail, seed)

    def _make_whole(self, clustering: Clustering) -> Training:
        clusters = self._clusters(clustering)
        return Training(self._pairs(clusters, None), clusters, None)

    def _make_drawn(self, imbalance: float, tail: Tail, seed: int) -> Training:
        """Classes are numbered from the largest, by media items, and are the clusters."""
        table = self._clusters(_classes(tail))
        whole = self._pairs(table, None)
        of_item = np.array([item_cluster(whole.cluster_id[a:b].tolist()) for a, b in _spans(whole)])
        available = np.bincount(of_item, minlength=tail.classes)
        order = np.argsort(-available, kind="stable")
        sizes = tail_sizes(available[order], imbalance, tail.largest_ratio)
        items = drawn(np.argsort(order)[of_item], sizes, seed)
        class_size = np.zeros(tail.classes, np.int64)
        class_size[order] = sizes
        pairs = self._pairs(table, items)
        counts = np.bincount(pairs.cluster_id, minlength=tail.classes)
        clusters = table.assign(cluster_size=counts[table["cluster_id"]])
        return Training(pairs, clusters, class_size.tolist())

    def _pairs(self, clusters: pd.DataFrame, items: Ints | None) -> Pairs:
        joined = clusters[["caption_id", "cluster_id"]]
        return self.inputs.pairs("train", self.tokenizer, joined, items)

    def _clusters(self, settings: Clustering) -> pd.DataFrame:
        """A clustering's table, made once."""
        embeddings = self.inputs.embeddings
        facts = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
        digest = hashlib.sha256(facts.encode())
        for name in self.captions.columns:
            digest.update("\n".join(self.captions[name].astype(str)).encode())
        for vectors in (embeddings.text, embeddings.vision):
            digest.update(b"" if vectors is None else np.ascontiguousarray(vectors).tobytes())
        path = self._cache / f"clusters-{digest.hexdigest()[:16]}.parquet"
        if not path.exists():
            table = settings.cluster(self.captions, embeddings).table
            with output_file(path) as work:
                table.to_parquet(work, index=False)
        return read_parquet(path, "remove it and run the study again")


def _classes(tail: Tail) -> Clustering:
    """Return the clustering whose clusters are the classes of a long tail."""
    return CLUSTERINGS.validated({"kind": "kmeans", "k": tail.classes})


def _spans(pairs: Pairs) -> list[tuple[int, int]]:
    """First caption of each item, and the one after its last."""
    return list(pairwise(pairs.first.tolist()))

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmts.evaluation import evaluate
from mmts.metrics.recall import retrieval_recall
from mmts.settings.training import Evaluate
from mmts.training.pairs import Pairs
from tests import reference

KS = (1, 5, 10)
SIZES = {0: 30, 1: 20, 2: 10, -1: 0}  # head, medium, tail, tail


class Samples:
    """Stands for a ShardReader: 18 items of source a, then 6 of b; every third has 3 captions."""

    def __init__(self) -> None:
        self.samples: list[dict[str, Any]] = []
        for n in range(24):
            count = 3 if n % 3 == 0 else 1
            clusters = [n % 4 - 1] * count
            if count == 3:
                clusters[0] = 2
            self.samples.append(
                {"sample_id": f"s{n}", "source": "a" if n < 18 else "b", "cluster_id": clusters,
                 "captions": [f"text {n} {i}" for i in range(count)],
                 "caption_ids": [f"s{n}#{i}" for i in range(count)]}
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.samples)


@pytest.fixture(scope="module")
def cell() -> tuple[np.ndarray, np.ndarray, Pairs]:
    pairs = Pairs(
        Samples(),
        vision_rows=None,
        image_size=16,
        encode_text=lambda c, _: torch.zeros(len(c), 1),  # type: ignore[arg-type]
    )
    rng = np.random.default_rng(0)
    vision = rng.standard_normal((24, 6))
    text = vision[pairs.owner] + 1.2 * rng.standard_normal((len(pairs.captions), 6))
    vision, text = (
        (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        for rows in (vision, text)
    )
    return vision, text, pairs


@pytest.fixture(scope="module")
def found(cell: tuple[np.ndarray, np.ndarray, Pairs]):  # type: ignore[no-untyped-def]
    return evaluate(*cell, SIZES, Evaluate(bootstrap=300, examples=3, seed=1))


def of_source(pairs: Pairs, source: str) -> tuple[list[int], list[int]]:
    items = [n for n, s in enumerate(pairs.shards.samples) if s["source"] == source]
    return items, [c for c, owner in enumerate(pairs.owner) if owner in items]


@pytest.mark.parametrize("source", ["a", "b"])
def test_each_source_is_searched_by_itself(cell: Any, found: Any, source: str) -> None:
    vision, text, pairs = cell
    items, captions = of_source(pairs, source)
    owner = [items.index(pairs.owner[c]) for c in captions]
    metrics = found.metrics[source]
    wanted = retrieval_recall(vision[items], text[captions], owner)
    assert {key: metrics[key] for key in wanted} == pytest.approx(wanted)
    assert 0 < metrics["t2v/R@1"] < 1
    assert metrics["rsum"] == pytest.approx(100 * sum(wanted.values()))
    assert f", rsum {100 * sum(wanted.values()):.1f}" in found.told(source)
    t2v, v2t = reference.ranks(vision[items].tolist(), text[captions].tolist(), owner)
    assert metrics["t2v/median_rank"] == np.median(t2v)
    assert metrics["v2t/median_rank"] == np.median(v2t)
    assert (metrics["t2v/queries"], metrics["v2t/queries"]) == (len(captions), len(items))
    rows = found.queries[found.queries["source"] == source]
    assert rows.loc[rows["direction"] == "t2v", "rank"].tolist() == t2v
    assert rows.loc[rows["direction"] == "v2t", "rank"].tolist() == v2t


def test_queries_have_their_cluster_and_part(cell: Any, found: Any) -> None:
    _, _, pairs = cell
    rows = found.queries
    assert list(rows.columns) == [
        "source", "direction", "query_id", "sample_id", "cluster_id", "cluster_size", "part",
        "rank",
    ]  # fmt: skip
    assert len(rows) == len(pairs.captions) + 24
    cluster_of = dict(zip(pairs.caption_ids, pairs.cluster_id.tolist(), strict=True))
    captions = rows[rows["direction"] == "t2v"]
    assert captions["query_id"].tolist() == pairs.caption_ids
    assert captions["cluster_id"].tolist() == [cluster_of[c] for c in captions["query_id"]]
    assert captions["sample_id"].tolist() == [c.split("#")[0] for c in captions["query_id"]]
    images = rows[rows["direction"] == "v2t"]
    assert images["query_id"].tolist() == images["sample_id"].tolist() == pairs.sample_ids
    # two of three captions of every third image have n % 4 - 1, the first has 2
    assert images["cluster_id"].tolist() == [n % 4 - 1 for n in range(24)]
    assert rows["cluster_size"].tolist() == [SIZES[c] for c in rows["cluster_id"]]
    part = {0: "head", 1: "medium", 2: "tail", -1: "tail"}
    assert rows["part"].tolist() == [part[c] for c in rows["cluster_id"]]


def test_a_cluster_that_training_never_saw_is_tail(cell: Any) -> None:
    sizes = {0: 30, 1: 20, 2: 10}
    rows = evaluate(*cell, sizes, Evaluate(bootstrap=100, examples=0)).queries
    unknown = rows[rows["cluster_id"] == -1]
    assert len(unknown) and set(unknown["part"]) == {"tail"} and set(unknown["cluster_size"]) == {0}


@pytest.mark.parametrize("part", ["head", "medium", "tail"])
def test_parts_are_means_over_their_queries(found: Any, part: str) -> None:
    metrics = found.metrics["a"]
    rows = found.queries[(found.queries["source"] == "a") & (found.queries["part"] == part)]
    total = 0.0
    for direction in ("t2v", "v2t"):
        rank = rows.loc[rows["direction"] == direction, "rank"]
        for k in KS:
            assert metrics[f"{part}/{direction}/R@{k}"] == pytest.approx((rank <= k).mean())
            total += (rank <= k).mean()
        assert metrics[f"{part}/{direction}/median_rank"] == rank.median()
        assert metrics[f"{part}/{direction}/queries"] == len(rank)
    assert metrics[f"{part}/rsum"] == pytest.approx(100 * total)


def test_parts_add_up(found: Any) -> None:
    metrics = found.metrics["a"]
    for direction in ("t2v", "v2t"):
        counts = [metrics[f"{p}/{direction}/queries"] for p in ("head", "medium", "tail")]
        hits = [
            metrics[f"{p}/{direction}/R@5"] * n
            for p, n in zip(("head", "medium", "tail"), counts, strict=True)
        ]
        assert sum(counts) == metrics[f"{direction}/queries"]
        assert sum(hits) == pytest.approx(metrics[f"{direction}/R@5"] * sum(counts))


def test_a_part_without_queries_is_left_out(cell: Any) -> None:
    metrics = evaluate(*cell, {7: 100, 0: 1, 1: 1, 2: 1}, Evaluate(bootstrap=100)).metrics["a"]
    assert not any(key.startswith(("head/", "medium/")) for key in metrics)
    assert metrics["tail/rsum"] == pytest.approx(metrics["rsum"])


def test_intervals_are_the_resampled_loop(cell: Any, found: Any) -> None:
    _, _, pairs = cell
    items, _ = of_source(pairs, "a")
    rng = np.random.default_rng(1)
    weights = rng.multinomial(len(items), [1 / len(items)] * len(items), size=300)
    rows = found.queries[found.queries["source"] == "a"]
    sums = np.zeros(300)
    for direction in ("t2v", "v2t"):
        mine = rows[rows["direction"] == direction]
        item = [int(s[1:]) for s in mine["sample_id"]]
        for k in KS:
            hits = (mine["rank"] <= k).tolist()
            shares = [reference.resampled_share(w.tolist(), item, hits) for w in weights]
            sums += np.array(shares)
            low, high = np.quantile(shares, [0.025, 0.975])
            metrics, key = found.metrics["a"], f"{direction}/R@{k}"
            assert (metrics[f"{key}/low"], metrics[f"{key}/high"]) == pytest.approx((low, high))
            assert metrics[f"{key}/low"] <= metrics[key] <= metrics[f"{key}/high"]
    bounds = found.metrics["a"]["rsum/low"], found.metrics["a"]["rsum/high"]
    assert bounds == pytest.approx(tuple(100 * np.quantile(sums, [0.025, 0.975])))


def test_examples(cell: Any, found: Any) -> None:
    vision, text, pairs = cell
    shown = found.retrievals
    counts = pd.Series([(e["source"], e["direction"]) for e in shown]).value_counts().to_dict()
    assert counts == {(s, d): 3 for s in "ab" for d in ("t2v", "v2t")}
    for example in shown:
        items, captions = of_source(pairs, example["source"])
        row = pairs.sample_ids.index(example["sample_id"])
        if example["direction"] == "t2v":
            query = pairs.caption_ids.index(example["query_id"])
            assert example["query"] == pairs.captions[query] and pairs.owner[query] == row
            scores = {pairs.sample_ids[i]: float(vision[i] @ text[query]) for i in items}
        else:
            assert example["query"] == example["query_id"] == example["sample_id"]
            scores = {pairs.caption_ids[c]: float(vision[row] @ text[c]) for c in captions}
        best = sorted(scores, key=lambda name: -scores[name])[:5]
        assert [answer["id"] for answer in example["top"]] == best
        for answer in example["top"]:
            assert answer["score"] == pytest.approx(scores[answer["id"]], abs=1e-4)
            assert answer["match"] == (answer["sample_id"] == example["sample_id"])
            assert answer["id"].split("#")[0] == answer["sample_id"]
            assert ("text" in answer) == (example["direction"] == "v2t")


def test_the_same_queries_for_every_model(cell: Any, found: Any) -> None:
    vision, text, pairs = cell
    other = evaluate(
        vision[::-1].copy(), text, pairs, SIZES, Evaluate(bootstrap=100, examples=3, seed=1)
    )
    assert [e["query_id"] for e in other.retrievals] == [e["query_id"] for e in found.retrievals]
    assert other.metrics["a"]["t2v/R@1"] != found.metrics["a"]["t2v/R@1"]

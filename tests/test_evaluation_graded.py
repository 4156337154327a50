"""Cells whose captions have graded relevancy: multi-instance mAP and nDCG in groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmts.evaluation import Evaluation, evaluate
from mmts.kinds.measure import default_measure
from mmts.settings.training import Evaluate
from mmts.training.pairs import Pairs
from tests.metrics import mir_reference

SIZES = {0: 30, 1: 20, 2: 10, -1: 0}  # head, medium, tail, tail
PART = {0: "head", 1: "medium", 2: "tail", -1: "tail"}
SETTINGS = Evaluate(bootstrap=200, examples=3, seed=1)
CLASSES = [(0, [1]), (0, [2]), (5, [1]), (5, [1, 2]), (0, [1]), (3, [7, 2])]
GROUPS = {0: [], 5: ["tail_verb"], 3: ["tail_noun"]}  # by verb
GROUP_NAMES = ("head", "medium", "tail", "tail_noun", "tail_verb", "neither")


class Samples:
    """Stands for a ShardReader: 18 clips of source a, then 12 of b.

    In each source the first six captions are sentences, as the last one is.
    """

    def __init__(self) -> None:
        self.samples: list[dict[str, Any]] = []
        for n in range(30):
            place, size = (n, 18) if n < 18 else (n - 18, 12)
            verb, nouns = CLASSES[n % 6]
            self.samples.append(
                {"sample_id": f"s{n}", "source": "a" if n < 18 else "b", "captions": [f"text {n}"],
                 "caption_ids": [f"c{n}"], "cluster_id": [(n + place // 6) % 4 - 1],
                 "verb_class": [verb], "noun_classes": [nouns],
                 "sentence": [place < 6 or place == size - 1], "groups": [GROUPS[verb]]}
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.samples)


def pairs_of(samples: Samples) -> Pairs:
    return Pairs(
        samples,  # type: ignore[arg-type]
        vision_rows=None,
        image_size=16,
        encode_text=lambda c, _: torch.zeros(len(c), 1),
    )


@pytest.fixture(scope="module")
def cell() -> tuple[np.ndarray, np.ndarray, Pairs]:
    rng = np.random.default_rng(0)
    vision, text = rng.standard_normal((2, 30, 6))
    text += np.eye(6)[np.arange(30) % 6] * 2
    vision += np.eye(6)[np.arange(30) % 6] * 2
    return (*(_unit(rows) for rows in (vision, text)), pairs_of(Samples()))


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def found(cell: Any) -> Evaluation:
    return evaluate(*cell, SIZES, SETTINGS)


def slow(cell: Any, source: str) -> list[dict[str, Any]]:
    """A row a query, t2v first, by the plain loops of tests/metrics/mir_reference.py."""
    vision, text, pairs = cell
    samples = pairs.shards.samples
    clips = [n for n, sample in enumerate(samples) if sample["source"] == source]
    sentences = [n for n in clips if samples[n]["sentence"][0]]
    classes = [(s["verb_class"][0], s["noun_classes"][0]) for s in samples]
    scores = [[float(vision[v] @ text[t]) for t in sentences] for v in clips]
    gains = mir_reference.relevancy([classes[v] for v in clips], [classes[t] for t in sentences])
    rows = []
    for direction, queries, s, g in (
        ("t2v", sentences, mir_reference.transposed(scores), mir_reference.transposed(gains)),
        ("v2t", clips, scores, gains),
    ):
        for place, n in enumerate(queries):
            cluster = samples[n]["cluster_id"][0]
            rows.append({
                "source": source, "direction": direction,
                "query_id": f"{'c' if direction == 't2v' else 's'}{n}", "sample_id": f"s{n}",
                "cluster_id": cluster, "cluster_size": SIZES[cluster], "part": PART[cluster],
                "AP": mir_reference.average_precision(s[place], g[place]),
                "nDCG": mir_reference.ndcg(s[place], g[place]),
                "groups": {PART[cluster], *(samples[n]["groups"][0] or ["neither"])},
            })  # fmt: skip
    return rows


def test_rows_are_those_of_the_plain_loops(cell: Any, found: Evaluation) -> None:
    wanted = [row for source in "ab" for row in slow(cell, source)]
    columns = [key for key in wanted[0] if key != "groups"]
    assert list(found.queries.columns) == columns
    assert len(found.queries) == (18 + 7) + (12 + 7)
    for column in columns[:-2]:
        assert found.queries[column].tolist() == [row[column] for row in wanted]
    for column in ("AP", "nDCG"):
        assert found.queries[column].tolist() == pytest.approx([row[column] for row in wanted])
        assert 0.2 < found.queries[column].mean() < 0.99


@pytest.mark.parametrize("source", ["a", "b"])
def test_metrics_are_means_of_all_queries_and_of_groups(
    cell: Any, found: Evaluation, source: str
) -> None:
    rows, metrics = slow(cell, source), found.metrics[source]
    for group in ("", *GROUP_NAMES):
        prefix = f"{group}/" if group else ""
        mine = [row for row in rows if not group or group in row["groups"]]
        of = {d: [row for row in mine if row["direction"] == d] for d in ("v2t", "t2v")}
        assert {d: metrics[f"{prefix}queries/{d}"] for d in of} == {d: len(of[d]) for d in of}
        for metric, column in (("mAP", "AP"), ("nDCG", "nDCG")):
            mean = {d: sum(row[column] for row in of[d]) / len(of[d]) for d in of}
            mean["avg"] = (mean["v2t"] + mean["t2v"]) / 2
            for direction, value in mean.items():
                key = f"{prefix}{metric}/{direction}"
                assert metrics[key] == pytest.approx(value)
                assert metrics[f"{key}/low"] <= metrics[key] <= metrics[f"{key}/high"] <= 1


def test_the_keys(found: Evaluation) -> None:
    own = {f"queries/{d}" for d in ("v2t", "t2v")} | {
        f"{metric}/{d}{end}"
        for metric in ("mAP", "nDCG")
        for d in ("v2t", "t2v", "avg")
        for end in ("", "/low", "/high")
    }
    wanted = own | {f"{group}/{key}" for group in GROUP_NAMES for key in own}
    assert {source: set(of) for source, of in found.metrics.items()} == {"a": wanted, "b": wanted}
    a = {"mAP/avg": 0.5391, "mAP/v2t": 0.588, "mAP/t2v": 0.4899, "nDCG/avg": 0.67349}
    assert default_measure(graded=True).summary(a) == "mAP 53.9 (v2t 58.8, t2v 49.0), nDCG 67.3"


def test_captions_that_are_no_sentences_do_not_matter(cell: Any, found: Evaluation) -> None:
    vision, text, pairs = cell
    other = np.where(pairs.sentence[:, None], text, -text)
    again = evaluate(vision, other, pairs, SIZES, SETTINGS)
    assert again.metrics == found.metrics and again.retrievals == found.retrievals
    everything = Samples()
    for sample in everything.samples:
        del sample["sentence"], sample["groups"]
    all_of_them = evaluate(vision, text, pairs_of(everything), SIZES, SETTINGS).metrics["a"]
    assert all_of_them["queries/t2v"] == all_of_them["queries/v2t"] == 18
    assert {key.split("/")[0] for key in all_of_them} == {
        "queries", "mAP", "nDCG", "head", "medium", "tail",
    }  # fmt: skip


def test_a_part_without_queries_is_left_out(cell: Any) -> None:
    metrics = evaluate(*cell, {7: 100, 0: 1, 1: 1, 2: 1}, SETTINGS).metrics["a"]
    assert not any(key.startswith(("head/", "medium/")) for key in metrics)
    assert metrics["tail/mAP/avg"] == metrics["mAP/avg"]


def test_examples(cell: Any, found: Evaluation) -> None:
    vision, text, pairs = cell
    shown = found.retrievals
    assert [(e["source"], e["direction"]) for e in shown] == [
        (source, direction) for source in "ab" for direction in ("t2v", "v2t") for _ in range(3)
    ]
    classes = [(s["verb_class"][0], s["noun_classes"][0]) for s in pairs.shards.samples]
    for example in shown:
        n = int(example["sample_id"][1:])
        source = [m for m, s in enumerate(pairs.shards.samples) if s["source"] == example["source"]]
        if example["direction"] == "t2v":
            assert pairs.sentence[n] and example["query_id"] == f"c{n}"
            assert example["query"] == f"text {n}"
            scores = {f"s{m}": float(vision[m] @ text[n]) for m in source}
        else:
            assert example["query"] == example["query_id"] == f"s{n}"
            scores = {f"c{m}": float(vision[n] @ text[m]) for m in source if pairs.sentence[m]}
        best = sorted(scores, key=lambda name: -scores[name])[:5]
        assert [answer["id"] for answer in example["top"]] == best
        for answer in example["top"]:
            m = int(answer["id"][1:])
            ((gain,),) = mir_reference.relevancy([classes[n]], [classes[m]])
            assert answer["relevancy"] == round(gain, 4)
            assert answer["match"] is (gain == 1)
            assert answer["score"] == pytest.approx(scores[answer["id"]], abs=1e-4)
            assert answer["sample_id"] == f"s{m}"
            assert answer.get("text") == (f"text {m}" if example["direction"] == "v2t" else None)
    assert any(a["match"] and a["sample_id"] != e["sample_id"] for e in shown for a in e["top"])


def test_of_equal_scores_the_least_relevant_is_shown_first(cell: Any) -> None:
    vision, text, pairs = (np.ones_like(cell[0]), np.ones_like(cell[1]), cell[2])
    classes = [(s["verb_class"][0], s["noun_classes"][0]) for s in pairs.shards.samples]
    for example in evaluate(vision, text, pairs, SIZES, SETTINGS).retrievals:
        n, sentences = int(example["sample_id"][1:]), example["direction"] == "v2t"
        others = [
            classes[m]
            for m, sample in enumerate(pairs.shards.samples)
            if sample["source"] == example["source"] and (pairs.sentence[m] or not sentences)
        ]
        (gains,) = mir_reference.relevancy([classes[n]], others)
        shown = [answer["relevancy"] for answer in example["top"]]
        assert shown == [round(gain, 4) for gain in sorted(gains)[:5]]


def test_lost_sentences_are_stood_in_for_in_their_source(cell: Any) -> None:
    vision, text, _ = cell
    silent = Samples()
    for sample in silent.samples[18:]:
        sample["sentence"] = [False]
    classes = {(s["verb_class"][0], frozenset(s["noun_classes"][0])) for s in silent.samples[18:]}
    with pytest.warns(UserWarning, match=f"{len(classes)} sentences are lost"):
        found = evaluate(vision, text, pairs_of(silent), SIZES, SETTINGS)
    assert found.metrics["b"]["queries/t2v"] == len(classes) < 12
    assert found.metrics["b"]["queries/v2t"] == 12

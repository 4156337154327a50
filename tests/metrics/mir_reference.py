"""The slow, obvious versions of relevancy, mAP and nDCG, and the usual way with whole matrices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

Matrix = Sequence[Sequence[float]]
Classes = Sequence[tuple[int, Iterable[int]]]


def relevancy(videos: Classes, texts: Classes) -> list[list[float]]:
    """Mean of the IoU of the verbs and that of the nouns, for every pair of rows."""
    video_sets = [({verb}, set(nouns)) for verb, nouns in videos]
    text_sets = [({verb}, set(nouns)) for verb, nouns in texts]
    return [
        [(_iou(v_verb, t_verb) + _iou(v_nouns, t_nouns)) / 2 for t_verb, t_nouns in text_sets]
        for v_verb, v_nouns in video_sets
    ]


def _iou(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)


def ranked(scores: Sequence[float], gains: Sequence[float]) -> list[float]:
    """The gains by falling score, those of equal scores rising."""
    return [g for _, g in sorted(zip(scores, gains, strict=True), key=lambda x: (-x[0], x[1]))]


def average_precision(scores: Sequence[float], gains: Sequence[float]) -> float:
    found, total = [], 0.0
    for rank, gain in enumerate(ranked(scores, gains), start=1):
        total += gain
        if gain == 1:
            found.append(total / rank)
    return sum(found) / len(found)


def ndcg(scores: Sequence[float], gains: Sequence[float]) -> float:
    cut = sum(gain > 0 for gain in gains)
    return _dcg(ranked(scores, gains), cut) / _dcg(sorted(gains, reverse=True), cut)


def _dcg(gains: Sequence[float], cut: int) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:cut], start=1))


def transposed(matrix: Matrix) -> list[list[float]]:
    return [list(column) for column in zip(*matrix, strict=True)]


def usual_map(similarity: np.ndarray, relevancy: np.ndarray) -> dict[str, float]:
    """mAP as it is usually written: float64, whole matrices; equal scores in any order."""
    return _both_ways(_usual_map, similarity, relevancy)


def usual_ndcg(similarity: np.ndarray, relevancy: np.ndarray) -> dict[str, float]:
    """nDCG as it is usually written: float64, whole matrices; equal scores in any order."""
    return _both_ways(_usual_ndcg, similarity, relevancy)


def _both_ways(metric, similarity, relevancy) -> dict[str, float]:  # type: ignore[no-untyped-def]
    similarity, relevancy = similarity.astype(np.float64), relevancy.astype(np.float64)
    v2t, t2v = metric(similarity, relevancy), metric(similarity.T, relevancy.T)
    return {"v2t": v2t, "t2v": t2v, "avg": (v2t + t2v) / 2}


def _usual_map(similarity: np.ndarray, relevancy: np.ndarray) -> float:
    gains = np.take_along_axis(relevancy, np.argsort(-similarity, axis=1), axis=1)
    ones = gains == 1
    precision = np.cumsum(gains, axis=1) / np.arange(1, gains.shape[1] + 1)
    return float(((precision * ones).sum(axis=1) / ones.sum(axis=1)).mean())


def _usual_ndcg(similarity: np.ndarray, relevancy: np.ndarray) -> float:
    cut = np.sort(relevancy, axis=1)[:, ::-1] > 0
    found = _usual_dcg(similarity, relevancy, cut) / _usual_dcg(relevancy, relevancy, cut)
    return float(found.mean())


def _usual_dcg(by: np.ndarray, relevancy: np.ndarray, cut: np.ndarray) -> np.ndarray:
    gains = np.take_along_axis(relevancy, np.argsort(-by, axis=1), axis=1)
    gained: np.ndarray = (gains * cut / np.log2(np.arange(2, gains.shape[1] + 2))).sum(axis=1)
    return gained

"""The clusters of the training captions: sizes, parts, frequent words, example captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import pandas as pd

from mmts.metrics.longtail import parts_of_clusters
from mmts.reporting.cells import Dataset
from mmts.reporting.words import shortened

_SAMPLE = 20_000  # captions that word frequencies are estimated on
LONGEST = 40  # letters
_WORD = re.compile(r"[^\W\d_]{2,}")
_FUNCTION_WORDS = frozenset(re.findall(r"\w+", """
about after all also an and another are as at be been being between both but by can each for from
has have he her here him his if in inside into is it its just near next no not of off on onto or
other our out outside over per she so some someone something than that the their them then there
these they this those through to under up very was we were what when where which while who will
with you your
"""))  # fmt: skip


@dataclass(frozen=True)
class Cluster:
    """One cluster: its rank by size (1 = largest), training captions, words and examples."""

    rank: int
    size: int
    words: str
    captions: tuple[str, ...]


def training_captions(dataset: Dataset) -> pd.DataFrame:
    """The training rows of `dataset.captions`."""
    return dataset.captions[dataset.captions["split"] == "train"]


def cluster_sizes(dataset: Dataset) -> pd.Series:
    """Training captions by cluster_id, the largest cluster first."""
    sizes = training_captions(dataset)["cluster_id"].value_counts().sort_index()
    return sizes.sort_values(ascending=False, kind="stable")


def parts_by_rank(sizes: pd.Series) -> list[str]:
    """head, medium or tail of each cluster of `cluster_sizes`, in its order."""
    parts = parts_of_clusters({int(str(cluster)): int(size) for cluster, size in sizes.items()})
    return [parts[int(cluster)] for cluster in sizes.index]


class WordCounter:
    """Words that are frequent in some captions and rarer in the others."""

    def __init__(self, captions: Sequence[str], seed: int) -> None:
        self._seed = seed
        sample = self._sampled(captions)
        self._total = len(sample)
        self._everywhere = Counter(word for caption in sample for word in words_of(caption))

    def frequent(self, captions: Sequence[str], count: int = 4) -> list[str]:
        """The `count` words that best tell `captions` from all: highest p log(p / q) of shares."""
        sample = self._sampled(captions)
        here = Counter(word for caption in sample for word in words_of(caption))
        scores = {}
        for word, times in here.items():
            share, elsewhere = times / len(sample), (self._everywhere[word] + 1) / self._total
            scores[word] = share * log(share / elsewhere)
        return sorted(scores, key=lambda word: (-scores[word], word))[:count]

    def _sampled(self, captions: Sequence[str]) -> list[str]:
        if len(captions) <= _SAMPLE:
            return list(captions)
        rows = np.random.default_rng(self._seed).choice(len(captions), _SAMPLE, replace=False)
        return [captions[row] for row in rows.tolist()]


def words_of(caption: str) -> set[str]:
    """The distinct lower-case words of a caption, without English function words.

    What has more letters than LONGEST is no word: a label of it would push a figure off its page.
    """
    words = {word for word in _WORD.findall(caption.lower()) if len(word) <= LONGEST}
    return words - _FUNCTION_WORDS


def described_clusters(
    dataset: Dataset, *, seed: int, count: int = 5, examples: int = 4
) -> tuple[list[Cluster], list[Cluster]]:
    """The `count` largest and the `count` smallest clusters (Tables 10 to 12)."""
    train = training_captions(dataset)
    counter = WordCounter(train["caption"].tolist(), seed)
    sizes = cluster_sizes(dataset)
    ranks = list(range(len(sizes)))
    largest = ranks[:count]
    smallest = [rank for rank in ranks[-count:] if rank not in largest]

    def described(rank: int) -> Cluster:
        rows = train.loc[train["cluster_id"] == sizes.index[rank], "caption"]
        texts = list(dict.fromkeys(rows))
        drawn = np.random.default_rng([seed, rank]).permutation(len(texts))[:examples]
        words = ", ".join(counter.frequent(rows.tolist()))
        captions = tuple(shortened(texts[i]) for i in drawn.tolist())
        return Cluster(rank + 1, int(sizes.iloc[rank]), words, captions)

    return [described(rank) for rank in largest], [described(rank) for rank in smallest]

"""Parts, frequent words and example captions of clusters."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

from mmts.reporting.cells import Dataset
from mmts.reporting.clusters import (
    WordCounter,
    cluster_sizes,
    described_clusters,
    parts_by_rank,
    words_of,
)


def test_sizes_count_training_captions_largest_first(
    dataset: Dataset, tree: SimpleNamespace
) -> None:
    assert tuple(cluster_sizes(dataset)) == tree.sizes


def test_parts_by_rank_are_those_of_the_evaluation(dataset: Dataset) -> None:
    sizes = cluster_sizes(dataset)  # 24, 15, 9, 6, 4, 2 of 60
    parts = ["head", "medium", "medium", "tail", "tail", "tail"]
    assert parts_by_rank(sizes) == parts
    queries = dataset.of("mmts")[0].queries
    of_cluster = dict(zip(queries["cluster_id"], queries["part"], strict=True))
    assert [of_cluster[cluster] for cluster in sizes.index] == parts


def test_equal_sizes_are_ordered_by_cluster_id(dataset: Dataset) -> None:
    train = dataset.captions[dataset.captions["split"] == "train"]
    rows = train.iloc[:12].assign(cluster_id=[7, 3, 5, 1, 3, 7, 5, 1, 9, 9, 9, 2])
    sizes = cluster_sizes(dataclasses.replace(dataset, captions=rows))
    assert list(sizes.index) == [9, 1, 3, 5, 7, 2]


def test_frequent_words_tell_a_cluster_from_the_others() -> None:
    here = ["photo: a dog runs on grass", "photo: the dog sleeps", "photo: dog and grass"]
    others = ["photo: man on grass", "photo: man sleeps", "photo: sea", "photo: man by the sea"]
    counter = WordCounter(here + others, seed=0)
    assert counter.frequent(here, 2) == ["dog", "grass"]
    assert counter.frequent(others, 2) == ["man", "sea"]


def test_function_words_digits_and_letters_are_no_words() -> None:
    assert words_of("The DOG is with a 2 x cat, naïve 犬犬") == {"dog", "cat", "naïve", "犬犬"}


def test_the_largest_and_smallest_clusters_are_described(
    dataset: Dataset, tree: SimpleNamespace
) -> None:
    largest, smallest = described_clusters(dataset, seed=0, count=2, examples=3)
    assert [(c.rank, c.size) for c in largest] == [(1, 24), (2, 15)]
    assert [(c.rank, c.size) for c in smallest] == [(5, 4), (6, 2)]
    train = dataset.captions[dataset.captions["split"] == "train"]
    for cluster in (*largest, *smallest):
        members = train.loc[train["cluster_size"] == cluster.size, "caption"]
        assert len(set(cluster.captions)) == min(3, cluster.size)
        assert set(cluster.captions) <= set(members)
    assert described_clusters(dataset, seed=0, count=2, examples=3)[0] == largest
    assert described_clusters(dataset, seed=1, count=2, examples=3)[0] != largest


def test_no_cluster_is_described_twice(dataset: Dataset) -> None:
    largest, smallest = described_clusters(dataset, seed=0, count=5)
    assert [c.rank for c in largest + smallest] == [1, 2, 3, 4, 5, 6]

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmts import kmeans as module
from mmts.cluster import UNKNOWN, Clusters, check_found, lsa, nearest, numbered
from mmts.embeddings import Embeddings, distinct
from mmts.errors import InputError
from mmts.kinds.clustering.column import Kind as ColumnClustering
from mmts.kinds.clustering.kmeans import Kind as KMeansClustering


def cluster(settings: Any, captions: pd.DataFrame, embeddings: Embeddings) -> Clusters:
    found: Clusters = settings.cluster(captions, embeddings)
    return found


CENTRES = np.array([[10.0, 0], [0, 10], [-10, 0]])


def made(per_split: dict[str, list[int]], seed: int = 0) -> tuple[pd.DataFrame, Embeddings]:
    """A caption near each listed centre; every other caption is a repeat of the one before."""
    rng = np.random.default_rng(seed)
    rows, vectors = [], {}
    for split, centres in per_split.items():
        for n, centre in enumerate(centres):
            text = f"{split} {centre} {n - n % 2 if n and centres[n - 1] == centre else n}"
            vectors.setdefault(text, CENTRES[centre] + 0.1 * rng.standard_normal(2))
            rows.append(
                {"split": split, "caption": text, "centre": centre, "class_noun": f"n{centre}"}
            )
    captions = pd.DataFrame(rows)
    captions["caption_id"] = [f"c{n}" for n in range(len(captions))]
    captions["sample_id"] = [f"s{n}" for n in range(len(captions))]
    texts, of = distinct(captions["caption"])
    text = np.array([vectors[t] for t in texts], dtype=np.float32)
    return captions, Embeddings(text, of, None, None)


def kmeans(k: int, **more: Any) -> KMeansClustering:
    return KMeansClustering(kind="kmeans", k=k, **more)


SPLITS = {"train": [0] * 6 + [1] * 13 + [2] * 9, "val": [2, 0], "test": [1, 1, 0]}


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_found_and_numbered_from_the_largest(seed: int) -> None:
    captions, embeddings = made(SPLITS)
    table, centroids, facts = cluster(kmeans(3, seed=seed, starts=3), captions, embeddings)
    number = captions["centre"].map({1: 0, 2: 1, 0: 2})
    assert table["cluster_id"].tolist() == number.tolist()
    assert table["cluster_size"].tolist() == number.map({0: 13, 1: 9, 2: 6}).tolist()
    assert table["caption_id"].tolist() == captions["caption_id"].tolist()
    assert [str(t) for t in table.dtypes[1:]] == ["int32", "int64"]
    assert centroids is not None and centroids.dtype == np.float32
    np.testing.assert_allclose(centroids, CENTRES[[1, 2, 0]], atol=0.2)
    assert facts["k"] == 3 and facts["kind"] == "kmeans" and facts["inertia"] > 0


def test_repeats_weigh_as_much_as_they_occur() -> None:
    captions, embeddings = made({"train": [0, 0, 0, 0, 1]})
    assert len(embeddings.text) < len(captions)
    _, centroids, _ = cluster(kmeans(1), captions, embeddings)
    assert centroids is not None
    plain = embeddings.text[embeddings.caption_text].mean(axis=0)
    np.testing.assert_allclose(centroids[0], plain, rtol=1e-5)
    assert abs(embeddings.text.mean(axis=0) - plain).max() > 0.1


def test_only_training_captions_shape_the_clusters() -> None:
    captions, embeddings = made(SPLITS)
    _, alone, _ = cluster(kmeans(3), captions, embeddings)
    text = np.array(embeddings.text)
    held_out = embeddings.caption_text[(captions["split"] != "train").to_numpy()]
    text[held_out] += 3
    table, moved, _ = cluster(kmeans(3), captions, embeddings._replace(text=text))
    assert alone is not None and moved is not None
    np.testing.assert_array_equal(alone, moved)
    nearest = ((text[embeddings.caption_text][:, None] - moved[None]) ** 2).sum(-1).argmin(1)
    assert table["cluster_id"].tolist() == nearest.tolist()


def test_seeded() -> None:
    rng = np.random.default_rng(0)
    captions, embeddings = made({"train": [0] * 60})
    embeddings = embeddings._replace(
        text=rng.standard_normal((len(embeddings.text), 8)).astype("f4")
    )
    first, again = (cluster(kmeans(6), captions, embeddings) for _ in range(2))
    pd.testing.assert_frame_equal(first.table, again.table)
    assert first.facts == again.facts
    other = cluster(kmeans(6, seed=1), captions, embeddings)
    assert other.table["cluster_id"].tolist() != first.table["cluster_id"].tolist()
    best = cluster(kmeans(6, starts=8), captions, embeddings)
    assert best.facts["inertia"] <= first.facts["inertia"]


def test_more_clusters_than_distinct_training_captions() -> None:
    captions, embeddings = made({"train": [0, 0, 1, 1], "test": [2, 0, 1]})
    count = captions.loc[captions["split"] == "train", "caption"].nunique()
    assert count < 4
    cluster(kmeans(count), captions, embeddings)
    message = f"k is {count + 1} but the training split has {count} distinct captions; lower k"
    with pytest.raises(InputError, match=message):
        cluster(kmeans(count + 1), captions, embeddings)


def test_equal_vectors_count_once() -> None:
    captions, embeddings = made({"train": [0, 0, 1, 1, 2, 2]})
    text = np.zeros_like(embeddings.text)
    text[0], text[1, 0] = 1, -0.0
    with pytest.raises(InputError, match="k is 3 but the training split has 2 distinct captions"):
        cluster(kmeans(3), captions, embeddings._replace(text=text))


def test_many_captions_are_streamed_to_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    captions, embeddings = made(SPLITS)
    small = cluster(kmeans(3, starts=3), captions, embeddings)
    used = captions.loc[captions["split"] == "train", "caption"].nunique()
    monkeypatch.setattr(module, "SCIKIT_LEARN_BYTES", used * 2 * 4 - 1)
    large = cluster(kmeans(3, starts=3), captions, embeddings)
    pd.testing.assert_frame_equal(small.table, large.table)
    assert small.centroids is not None and large.centroids is not None
    np.testing.assert_allclose(small.centroids, large.centroids, rtol=1e-5)
    assert (small.facts["algorithm"], large.facts["algorithm"]) == ("scikit-learn", "streamed")
    assert small.facts["iterations"] >= 1 and large.facts["iterations"] >= 1
    assert large.facts["inertia"] == pytest.approx(small.facts["inertia"], rel=1e-5)


FAULTS = [
    (np.nan, "a number that is not finite"),
    (np.inf, "a number that is not finite"),
    (-np.inf, "a number that is not finite"),
    (1e30, "1e+30 in it, more than 1e+12 in magnitude"),
    (-1.01e12, "-1.01e+12 in it, more than 1e+12 in magnitude"),
]


@pytest.mark.parametrize("limit", [0, 2**28])
@pytest.mark.parametrize(("number", "fault"), FAULTS)
@pytest.mark.parametrize("where", [3, -1])  # a training caption, and another
def test_numbers_that_cannot_be_clustered(
    monkeypatch: pytest.MonkeyPatch, limit: int, number: float, fault: str, where: int
) -> None:
    monkeypatch.setattr(module, "SCIKIT_LEARN_BYTES", limit)
    monkeypatch.setattr("mmts.passes.BLOCK_ROWS", 4)
    captions, embeddings = made(SPLITS)
    text = np.array(embeddings.text)
    text[where, 1] = number
    with pytest.raises(InputError) as caught:
        cluster(kmeans(3), captions, embeddings._replace(text=text))
    assert str(caught.value) == (
        f"vector {where % len(text)} of those to cluster has {fault}; embed again "
        "(`dvc repro -sf embed`), with another model if it stays so"
    )
    vision = embeddings._replace(vision=text[embeddings.caption_text])
    with pytest.raises(InputError, match="of those to cluster has"):
        cluster(kmeans(3, features="vision"), captions, vision)


@pytest.mark.parametrize("limit", [0, 2**28])
def test_the_largest_numbers_that_are_clustered(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(module, "SCIKIT_LEARN_BYTES", limit)
    captions, embeddings = made(SPLITS)
    plain = cluster(kmeans(3, starts=3), captions, embeddings)
    text = embeddings.text * np.float32(1e12 / abs(embeddings.text).max() * 0.999)
    large = cluster(kmeans(3, starts=3), captions, embeddings._replace(text=text))
    pd.testing.assert_frame_equal(large.table, plain.table)
    assert large.centroids is not None and np.isfinite(large.centroids).all()
    assert np.isfinite(large.facts["inertia"])


def test_vision_features() -> None:
    captions, embeddings = made({"train": [0, 1, 0, 1, 2, 2], "test": [1]})
    captions["sample_id"] = ["b", "a", "b", "a", "c", "c", "d"]
    vision = np.array([[0, 9.0], [5, 0], [0, -2], [0.1, 1]], dtype=np.float32)  # b, a, c, d
    settings = kmeans(3, features="vision", starts=3)
    table, centroids, _ = cluster(settings, captions, embeddings._replace(vision=vision))
    ids = table["cluster_id"].tolist()
    assert ids[0] == ids[2] == ids[6] and ids[1] == ids[3] and ids[4] == ids[5]
    assert len(set(ids)) == 3 and table["cluster_size"].tolist() == [2] * 7
    assert centroids is not None
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-5)
    with pytest.raises(InputError, match="the vision tower is not frozen"):
        cluster(settings, captions, embeddings)


def test_lsa_by_hand() -> None:
    """Against scikit-learn's parts, written out; what is not training shapes nothing."""
    texts = ["a dog runs", "a dog runs", "The DOG sleeps", "a red ball", "one red ball", "ball x"]
    held_out = ["a dog sleeps", "unknown words", ""]
    captions = pd.DataFrame(
        {"caption": texts + held_out, "split": ["train"] * 6 + ["val", "test", "test"]}
    )
    vectors, rows = lsa(captions, 3)
    known = list(dict.fromkeys(texts))
    words = sorted({word for text in known for word in text.lower().split()})
    counts = np.array([[text.lower().split().count(w) for w in words] for text in known + held_out])
    idf = np.log((1 + len(known)) / (1 + (counts[: len(known)] > 0).sum(0))) + 1
    weighted = np.where(counts > 0, (1 + np.log(np.maximum(counts, 1))) * idf, 0.0)
    weighted /= np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
    right = np.linalg.svd(weighted[: len(known)], full_matrices=False)[2]
    wanted = weighted @ right.T
    wanted /= np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-12)
    assert rows.tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7] and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors @ vectors.T, wanted @ wanted.T, atol=1e-5)
    assert (vectors[rows[-2:]] == 0).all()
    np.testing.assert_array_equal(lsa(captions, 3)[0], vectors)
    more = lsa(pd.concat([captions, captions[6:].assign(caption="a new ball")]), 3)[0]
    np.testing.assert_array_equal(more[: len(vectors)], vectors)


def test_clusters_of_words_alone() -> None:
    captions, embeddings = made(SPLITS)  # captions begin with their split and centre
    settings = kmeans(3, features="lsa", starts=5)
    captions["caption"] = captions["centre"].map({0: "a dog", 1: "a red ball", 2: "the sea"})
    captions.loc[captions.index[-1], "caption"] = ""
    table = cluster(settings, captions, embeddings).table
    found = table["cluster_id"].tolist()[:-1]
    assert found == captions["centre"].map({1: 0, 2: 1, 0: 2}).tolist()[:-1]
    assert table["cluster_id"].iloc[-1] in (0, 1, 2)
    captions["caption"] = "!"
    with pytest.raises(InputError, match="`features: lsa`, but no training caption has a word; "):
        cluster(settings, captions, embeddings)


def test_classes_of_a_column() -> None:
    captions, embeddings = made(SPLITS)
    captions.loc[captions.index[-1], "class_noun"] = "unseen"
    table, centroids, facts = cluster(
        ColumnClustering(kind="column", column="noun"), captions, embeddings
    )
    assert centroids is None
    assert facts == {
        "kind": "column", "label": "classes", "column": "noun", "published": True, "k": 3,
        "noise": 0, "labels": ["n1", "n2", "n0"],
    }  # fmt: skip
    number = captions["class_noun"].map({"n1": 0, "n2": 1, "n0": 2, "unseen": UNKNOWN})
    assert table["cluster_id"].tolist() == number.tolist()
    size = {0: 13, 1: 9, 2: 6, UNKNOWN: 0}
    assert table["cluster_size"].tolist() == number.map(size).tolist()


def test_classes_of_one_size_are_numbered_by_name() -> None:
    captions, embeddings = made({"train": [2, 0, 1]})
    facts = cluster(ColumnClustering(kind="column", column="noun"), captions, embeddings).facts
    assert facts["labels"] == ["n0", "n1", "n2"]


def test_a_column_that_is_not_there() -> None:
    captions, embeddings = made(SPLITS)
    settings = ColumnClustering(kind="column", column="verb")
    with pytest.raises(InputError, match=r"by column verb: .*there are: noun"):
        cluster(settings, captions, embeddings)
    with pytest.raises(InputError, match=r"none \(name them in class_columns\)"):
        cluster(settings, captions.drop(columns="class_noun"), embeddings)


def test_a_training_row_without_a_class() -> None:
    captions, embeddings = made({"train": [0, 1, 1], "test": [0]})
    captions["class_noun"] = ["cup", "", "pan", ""]
    with pytest.raises(InputError) as failure:
        cluster(ColumnClustering(kind="column", column="noun"), captions, embeddings)
    assert "1 training rows have no class" in str(failure.value)
    assert captions["caption_id"][1] in str(failure.value)


# --- labels of any clustering ------------------------------------------------------------------


def of_labels(labels: Any, splits: str = "") -> Clusters:
    """The clusters of labels; `splits` has a letter a caption, of train or test."""
    splits = splits or "t" * len(labels)
    captions = pd.DataFrame({"caption_id": [f"c{n}" for n in range(len(splits))]})
    captions["split"] = [{"t": "train", "x": "test"}[letter] for letter in splits]
    return numbered(kmeans(2), captions, labels)


def test_labels_are_numbered_from_the_largest_and_noise_last() -> None:
    found = of_labels([5, -1, 2, 2, 5, 2, -1, 9])
    assert found.table["cluster_id"].tolist() == [1, 3, 0, 0, 1, 0, 4, 2]
    assert found.table["cluster_size"].tolist() == [2, 1, 3, 3, 2, 3, 1, 1]
    assert (found.facts["k"], found.facts["noise"]) == (3, 2)
    assert [str(t) for t in found.table.dtypes[1:]] == ["int32", "int64"]


def test_other_splits_make_no_cluster() -> None:
    """Neither as noise nor with a label that no training caption has, and they do not count."""
    found = of_labels([0, 1, 1, 0, 0, 7, -1, -1], "tttxxxxt")
    assert found.table["cluster_id"].tolist() == [1, 0, 0, 1, 1, UNKNOWN, UNKNOWN, 2]
    assert found.table["cluster_size"].tolist() == [1, 2, 2, 1, 1, 0, 0, 1]
    assert (found.facts["k"], found.facts["noise"]) == (2, 1)


def test_centroids_follow_their_labels() -> None:
    captions = pd.DataFrame({"caption_id": ["a", "b", "c"], "split": "train"})
    centroids = np.array([[1.0], [2.0], [3.0]], np.float32)
    found = numbered(kmeans(2), captions, [0, 2, 2], centroids, {"more": 1})
    assert found.centroids is not None and found.centroids.tolist() == [[3.0], [1.0]]
    assert found.facts["more"] == 1 and found.facts["label"] == "K-Means"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([-1, -1, -1], "takes each of the 3 training captions for noise; change its settings"),
        ([0, 1], r"labels of shape \[2\] for 3 captions"),
        ([[0], [1], [1]], r"labels of shape \[3, 1\] for 3 captions"),
        ([0.0, 1.0, 1.0], "labels of type float64; a clustering gives whole numbers"),
        ([0, np.nan, 1], "labels of type float64"),
        (["a", "b", "c"], "labels of type <U1"),
        ([True, False, True], "labels of type bool"),
        ([0, -2, 1], "gave caption 1 the label -2"),
    ],
)
def test_odd_labels(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^the clustering kmeans .*{message}"):
        of_labels(labels, "ttt")


def test_held_out_captions_take_the_nearest_centroid() -> None:
    captions = pd.DataFrame({"split": ["train"] * 5 + ["test"] * 4})
    vectors = np.array([[0], [2], [10], [12], [30], [1], [4], [10.5], [40]], np.float32)
    rows = np.arange(9)
    found, centroids = nearest([0, 0, 1, 1, 2], captions, vectors, rows)
    assert found.tolist() == [0, 0, 1, 1, 2, 0, 0, 1, 2] and centroids.tolist() == [[1], [11], [30]]
    found, centroids = nearest([0, 0, 1, 1, -1], captions, vectors, rows)
    assert found.tolist() == [0, 0, 1, 1, -1, 0, -1, 1, -1]  # 4 and 40 are too far from any
    found, _ = nearest([-1] * 5, captions, vectors, rows)
    assert found.tolist() == [-1] * 9


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda found: None, "a NoneType"),
        (lambda found: found.table["cluster_id"].to_numpy(), "a ndarray"),
        (lambda found: tuple(found), "a tuple"),
        (
            lambda found: found._replace(table=found.table[["caption_id", "cluster_id"]]),
            "a table that has not caption_id, cluster_id, cluster_size of the 33 captions",
        ),
        (
            lambda found: found._replace(table=found.table[::-1]),
            "a table that has not caption_id, cluster_id, cluster_size of the 33 captions",
        ),
        (
            lambda found: found._replace(facts={"kind": "x", "label": "y", "k": 1}),
            "facts without column, published, noise",
        ),
    ],
)
def test_what_a_clustering_gives_is_looked_at(change: Any, problem: str) -> None:
    captions, embeddings = made(SPLITS)
    settings = kmeans(3)
    found = cluster(settings, captions, embeddings)
    assert check_found(found, settings, captions) is found
    with pytest.raises(InputError) as told:
        check_found(change(found), settings, captions)
    assert str(told.value) == (
        f"mmts/kinds/clustering/kmeans.py: `cluster` gives {problem}; let it return "
        "`numbered(self, captions, labels)` of mmts.cluster"
    )

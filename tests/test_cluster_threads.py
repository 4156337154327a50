"""Clusters that do not depend on the number of threads, of captions that are enough to show it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_info, threadpool_limits

from mmts.cluster import Clusters, lsa
from mmts.embeddings import Embeddings
from mmts.kinds.clustering.kmeans import Kind as KMeansClustering

ROWS = 2000


def made() -> tuple[pd.DataFrame, Embeddings]:
    """Captions of words by chance, and vectors that have nothing to do with them."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 300, (ROWS, 6))
    captions = pd.DataFrame({"caption": [" ".join(f"w{n}" for n in of) for of in words]})
    captions["caption_id"] = captions["sample_id"] = [f"c{n}" for n in range(ROWS)]
    captions["split"] = np.where(np.arange(ROWS) % 5 == 0, "test", "train")
    assert captions["caption"].is_unique
    vectors = rng.standard_normal((ROWS, 16)).astype(np.float32)
    return captions, Embeddings(vectors, np.arange(ROWS), None, None)


@pytest.mark.parametrize("features", ["text", "lsa"])
def test_clusters_are_the_same_for_any_number_of_threads(features: Literal["text", "lsa"]) -> None:
    """To the last bit of the centroids, with those of OpenMP and of the products of matrices."""
    settings, (captions, embeddings) = (
        KMeansClustering(kind="kmeans", k=8, features=features),
        made(),
    )
    found: list[Clusters] = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            found.append(settings.cluster(captions, embeddings))
            assert {pool["num_threads"] for pool in threadpool_info()} == {threads}
    for other in found[1:]:
        pd.testing.assert_frame_equal(found[0].table, other.table)
        assert found[0].centroids is not None and other.centroids is not None
        assert found[0].centroids.tobytes() == other.centroids.tobytes()
        assert found[0].facts == other.facts


def test_the_vectors_of_words_are_the_same_for_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rounding hides most of what several threads would change, so they are counted too."""
    used: set[int] = set()
    fit = TruncatedSVD.fit

    def watched(svd: TruncatedSVD, *given: Any) -> Any:
        used.update(pool["num_threads"] for pool in threadpool_info())
        return fit(svd, *given)

    monkeypatch.setattr(TruncatedSVD, "fit", watched)
    captions, found = made()[0], []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            found.append(lsa(captions, 0)[0].tobytes())
    assert found[0] == found[1] == found[2] and used == {1}

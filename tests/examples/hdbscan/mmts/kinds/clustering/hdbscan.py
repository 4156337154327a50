"""HDBSCAN (Campello et al. 2013): as many clusters as there are dense places, and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmts.kinds.clustering import ClusteringKind, Features

if TYPE_CHECKING:
    import pandas as pd

    from mmts.cluster import Clusters
    from mmts.embeddings import Embeddings


class Kind(ClusteringKind):
    """HDBSCAN of scikit-learn on the training captions' vectors."""

    kind: Literal["hdbscan"]
    label = "HDBSCAN"
    min_cluster_size: Annotated[int, Field(ge=2)] = 5
    """Training captions of a cluster at least."""
    features: Features = "text"

    def cluster(self, captions: pd.DataFrame, embeddings: Embeddings) -> Clusters:
        """Return the clusters; a caption of another split takes the nearest, if it is near."""
        from sklearn.cluster import HDBSCAN

        from mmts.cluster import features, nearest, numbered, training

        vectors, rows = features(self.features, captions, embeddings)
        model = HDBSCAN(min_cluster_size=self.min_cluster_size, copy=True)
        trained = model.fit_predict(vectors[rows[training(captions)]])
        labels, centroids = nearest(trained, captions, vectors, rows)
        return numbered(self, captions, labels, centroids)

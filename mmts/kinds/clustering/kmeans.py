"""K-Means (paper section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.clustering import ClusteringKind, Features
from mmts.settings.base import Positive, Seed

if TYPE_CHECKING:
    import pandas as pd

    from mmts.cluster import Clusters
    from mmts.embeddings import Embeddings


class Kind(ClusteringKind):
    """K-Means on the training captions' vectors (paper section 3.2)."""

    kind: Literal["kmeans"]
    label = "K-Means"
    k: Positive
    """Clusters."""
    features: Features = "text"
    """Vectors of the sentence encoder, features of the frozen vision tower, or latent semantic
    analysis of the captions' words, which needs no encoder."""
    seed: Seed = 0
    starts: Positive = 1
    """Restarts; the one with the lowest inertia is kept."""

    @property
    def published(self) -> bool:
        """Whether it is the paper's: on vectors of the captions."""
        return self.features == "text"

    def cluster(self, captions: pd.DataFrame, embeddings: Embeddings) -> Clusters:
        """Return the clusters; a caption of another split takes the nearest centroid."""
        from mmts.cluster import features, numbered, training
        from mmts.kmeans import fit

        vectors, rows = features(self.features, captions, embeddings, self.seed)
        found = fit(vectors, rows[training(captions)], self.k, self.seed, self.starts)
        facts = {
            "features": self.features,
            "seed": self.seed,
            "inertia": found.inertia,
            "algorithm": found.algorithm,
            "iterations": found.iterations,
        }
        return numbered(self, captions, found.labels[rows], found.centroids, facts)

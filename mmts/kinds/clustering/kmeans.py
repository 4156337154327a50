"""K-Means (paper section 3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from mmts.kinds.clustering import ClusteringKind, Features
from mmts.settings.base import Positive, Seed, Text

if TYPE_CHECKING:
    import pandas as pd

    from mmts.cluster import Clusters
    from mmts.embeddings import Embeddings

MADE_OF = {"text": "sentence vectors", "vision": "vision features", "lsa": "words"}


class Kind(ClusteringKind):
    """K-Means on the training captions' vectors (paper section 3.2)."""

    kind: Literal["kmeans"]
    label = "K-Means"
    k: Positive
    """Clusters."""
    features: Features | Literal["file"] = "text"
    """Vectors of the sentence encoder; features of the frozen vision tower; latent semantic
    analysis of the captions' words, which needs no encoder; or those of the file `path`."""
    path: Text | None = None
    """File of `features: file`: Parquet with `sample_id` or `caption_id`, and `vector`, such as
    `python -m stages.features` writes; from the project's folder. The page calls the vectors by
    the file's name."""
    seed: Seed = 0
    starts: Positive = 1
    """Restarts; the one with the lowest inertia is kept."""

    @model_validator(mode="after")
    def _of_file(self) -> Kind:
        if self.features == "file" and self.path is None:
            raise ValueError(
                "features is file but path is missing; name a Parquet file that `python -m "
                "stages.features` wrote"
            )
        if self.features != "file" and self.path is not None:
            raise ValueError(
                f"path is {self.path} but features is {self.features}; set features to file, or "
                "leave out path"
            )
        return self

    @property
    def published(self) -> bool:
        """Whether it is the paper's: on vectors of the captions."""
        return self.features == "text"

    @property
    def files(self) -> tuple[str, ...]:
        """The file."""
        return () if self.path is None else (self.path,)

    @property
    def made_of(self) -> str:
        """Name of the vectors, such as VAST-v for the file VAST-v.parquet."""
        return MADE_OF[self.features] if self.path is None else Path(self.path).stem

    def cluster(self, captions: pd.DataFrame, embeddings: Embeddings) -> Clusters:
        """Return the clusters; a caption of another split takes the nearest centroid.

        A caption without a vector is unknown, and is not counted.
        """
        import numpy as np

        from mmts.cluster import NOISE, features, numbered, training
        from mmts.feature_files import NONE, read_features
        from mmts.kmeans import fit

        if self.features == "file":
            vectors, rows = read_features(Path(self.path or ""), captions)
        else:
            vectors, rows = features(self.features, captions, embeddings, self.seed)
        lost = rows == NONE
        captions = captions.assign(split=captions["split"].where(~lost, ""))
        found = fit(vectors, rows[training(captions)], self.k, self.seed, self.starts)
        facts = {
            "label": f"{self.label} of {self.made_of}",
            "features": self.features,
            "seed": self.seed,
            "inertia": found.inertia,
            "algorithm": found.algorithm,
            "iterations": found.iterations,
        }
        labels = np.where(lost, NOISE, found.labels[rows])
        return numbered(self, captions, labels, found.centroids, facts)

"""Clusterings: what gives the clusters that the shifts follow."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import PlainValidator

from mmts.registry import Registry
from mmts.settings.base import Settings

if TYPE_CHECKING:
    import pandas as pd

    from mmts.cluster import Clusters
    from mmts.embeddings import Embeddings

Features = Literal["text", "vision", "lsa"]
"""Vectors to cluster, see `mmts.cluster.features`."""


class ClusteringKind(Settings):
    """Base of the settings of a clustering."""

    kind: str
    label: ClassVar[str]
    """Its name on the page."""

    @property
    def by(self) -> str:
        """The class column whose classes are the clusters; empty where there is none."""
        return ""

    @property
    def published(self) -> bool:
        """Whether it is the paper's, so that rows of the paper's tables may be of it."""
        return False

    @property
    def files(self) -> tuple[str, ...]:
        """Files that it reads beside the captions and their embeddings, for the plan."""
        return ()

    @abstractmethod
    def cluster(self, captions: pd.DataFrame, embeddings: Embeddings) -> Clusters:
        """Return the clusters, most simply as `mmts.cluster.numbered` labels.

        They are fitted on the training captions; those of other splits are only assigned.

        Args:
            captions: the captions table (`mmts.captions_table`).
            embeddings: vectors of its captions and pictures.

        Raises:
            InputError: with these captions there is no such clustering.
        """
        raise NotImplementedError


CLUSTERINGS = Registry("clustering", "mmts.kinds.clustering", ClusteringKind)
Clustering = Annotated[Any, CLUSTERINGS, PlainValidator(CLUSTERINGS.validated)]

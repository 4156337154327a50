"""Classes as clusters (paper section 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.errors import InputError
from mmts.kinds.clustering import ClusteringKind
from mmts.settings.base import Text

if TYPE_CHECKING:
    import pandas as pd

    from mmts.cluster import Clusters
    from mmts.embeddings import Embeddings


class Kind(ClusteringKind):
    """The classes of a column as clusters (paper section 4.4)."""

    kind: Literal["column"]
    label = "classes"
    column: Text

    @property
    def by(self) -> str:
        """The column."""
        return self.column

    @property
    def published(self) -> bool:
        """Whether it is the paper's: yes."""
        return True

    def cluster(self, captions: pd.DataFrame, embeddings: Embeddings) -> Clusters:
        """Return the classes; one that no training caption has is unknown."""
        from mmts.captions_table import class_column
        from mmts.cluster import NOISE, numbered, training

        name = class_column(captions, self.column, f"clustering by column {self.column}")
        trained = captions[training(captions)]
        unknown = trained[trained[name] == ""]
        if len(unknown):
            raise InputError(
                f"clustering by column {self.column}: {len(unknown)} training rows have no class; "
                f"fill in that of caption {unknown['caption_id'].iloc[0]} first"
            )
        size = trained[name].value_counts()
        classes = sorted(size.index, key=lambda label: (-size[label], label))
        number = {label: i for i, label in enumerate(classes)}
        labels = captions[name].map(lambda label: number.get(label, NOISE)).to_numpy()
        return numbered(self, captions, labels, facts={"labels": classes})
